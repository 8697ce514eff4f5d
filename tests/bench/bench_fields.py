"""What is asked of a field: likeness, change, coarser pixels, pictures, files, as a share of what memory
delivers.

The field is smooth plus a little noise, so that neighbours are as alike (cosine .99) and files as small
(half of the codes) as those of released pixels. Files are read from the system's cache, not from a disk.
"""
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
from harness import figure, figure_of_calibration, figure_of_rate, measure, memory_read

from alphaearth_nb.codes import quantize
from alphaearth_nb.field_stores import read_zarr
from alphaearth_nb.fields import as_field, read_cog
from alphaearth_nb.grids import utm_grid

os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # or the calibration's threads keep a core busy
SIDE, CODES = 1024, 64      # px a side; bytes a pixel: 64 MB of codes
WAVES, NOISE = 8, .0125

rng = np.random.default_rng(0)
y, x = np.mgrid[:SIDE, :SIDE]
vectors = np.stack([np.sin(x/(9 + 3*k) + k)*np.cos(y/(7 + 4*k)) for k in range(WAVES)], -1).astype(np.float32)
vectors = vectors @ rng.standard_normal((WAVES, 64), np.float32)
vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
vectors += NOISE*rng.standard_normal((SIDE, SIDE, 64), np.float32)
vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
query = vectors[0, 0].copy()
grid = utm_grid((3., 51., 3.4, 51.4))
codes = np.ascontiguousarray(np.moveaxis(quantize(vectors), -1, 0))
del vectors, x, y
attrs = {'state': 'codes', 'model': 'bench', 'valid_period': '2024'}
field, other = (as_field(one, grid[:SIDE, :SIDE], attrs) for one in (codes, codes[:, ::-1].copy()))
four = as_field(np.tile(codes, (1, 2, 2)), grid[:2*SIDE, :2*SIDE], attrs)
pixels, folder = SIDE*SIDE/1e6, Path(tempfile.mkdtemp())
try:
    store, cog = field.aef.to_zarr(folder/'field.zarr'), field.aef.to_cog(folder/'field.tif')
    WORK = {                                                 # what is done, bytes a pixel read and written
        'similarity, one query on codes': (lambda: field.aef.similarity(query), CODES + 4),
        'change of two fields of codes': (lambda: field.aef.similarity(other), 2*CODES + 4),
        'missing': (lambda: field.aef.missing(), CODES + 1),
        'coarsen by 4': (lambda: field.aef.coarsen(4), CODES + 4),
        'unit vectors of a field': (lambda: field.aef.vectors(), 5*CODES),
        'read_zarr, hashes checked': (lambda: read_zarr(store), 2*CODES),
        'read_cog, hashes and every pixel checked': (lambda: read_cog(cog), 2*CODES)}
    memory = memory_read()
    for name, (work, bytes_a_pixel) in WORK.items():
        measured = measure(work, memory)
        figure_of_rate(f'{name} {SIDE}×{SIDE} px', measured, pixels, bytes_a_pixel)
    measured = measure(lambda: four.aef.rgb(), memory, runs=5, warmup=1)
    figure(f'PCA picture of {2*SIDE}×{2*SIDE} px, fitted to 1 %', 's', measured.seconds, measured.times(),
           f'times {memory.name}, 1 GB')
    figure('size of a COG, overviews included', 'bytes a pixel', [cog.stat().st_size/SIDE**2])
    figure_of_calibration(memory, measured)
finally: shutil.rmtree(folder)
