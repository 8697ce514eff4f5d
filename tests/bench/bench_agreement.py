"""Two fields compared, as a multiple of reading the two from memory once."""
import numpy as np
from harness import figure, figure_of_calibration, measure, memory_read

from alphaearth_nb.agreement import compare
from alphaearth_nb.fields import make_field
from alphaearth_nb.grids import utm_grid, window

SIDE = 1024                      # px; two fields of 64 MB of codes
GIGABYTES = 2*SIDE*SIDE*64/1e9   # codes of both, read once
RUNS = 5

grid = window(utm_grid((5., 51., 5.16, 51.1)), 0, 0, SIDE, SIDE)
rng = np.random.default_rng(0)
y, x = np.mgrid[:SIDE, :SIDE]
waves = np.stack([np.sin(x/(9 + k))*np.cos(y/(7 + k)) for k in range(6)], -1).astype(np.float32)
vectors = waves@rng.standard_normal((6, 64), np.float32)
vectors += .3*rng.standard_normal((SIDE, SIDE, 64), np.float32)
vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
turn = np.linalg.qr(rng.standard_normal((64, 64)))[0].astype(np.float32)
a, b = (make_field(one, grid, '2024').aef.codes() for one in (vectors, vectors@turn))
del vectors, waves

memory = memory_read()
measured = measure(lambda: compare(a, b), memory, runs=RUNS, warmup=1)
name = f'compare two fields of {SIDE}×{SIDE} px'
figure(name, 's', measured.seconds, measured.times(), f'× {memory.name}, 1 GB')
figure(f'{name}, rate', 'Mpx/s', measured.rates(SIDE*SIDE/1e6), measured.shares(GIGABYTES),
       f'of {memory.name} (codes of both read once)')
figure_of_calibration(memory, measured)
