"""What tutorials ask beyond this machine, on this machine: an Earth Engine and a STAC catalogue.

    python tests/services.py COMMAND ...   # runs a command while both are served
"""
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from earth_engine import everywhere, serving
from stac_server import catalogue, publish

from alphaearth_nb.grids import grid_bounds_lonlat
from alphaearth_nb.synthetic import synthetic_place


@contextlib.contextmanager
def services() -> Iterator[dict[str, str]]:
    "Serve both until the end of the block; the variables under which the tutorials find them."
    place = synthetic_place(size_px=72, start='2022-01-01', days=30)
    box = ' '.join(map(str, grid_bounds_lonlat(place.grid[3:69, 3:69])))
    with tempfile.TemporaryDirectory() as folder, serving(everywhere()) as engine, \
            catalogue(Path(folder)/'files') as stac:
        publish(stac, place, place.grid)
        yield {'AE_EARTHENGINE_URL': engine.url, 'AE_STAC_URL': stac.url, 'AE_STAC_REGION': box,
               'AE_STAC_PERIOD': '2022-01', 'AE_TUTORIAL_STEPS': '5', 'AE_CACHE_DIR': f'{folder}/cache'}


if __name__ == '__main__':
    with services() as told: sys.exit(subprocess.run(sys.argv[1:], env=os.environ | told).returncode)
