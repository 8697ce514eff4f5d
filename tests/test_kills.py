"""Whatever is written is killed at random moments and begun again: refused or whole, and the same in the end.

Five kills each; `make torture` makes fifty. What one killed call has left is what the next one goes on with.
"""
import json
import os
import subprocess
import sys
from pathlib import Path

import kill_worker
import numpy as np
import pytest
from stac_server import catalogue, publish

from alphaearth_nb import field_stores
from alphaearth_nb.core import AlphaEarthError
from alphaearth_nb.field_stores import read_zarr
from alphaearth_nb.fields import read_cog
from alphaearth_nb.grids import grid_bounds_lonlat
from alphaearth_nb.regions import open_region
from alphaearth_nb.synthetic import synthetic_place

KILLS = 50 if os.environ.get('AE_TORTURE') == '1' else 5
pytestmark = pytest.mark.skipif(not hasattr(os, 'fork'), reason='this system has no fork')


@pytest.fixture(scope='module')
def do():
    "do(work, folder, more, seconds): whether it had to be killed, and how long it took."
    process = subprocess.Popen([sys.executable, kill_worker.__file__], text=True, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, env=os.environ | {'OMP_NUM_THREADS': '1'},
                               cwd=Path(__file__).parent.parent)
    def ask(work, folder, more=None, seconds=None):
        process.stdin.write(json.dumps([work, str(folder), more, seconds]) + '\n')
        process.stdin.flush()
        return json.loads(process.stdout.readline())
    yield ask
    process.stdin.close()
    process.kill(), process.wait()


def killed_and_resumed(do, work, folder, check, more=None) -> dict:
    "Kill it so many times, look at what is left, let it end; its files, and those of one not killed."
    do(work, folder/'warm', more)
    _, lasts_s = do(work, folder/'whole', more)
    rng, stopped = np.random.default_rng(0), 0
    for share in rng.permutation((np.arange(KILLS) + .5)/KILLS):
        stopped += do(work, folder/'killed', more, share*lasts_s)[0]
        check(folder/'killed')
    do(work, folder/'killed', more)
    assert stopped
    return contents(folder/'killed'), contents(folder/'whole')


def contents(folder:Path) -> dict:
    "Files and what is in them; what was written aside and never got its name is not counted."
    files = {path.relative_to(folder): path for path in folder.rglob('*') if path.is_file()}
    return {name.as_posix(): path.read_bytes() for name, path in files.items()
            if not any(part.startswith('.') for part in name.parts)}


def test_a_zarr_store(do, tmp_path, monkeypatch):
    "Never opened unfinished; the same to the byte."
    for name in ('SHARD_PX', 'CHUNK_PX'): monkeypatch.setattr(field_stores, name, 64)
    codes = kill_worker.some_field().values
    def check(folder):
        if (folder/'field.zarr').exists(): assert np.array_equal(read_zarr(folder/'field.zarr').values, codes)
        else:
            with pytest.raises(AlphaEarthError): read_zarr(folder/'field.zarr')
    killed, whole = killed_and_resumed(do, 'zarr', tmp_path, check)
    assert killed == whole and len(whole) > 9


def test_a_cog_and_its_manifest(do, tmp_path):
    codes = kill_worker.some_field().values
    def check(folder):
        path = folder/'field.tif'
        if path.exists(): assert np.array_equal(read_cog(path).values, codes)
        assert path.exists() or not path.with_suffix('.json').exists()
    killed, whole = killed_and_resumed(do, 'cog', tmp_path, check)
    assert killed == whole and [*whole] and len(whole) == 2


def test_a_region(do, tmp_path):
    "Refused until it is whole; then one file, the same to the byte, and nothing beside it."
    def check(folder):
        path = folder/'field.tif'
        if path.exists(): open_region(path)
        elif path.with_name('field.tif.parts').exists():
            with pytest.raises(AlphaEarthError, match='not finished'): open_region(path)
    killed, whole = killed_and_resumed(do, 'region', tmp_path, check)
    assert killed == whole and [*whole] == ['field.tif']


def test_frames(do, tmp_path):
    "What has arrived stays, and is as if nothing had been killed."
    place, kept = synthetic_place(size_px=24, start='2022-01-01', days=20), []
    def check(folder):
        kept.append(len(list(folder.rglob('[0-9]*.npz'))))
        assert kept == sorted(kept)
    with catalogue(tmp_path/'files') as server:
        publish(server, place, place.grid)
        more = [grid_bounds_lonlat(place.grid[4:20, 4:20]), server.url]
        killed, whole = killed_and_resumed(do, 'frames', tmp_path, check, more)
    assert set(killed) == set(whole)
    for name in whole:
        if not name.endswith('.npz'): continue
        one, other = (np.load(tmp_path/part/name) for part in ('killed', 'whole'))
        for key in other.files: np.testing.assert_array_equal(one[key], other[key])
