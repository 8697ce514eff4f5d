"""What a search takes beyond its scores: the highest of them, and the nearest of many labels.

The fields are those of bench_fields: smooth, neighbours with a cosine of .99, as released pixels have it. How
many labels can be left out depends on that, so the share that was looked at stands beside the rates.
"""
import os
from collections.abc import Callable

import numpy as np
from harness import Measured, figure, figure_of_calibration, measure, memory_read

from alphaearth_nb.codes import quantize
from alphaearth_nb.fields import as_field
from alphaearth_nb.grids import utm_grid
from alphaearth_nb.highest import highest, highest_apart, highest_of_codes
from alphaearth_nb.nearest import LabelIndex, nearest_labels, recall

os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')   # or the calibration's threads keep a core busy
SIDE, SCORES = 512, 2048                              # px a side of the field, and of the map of scores
WAVES, NOISE, COUNT = 8, .0125, 100
LABELS, PROBES = (10_000, 100_000), 4
RUNS = 5


def smooth(side:int, shift:float, rng:np.random.Generator) -> np.ndarray:
    "Unit vectors (side, side, 64) that change slowly, with a little noise."
    y, x = np.mgrid[:side, :side] + shift
    waves = np.stack([np.sin(x/(9 + 3*k) + k)*np.cos(y/(7 + 4*k)) for k in range(WAVES)], -1)
    vectors = waves.astype(np.float32) @ np.random.default_rng(0).standard_normal((WAVES, 64), np.float32)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    vectors += NOISE*rng.standard_normal(vectors.shape, np.float32)
    return vectors/np.linalg.norm(vectors, axis=-1, keepdims=True)


rng, memory = np.random.default_rng(1), memory_read()
scores = rng.standard_normal(SCORES*SCORES).astype(np.float32)
name, to = f'the highest {COUNT} of {SCORES}×{SCORES} scores', f'times {memory.name}, 1 GB'


def in_ms(what:str, work:Callable) -> Measured:
    measured = measure(work, memory)
    figure(what, 'ms', [1e3*second for second in measured.seconds], measured.times(), to,
           [1e3*second for second in measured.cpu])
    return measured


in_ms(name, lambda: highest(scores, COUNT))
rising = np.linspace(0, 1, SCORES*SCORES, dtype=np.float32)
in_ms(f'{name}, all of them rising', lambda: highest(rising, COUNT))
square = scores.reshape(SCORES, SCORES)
in_ms('20 places 200 m apart in as many scores', lambda: highest_apart(square, 20, 200, (10, 10)))
vectors = smooth(SIDE, 0, rng)
grid = utm_grid((3., 51., 3.4, 51.4))
codes = np.ascontiguousarray(np.moveaxis(quantize(vectors), -1, 0))
field = as_field(codes, grid[:SIDE, :SIDE], {'state': 'codes', 'model': 'bench', 'valid_period': '2024'})
flat, query, pixels = codes.reshape(64, -1), vectors[0, 0].copy(), SIDE*SIDE/1e6
measured = in_ms(f'the {COUNT} most similar pixels of {SIDE}×{SIDE}, straight from codes',
                 lambda: highest_of_codes(flat, query, COUNT))
labels = smooth(1024, .37, rng).reshape(-1, 64)
labels = labels[rng.choice(len(labels), LABELS[-1], replace=False)]
for count in LABELS:
    index, classes = LabelIndex.build(labels[:count]), rng.integers(1, 10, count)
    for probes in (None, PROBES)[:1 if count == LABELS[0] else 2]:
        found = measure(lambda: nearest_labels(field, index, classes, 3, probes), memory, runs=RUNS, warmup=1)
        how = 'exact' if probes is None else f'{probes} lists asked'
        figure(f'nearest 3 of {count} labels, {how}, {SIDE}×{SIDE} px', 'Mpx/s', found.rates(pixels),
               per_core=found.per_core(pixels))
    built = measure(lambda: LabelIndex.build(labels[:count]), runs=RUNS, warmup=0)
    figure(f'lists of {count} labels', 's', built.seconds, per_core=built.cpu)
share = recall(index, vectors.reshape(-1, 64), PROBES)
figure(f'recall of {LABELS[-1]} labels, {PROBES} lists asked', 'share', [share])
figure_of_calibration(memory, measured)
