"""Damage GeoTIFFs of embeddings as disks, networks and enemies do; open them; say what came of it.

    python tests/mutated_geotiffs.py FOLDER sealed|plain FIRST LAST

runs in a process of its own, with limits: 4 GiB of memory, ten seconds a file. A line for each file: its
number and `refused`, `same` or `changed`; nothing after the one that crashed the process or did not end.
"""
import resource
import signal
import struct
import sys
from pathlib import Path

import numpy as np

MEMORY, SECONDS = 4 << 30, 10
SIDE = 96
KINDS = ('cut', 'bit', 'bits', 'zeros', 'noise', 'word', 'tag', 'loop')


def field() -> tuple:
    "Codes (64, SIDE, SIDE) of a landscape of even parcels, which pack as real ones do, and their grid."
    from object_store import grid_at, some_codes
    few = some_codes(60, SIDE, 7)[:, 40, 60:84]                               # of as many kinds of land
    kinds = np.add.outer(np.arange(SIDE)//12, np.arange(SIDE)//9*5) % few.shape[1]
    return few[:, kinds], grid_at(500_000, 4_900_000, height=SIDE, width=SIDE)


def write(folder:Path, kind:str) -> Path:
    "A file as this toolkit writes it, with its hash ('sealed'), or as the release has it ('plain')."
    from object_store import write_tile

    from alphaearth_nb.cogs import write_codes
    path = folder/f'{kind}.tiff'
    codes, grid = field()
    known = {'valid_period': '2024-01-01/2025-01-01'}
    if kind == 'sealed': write_codes(path, codes, grid, known, overwrite=True)
    else: write_tile(path, codes, grid)
    return path


def entries(content:bytes) -> tuple[int, int, int]:
    "Where the first directory begins, its number of entries, and where the offset of the next one stands."
    big = content[2] == 43
    start, = struct.unpack_from('<Q' if big else '<I', content, 8 if big else 4)
    count, = struct.unpack_from('<Q' if big else '<H', content, start)
    return start + (8 if big else 2), count, start + (8 + 20*count if big else 2 + 12*count)


def damaged(content:bytes, seed:int) -> bytes:
    "The same bytes with one thing wrong."
    (first, count, following), content = entries(content), bytearray(content)
    rng = np.random.default_rng(seed)
    kind, at = KINDS[seed % len(KINDS)], int(rng.integers(len(content)))
    if kind == 'cut': return bytes(content[:at])
    if kind in ('bit', 'bits'):
        size = len(content)
        for _ in range(1 if kind == 'bit' else 50): content[rng.integers(size)] ^= 1 << rng.integers(8)
    if kind == 'zeros': content[at:at + 4096] = bytes(len(content[at:at + 4096]))
    if kind == 'noise': content[at:at + 64] = rng.bytes(len(content[at:at + 64]))
    if kind == 'word': content[4*(at//40):4*(at//40) + 4] = b'\xff\xff\xff\x7f'
    size = 20 if content[2] == 43 else 12
    if kind == 'tag':      # a width of 2**31, 65,535 bands, an offset beyond the end
        place = first + size*int(rng.integers(count)) + (12 if size == 20 else 8)
        content[place:place + 4] = [b'\xff\xff\0\0', b'\xff\xff\xff\x7f', rng.bytes(4)][rng.integers(3)]
    if kind == 'loop':     # the next directory is this one, or anything
        place = following if rng.integers(2) else first + size*int(rng.integers(count))
        content[place:place + 4] = struct.pack('<I', [first - (8 if size == 20 else 2), at][rng.integers(2)])
    return bytes(content)


def outcome(path:Path, known:np.ndarray) -> str:
    "What a user is told who opens a file, whole and in a window."
    from alphaearth_nb.cogs import read_codes
    from alphaearth_nb.core import AlphaEarthError
    from alphaearth_nb.grids import grid_bounds_lonlat
    from alphaearth_nb.release import released
    box = grid_bounds_lonlat(field()[1][10:60, 20:70])
    found = set()
    for read in (lambda: read_codes(path)[0], lambda: released(box, 2024, source=path, lazy=True).values):
        try: values = read()
        except AlphaEarthError as error:
            found.add('refused' if '\n' not in str(error) else 'refused at length')
            continue
        whole = values.shape == known.shape
        found.add('same' if whole and np.array_equal(values, known) else 'changed' if whole else 'window')
    return min(found - {'window'} or {'same'})            # 'changed' comes first


def main(folder:str, kind:str, first:str, last:str) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    folder = Path(folder)
    original, known = (folder/f'{kind}.tiff').read_bytes(), field()[0]
    for seed in range(int(first), int(last)):
        path = folder/f'{kind}-{first}.tiff'
        path.write_bytes(damaged(original, seed))
        signal.alarm(SECONDS)
        print(seed, outcome(path, known), flush=True)
        signal.alarm(0)


if __name__ == '__main__': main(*sys.argv[1:])
