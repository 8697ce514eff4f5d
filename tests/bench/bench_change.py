"""Two fields of 16 million pixels, opened from disk: compared, moved, and searched for change.

Every figure is from a process of its own that opens the stores lazily, so that its memory is what the work
needs and not what the fields are. Beside the clock stands the time of all processors, which a busy machine
does not change. The codes repeat one drawn tile, turned and moved, so that making them takes little.
"""
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from harness import figure, peak_memory_mb

from alphaearth_nb.codes import quantize
from alphaearth_nb.field_stores import FieldWriter, read_zarr
from alphaearth_nb.grids import utm_grid, window

SIDE, TILE = 4096, 512
RUNS = 5
WORK = ('compare', 'shifts', 'distance ranks', 'change')


def tile(rng:np.random.Generator) -> np.ndarray:
    "Unit vectors (TILE, TILE, 64) of smooth ground with noise."
    y, x = np.mgrid[:TILE, :TILE]
    waves = np.stack([np.sin(x/(9 + k))*np.cos(y/(7 + k)) for k in range(6)], -1).astype(np.float32)
    vectors = waves@rng.standard_normal((6, 64), np.float32) + rng.standard_normal(64, np.float32)
    vectors += .2*rng.standard_normal(vectors.shape, np.float32)
    return vectors/np.linalg.norm(vectors, axis=-1, keepdims=True)


def make(folder:Path) -> None:
    "Write two fields of one model in two years, with a little noise, and change in one tile."
    rng, grid = np.random.default_rng(0), window(utm_grid((5., 51., 5.7, 51.5)), 0, 0, SIDE, SIDE)
    first = tile(rng)
    second = first + .03*rng.standard_normal(first.shape, np.float32)
    second[:64, :64] = tile(rng)[:64, :64]
    for name, vectors in (('2017', first), ('2024', second)):
        codes = quantize(vectors/np.linalg.norm(vectors, axis=-1, keepdims=True))
        codes = np.ascontiguousarray(np.moveaxis(codes, -1, 0))
        writer = FieldWriter(folder/f'{name}.zarr', grid, dict(valid_period=name, model='drawn'))
        for part in writer.missing():
            rows, columns = (np.arange(*one.indices(SIDE)) % TILE for one in writer.window(part))
            moved = np.roll(codes, (17*part[0], 29*part[1]), (1, 2))
            writer.write(part, moved[:, rows[:, None], columns[None]])
        writer.finish()


def work(name:str, folder:Path) -> None:
    "Do one thing and print how long it took and what it needed."
    a, b = (read_zarr(folder/f'{year}.zarr', lazy=True) for year in ('2017', '2024'))
    from alphaearth_nb.agreement import compare
    from alphaearth_nb.changes import change
    from alphaearth_nb.distance_ranks import distance_rank_agreement
    from alphaearth_nb.shifts import shift_agreement
    todo = {'compare': lambda: compare(a, b), 'shifts': lambda: shift_agreement(a, b),
            'distance ranks': lambda: distance_rank_agreement(a, b),
            'change': lambda: change({2017: a, 2024: b})}
    clock, used = time.perf_counter(), time.process_time()
    found = todo[name]()
    print(time.perf_counter() - clock, time.process_time() - used, peak_memory_mb(), file=sys.stderr)
    if name == 'change': found.called(.05, 4)


def main() -> None:
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        subprocess.run([sys.executable, __file__, 'make', text], check=True)
        for name in WORK:
            rows = [subprocess.run([sys.executable, __file__, name, str(folder)], check=True, text=True,
                                   stderr=subprocess.PIPE).stderr.split('\n')[-2] for _ in range(RUNS)]
            clock, used, memory = zip(*(map(float, row.split()) for row in rows))
            title = f'{name}, two fields of {SIDE}×{SIDE} px from disk'
            figure(title, 's', clock)
            figure(f'{title}, time of all processors', 's', used)
            figure(f'{title}, most memory', 'MB', memory)


if __name__ == '__main__':
    if len(sys.argv) < 3: main()
    elif sys.argv[1] == 'make': make(Path(sys.argv[2]))
    else: work(sys.argv[1], Path(sys.argv[2]))
