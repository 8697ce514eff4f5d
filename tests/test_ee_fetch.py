"""Fetching from Earth Engine: its limits and faults, the cache, runs that end early; all on this machine."""
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from earth_engine import serving
from earth_engine_scenes import (
    GRID, HEIGHT, JUNE, MS, QUICK, S2, S2_BANDS, WIDTH, native, no_scenes, put, read, same, seen_by_landsat,
    seen_by_sentinel2,
)
from odc.geo.geobox import GeoBox
from pages import ROOT

pytest.importorskip('ee')
from alphaearth_nb.core import ConfigError, FrameError
from alphaearth_nb.ee_frames import SERVER_SOURCES, ee_read, ee_search
from alphaearth_nb.ee_requests import Limits
from alphaearth_nb.fetch import fetch_frames
from alphaearth_nb.frames import FrameSequence
from alphaearth_nb.periods import Period


@pytest.fixture(autouse=True)
def own_shelf(tmp_path, monkeypatch):
    "A cache of its own for every test."
    monkeypatch.setenv('AE_CACHE_DIR', str(tmp_path/'cache'))
    return tmp_path/'cache'


@pytest.fixture(scope='module')
def server():
    "One server; a test puts its scenes into its collections."
    with serving(no_scenes()) as server:
        server.initialize()
        yield server


@pytest.fixture(autouse=True)
def empty(server):
    "No scenes and no faults are left of the test before."
    server.archive.collections = no_scenes().collections
    server.faults, server.asked[:], server.grids[:] = [], [], []


# ---- the service's limits and faults

def test_a_frame_in_many_requests_is_the_same(server):
    "A grid cut into windows of at most a few hundred pixels, joined without a seam."
    numbers = np.random.default_rng(0).integers(100, 9000, (60, 60))
    put(server, S2, 'a', dict.fromkeys(S2_BANDS, numbers), where=native(GRID, 10, 30), shape=(60, 60))
    (_, whole, _), = read('sentinel2', ('B04', 'B08'))
    before = len(server.grids)
    (_, parts, _), = read('sentinel2', ('B04', 'B08'), limits=Limits(bytes=15*400))
    sizes = [one['dimensions'] for one in server.grids[before:]]
    assert len(sizes) > 1 and all(one['width']*one['height'] <= 400 for one in sizes)
    np.testing.assert_array_equal(parts, whole)


def test_a_listing_comes_in_pages(server, monkeypatch):
    "More images than an answer may hold: none is lost, none counted twice."
    monkeypatch.setattr('alphaearth_nb.ee_frames.PAGE', 10)
    for number in range(30): seen_by_sentinel2(server, f'x{number:02d}', datatake=f'd{number}',
                                               ms=MS + number*3_600_000)
    found = ee_search(SERVER_SOURCES, 'sentinel2', GRID, JUNE, QUICK)
    assert [one.time_ms for one in found] == [MS + number*3_600_000 for number in range(30)]
    assert sum(path.endswith('value:compute') for _, path in server.asked) == 4


def test_the_end_of_a_period_is_not_in_it(server):
    for number in range(4):
        seen_by_sentinel2(server, f'x{number}', datatake=f'd{number}', ms=MS + number*1000)
    found = ee_search(SERVER_SOURCES, 'sentinel2', GRID, Period(MS + 1000, MS + 3000), QUICK)
    assert [one.time_ms - MS for one in found] == [1000, 2000]


@pytest.mark.parametrize('faults', [['429'], ['500', '503'], ['reset'], ['truncated'], ['other'], ['memory']])
def test_a_passing_trouble_is_waited_out(faults, server):
    "Of pixels; a frame is whole or not there."
    seen_by_sentinel2(server)
    grid = GeoBox((140, 140), GRID.affine, GRID.crs)
    one, = ee_search(SERVER_SOURCES, 'sentinel2', grid, JUNE, QUICK)
    server.faults = faults
    values, _ = ee_read(SERVER_SOURCES, one, grid, ('B04',), waiting=QUICK)
    assert not server.faults
    same(values[0, :HEIGHT, :WIDTH], .3)
    assert np.isnan(values[0, HEIGHT:]).all() and np.isnan(values[0, :, WIDTH:]).all()


@pytest.mark.parametrize('faults', [['429'], ['500', '503'], ['truncated']])
def test_a_listing_is_whole_too(faults, server):
    for number in range(3):
        seen_by_sentinel2(server, f'x{number}', datatake=f'd{number}', ms=MS + number*1000)
    server.faults = faults
    assert len(ee_search(SERVER_SOURCES, 'sentinel2', GRID, JUNE, QUICK)) == 3 and not server.faults


@pytest.mark.parametrize('fault, words', [('403', 'permission'), ('memory', 'memory')])
def test_what_cannot_succeed_is_told(fault, words, server):
    seen_by_sentinel2(server)
    one, = ee_search(SERVER_SOURCES, 'sentinel2', GRID, JUNE, QUICK)
    server.faults = [fault]
    with pytest.raises(FrameError, match=f'{S2}/a.*{words}'):
        ee_read(SERVER_SOURCES, one, GRID, ('B04',), waiting=QUICK)


# ---- the whole way

def a_month(server, passes:int=6) -> None:
    for number in range(passes):
        seen_by_sentinel2(server, f's{number}', 1000 + 100*number, f'd{number}', ms=MS + number*10**8)
        seen_by_landsat(server, f'l{number}', .1 + number/100, MS + number*10**8)


