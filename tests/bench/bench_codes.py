"""Codes to unit vectors and back, and scores straight from codes, as a share of what memory can deliver."""
import os

import numpy as np
from harness import figure_of_calibration, figure_of_rate, measure, memory_read

from alphaearth_nb.codes import best_class, dequantize, linear_scores, quantize

os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # or the calibration's threads keep a core busy
SIDE, CLASSES = 1024, 10    # px a side; 64 MB of codes, 256 MB of vectors: more than any cache
CODES, VECTORS = 64, 256    # bytes a pixel

rng = np.random.default_rng(0)
vectors = rng.standard_normal((SIDE, SIDE, 64), dtype=np.float32)
vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
codes = quantize(vectors)
planar = np.ascontiguousarray(codes.reshape(-1, 64).T)       # (64, n), band after band as in a field
in_field = np.moveaxis(planar.reshape(64, SIDE, SIDE), 0, -1)
weights, offset = rng.standard_normal((CLASSES, 64)), rng.standard_normal(CLASSES)
pixels = SIDE*SIDE/1e6
WORK = {                                                     # what is done, bytes a pixel read and written
    'dequantize': (lambda: dequantize(codes), CODES + VECTORS),
    'dequantize, into an array that is there': (lambda: dequantize(codes, out=vectors), CODES + VECTORS),
    'dequantize, band after band': (lambda: dequantize(in_field), CODES + VECTORS),
    'quantize': (lambda: quantize(vectors), CODES + VECTORS),
    'linear_scores, one query': (lambda: linear_scores(planar, weights[:1], offset[:1]), CODES + 4),
    f'linear_scores, {CLASSES} classes': (lambda: linear_scores(planar, weights, offset), CODES + 4*CLASSES),
    f'best_class, {CLASSES} classes': (lambda: best_class(planar, weights, offset), CODES + 5)}

memory = memory_read()
for name, (work, bytes_a_pixel) in WORK.items():
    measured = measure(work, memory)
    figure_of_rate(f'{name} {SIDE}×{SIDE} px', measured, pixels, bytes_a_pixel)
figure_of_calibration(memory, measured)
