"""Codes to unit vectors and back, as a share of what memory can deliver."""
import numpy as np
from harness import figure, figure_of_calibration, measure, memory_read

from alphaearth_nb.fields import dequantize, quantize

SIDE = 1024                 # px; 64 MB of codes, 256 MB of vectors: more than any cache
BYTES_A_PIXEL = 64 + 256    # int8 codes and float32 vectors, one read and the other written

rng = np.random.default_rng(0)
vectors = rng.standard_normal((SIDE, SIDE, 64), dtype=np.float32)
vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
codes = quantize(vectors)
pixels, gigabytes = SIDE*SIDE/1e6, SIDE*SIDE*BYTES_A_PIXEL/1e9

memory = memory_read()
for name, work in {'dequantize': lambda: dequantize(codes), 'quantize': lambda: quantize(vectors)}.items():
    measured = measure(work, memory)
    figure(f'{name} {SIDE}×{SIDE} px', 'Mpx/s', measured.rates(pixels), measured.shares(gigabytes),
           f'of {memory.name} (bytes read and written)')
figure_of_calibration(memory, measured)