def test_fetched_once_and_kept(server, own_shelf):
    "A plan that asks for no pixel, then the frames, then nothing at all; a source without a frame is named."
    a_month(server)
    plan = fetch_frames(GRID, '2023', 'earthengine', dry_run=True, quiet=True)
    assert plan.frames == {'sentinel2': 6, 'sentinel1': 0, 'landsat': 6} and plan.requests == 12
    assert plan.bytes == 6*4*HEIGHT*WIDTH*(11 + 8) and not server.grids
    frames = fetch_frames(GRID, '2023', 'earthengine', quiet=True)
    assert {name: len(one) for name, one in frames.items()} == {'sentinel2': 6, 'landsat': 6}
    assert 'Earth Engine has no frame of Sentinel-1' in frames.notes[0]
    for number in range(6):
        same(frames['sentinel2'].values[number], .1 + number/100)
        same(frames['landsat'].values[number, 0], .1 + number/100)
    before = len(server.asked)
    again = fetch_frames(GRID, '2023', 'earthengine', quiet=True)
    assert len(server.asked) == before
    np.testing.assert_array_equal(again['sentinel2'].values, frames['sentinel2'].values)


def test_two_zones_two_grids(server):
    "The same ground from the grid of either zone, each read from its own projection."
    other = GeoBox.from_bbox(GRID.boundingbox.to_crs(32632), 'EPSG:32632', resolution=10)
    smooth = {name: (lambda lon, lat: 2000 + 50_000*(lon - 3.1) + 30_000*(lat - 50.9)) for name in S2_BANDS}
    put(server, S2, 'a', smooth, where=native(GRID, 10, 1000), shape=(300, 300), MGRS_TILE='31UDS')
    for grid in (GRID, other):
        frames = fetch_frames(grid, '2023-06', 'earthengine', 'sentinel2', {}, quiet=True)['sentinel2']
        lon, lat = centres(grid)
        same(frames.values[0, 2], .2 + 5*(lon - 3.1) + 3*(lat - 50.9), rtol=1e-4)
        assert server.grids[-1]['crsCode'] == f'EPSG:{grid.crs.epsg}'


def centres(grid:GeoBox) -> tuple:
    from pyproj import Transformer
    x = grid.affine.c + 10*(np.arange(grid.width) + .5)
    y = grid.affine.f - 10*(np.arange(grid.height) + .5)
    return Transformer.from_crs(grid.crs.epsg, 4326, always_xy=True).transform(*np.meshgrid(x, y))


def test_nothing_there_is_told(server):
    with pytest.raises(FrameError, match='another provider than Earth Engine'):
        fetch_frames(GRID, '2023', 'earthengine', quiet=True)
    with pytest.raises(ConfigError, match='earthengine'):
        fetch_frames(GRID, '2023', 'earth engine', quiet=True)


def test_the_command_reads_from_earth_engine(server, tmp_path):
    "First what it would take, then a store with the frames."
    a_month(server, 2)
    code = 'import sys; from alphaearth_nb.cli import main; sys.exit(main())'
    words = ['fetch', '3.10', '50.90', '3.104', '50.903', '--period', '2023', '--provider', 'earthengine',
             '--out', tmp_path/'new.zarr']
    for more, wanted in ((['--dry-run'], 'from Earth Engine'), ([], 'wrote')):
        done = subprocess.run([sys.executable, '-c', code, *map(str, words), *more], cwd=ROOT, text=True,
                              capture_output=True,
                              env=os.environ | {'OMP_NUM_THREADS': '1', 'AE_EARTHENGINE_URL': server.url})
        assert done.returncode == 0 and wanted in done.stdout, done.stderr
    same(FrameSequence.from_zarr(tmp_path/'new.zarr')['landsat'].values[1, 0], .11)


def wait_until_idle(server):
    "Wait until the server answers nothing and has not been asked for half a second."
    seen, since = None, time.monotonic()
    while time.monotonic() - since < .5:
        now = len(server.asked), len(server.grids), server.trouble.running
        if now != seen or now[2]: seen, since = now, time.monotonic()
        time.sleep(.02)


CHILD = '''
import sys
from alphaearth_nb.fetch import fetch_frames
fetch_frames(tuple(map(float, sys.argv[1:])), "2023", "earthengine", ["sentinel2", "landsat"], quiet=True)
'''


@pytest.mark.parametrize('how', ['killed', 'interrupted'])
def test_a_run_that_ends_early_is_taken_up(how, server, own_shelf):
    "What had arrived is not asked for again; an interrupted run does not wait for the answers that hang."
    a_month(server, 12)
    box = (3.10, 50.90, 3.104, 50.903)
    server.faults = [''] * 7 + ['trickle'] * 200
    words = [sys.executable, '-c', CHILD, *map(str, box)]
    child = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True,
                             env=os.environ | {'OMP_NUM_THREADS': '1', 'AE_EARTHENGINE_URL': server.url})
    while len(list(own_shelf.glob('frames/*/*.npz'))) < 3 and child.poll() is None: time.sleep(.01)
    child.send_signal(signal.SIGKILL if how == 'killed' else signal.SIGINT)
    _, said = child.communicate(timeout=90)
    assert child.returncode and (how == 'killed' or 'KeyboardInterrupt' in said)
    kept = {row for file in own_shelf.glob('frames/*/manifest.json')
            for row in json.loads(file.read_text())['frames']}
    assert 0 < len(kept) < 24
    wait_until_idle(server)             # what the dead had still asked for is not the second run's
    server.faults, server.grids[:] = [], []
    frames = fetch_frames(box, '2023', 'earthengine', ['sentinel2', 'landsat'], quiet=True)
    assert [len(one) for one in frames.values()] == [12, 12] and len(server.grids) == 24 - len(kept)
    for number in range(12): same(frames['sentinel2'].values[number], .1 + number/100)
