"""What is asked of a field: likeness, change, coarser pixels, stores, as a share of what memory delivers."""
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
from harness import figure, figure_of_calibration, measure, memory_read

from alphaearth_nb.codes import quantize
from alphaearth_nb.field_stores import read_zarr
from alphaearth_nb.fields import as_field, read_cog
from alphaearth_nb.grids import utm_grid

os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # or the calibration's threads keep a core busy
SIDE, CODES = 1024, 64      # px a side; bytes a pixel: 64 MB of codes

rng = np.random.default_rng(0)
vectors = rng.standard_normal((SIDE, SIDE, 64), dtype=np.float32)
vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
grid = utm_grid((3., 51., 3.2, 51.2))[:SIDE, :SIDE]
codes = np.ascontiguousarray(np.moveaxis(quantize(vectors), -1, 0))
attrs = {'state': 'codes', 'model': 'bench', 'valid_period': '2024'}
field, other = as_field(codes, grid, attrs), as_field(codes[:, ::-1].copy(), grid, attrs)
query, pixels = vectors[0, 0], SIDE*SIDE/1e6
folder = Path(tempfile.mkdtemp())
try:
    store, cog = field.aef.to_zarr(folder/'field.zarr'), field.aef.to_cog(folder/'field.tif')
    WORK = {                                                 # what is done, bytes a pixel read and written
        'similarity, one query on codes': (lambda: field.aef.similarity(query), CODES + 4),
        'change of two fields of codes': (lambda: field.aef.similarity(other), 2*CODES + 4),
        'missing': (lambda: field.aef.missing(), CODES + 1),
        'coarsen by 4': (lambda: field.aef.coarsen(4), CODES + 4),
        'read_zarr, hashes checked before': (lambda: read_zarr(store), 2*CODES),
        'read_cog, hashes checked': (lambda: read_cog(cog), 2*CODES)}
    memory = memory_read()
    for name, (work, bytes_a_pixel) in WORK.items():
        measured = measure(work, memory)
        figure(f'{name} {SIDE}×{SIDE} px', 'Mpx/s', measured.rates(pixels),
               measured.shares(bytes_a_pixel*pixels/1e3), f'of {memory.name} (bytes read and written)')
    figure_of_calibration(memory, measured)
finally: shutil.rmtree(folder)
