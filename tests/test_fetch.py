"""Fetching that is killed, damaged and repeated; the command and the tutorial, against a catalogue here."""
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from pages import NBS, ROOT
from stac_server import catalogue, publish

from alphaearth_nb.core import FrameError
from alphaearth_nb.fetch import fetch_frames
from alphaearth_nb.frames import FrameSequence
from alphaearth_nb.grids import grid_bounds_lonlat
from alphaearth_nb.synthetic import synthetic_place

PERIOD = '2021-12-01/2022-03-01'
CHILD = '''
import sys
from odc.geo.geobox import GeoBox
from alphaearth_nb.fetch import fetch_frames
from alphaearth_nb.grids import utm_grid
west, south, east, north = map(float, sys.argv[2:6])
fetch_frames((west, south, east, north), sys.argv[1], sys.argv[6], ["sentinel2", "landsat"], quiet=True)
'''


@pytest.fixture(autouse=True)
def own_shelf(tmp_path, monkeypatch) -> Path:
    "A cache of its own for every test."
    monkeypatch.setenv('AE_CACHE_DIR', str(tmp_path/'cache'))
    return tmp_path/'cache'


@pytest.fixture(scope='module')
def place(): return synthetic_place(size_px=40, start='2021-12-31', days=40)


@pytest.fixture(scope='module')
def served(place, tmp_path_factory):
    with catalogue(tmp_path_factory.mktemp('stac')) as server:
        publish(server, place, place.grid)
        yield server


@pytest.fixture
def box(place) -> tuple: return grid_bounds_lonlat(place.grid[4:36, 4:36])


def alike(a:FrameSequence, b:FrameSequence) -> None:
    assert a.sources == b.sources and a.grid == b.grid
    for name in a:
        for part in ('values', 'times', 'valid_pixels', 'present', 'bands_present'):
            np.testing.assert_array_equal(getattr(a[name], part), getattr(b[name], part))


def frames_kept(cache:Path) -> int: return len(list(cache.glob('frames/*/*.npz')))


# ---- killed, and again

def test_killed_and_run_again_is_as_if_never_killed(place, served, box, own_shelf, monkeypatch, tmp_path):
    "What arrived before a process was killed is not asked for again; the result is the same to the bit."
    words = [sys.executable, '-c', CHILD, PERIOD, *map(str, box), served.url]
    child = subprocess.Popen(words, cwd=ROOT, env=os.environ | {'OMP_NUM_THREADS': '1'})
    while frames_kept(own_shelf) < 3 and child.poll() is None: time.sleep(.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    kept = {row for file in own_shelf.glob('frames/*/manifest.json')
            for row in json.loads(file.read_text())['frames']}
    assert kept, 'killed before the first frame'
    before = len(served.files())
    frames = fetch_frames(box, PERIOD, served.url, ['sentinel2', 'landsat'], quiet=True)
    assert not {path.split('/')[2] for path in served.files()[before:]} & kept
    monkeypatch.setenv('AE_CACHE_DIR', str(tmp_path/'other'))
    alike(frames, fetch_frames(box, PERIOD, served.url, ['sentinel2', 'landsat'], quiet=True))


def test_a_complete_fetch_needs_no_server(served, box):
    "The second time nothing is asked, since the period is long over; `refresh` asks for the list only."
    first = fetch_frames(box, PERIOD, served.url, 'landsat', quiet=True)
    before = len(served.asked)
    alike(first, fetch_frames(box, PERIOD, served.url, 'landsat', quiet=True))
    assert len(served.asked) == before
    fetch_frames(box, PERIOD, served.url, 'landsat', refresh=True, quiet=True)
    assert {path for _, path in served.asked[before:]} == {'/', '/collections', '/search'}


@pytest.mark.parametrize('harm', ['cut', 'flip', 'gone', 'manifest'])
def test_what_is_damaged_is_fetched_again(harm, served, box, own_shelf):
    "Never shown as data; only the damaged frame is asked for, all of them where the manifest is broken."
    first = fetch_frames(box, PERIOD, served.url, 'landsat', quiet=True)
    shelf, = own_shelf.glob('frames/landsat-*')
    victim = sorted(shelf.glob('*.npz'))[1]
    content = victim.read_bytes()
    if harm == 'cut': victim.write_bytes(content[:-40])
    if harm == 'flip': victim.write_bytes(content[:900] + bytes([content[900] ^ 255]) + content[901:])
    if harm == 'gone': victim.unlink()
    if harm == 'manifest': (shelf/'manifest.json').write_text((shelf/'manifest.json').read_text()[:-30])
    before = len(served.files())
    alike(first, fetch_frames(box, PERIOD, served.url, 'landsat', quiet=True))
    again = {path.split('/')[2] for path in served.files()[before:]}
    assert len(again) == (len(first['landsat']) if harm == 'manifest' else 1)


def test_two_at_once_do_not_spoil_each_other(served, box):
    "Two processes fetch the same; both end well, and a third finds everything."
    words = [sys.executable, '-c', CHILD, PERIOD, *map(str, box), served.url]
    pair = [subprocess.Popen(words, cwd=ROOT, env=os.environ | {'OMP_NUM_THREADS': '1'}) for _ in range(2)]
    assert [one.wait() for one in pair] == [0, 0]
    frames = fetch_frames(box, PERIOD, served.url, ['sentinel2', 'landsat'], quiet=True)
    assert set(frames.sources) == {'sentinel2', 'landsat'}


def test_other_bands_period_or_grid_never_mix(served, box, own_shelf, place):
    "Each has a shelf of its own."
    for region, period, bands in ((box, PERIOD, None), (box, '2022-01', None), (place.grid, PERIOD, None),
                                  (box, PERIOD, {'landsat': ['B04']})):
        fetch_frames(region, period, served.url, 'landsat', bands=bands, quiet=True)
    assert len(list(own_shelf.glob('frames/landsat-*'))) == 4


def test_a_place_that_nobody_saw(served):
    with pytest.raises(FrameError, match='without a frame'):
        fetch_frames((3.1, 50.9, 3.11, 50.91), '1999', served.url, quiet=True)


# ---- the command

def aenb(*words:object) -> subprocess.CompletedProcess:
    code = 'import sys; from alphaearth_nb.cli import main; sys.exit(main())'
    return subprocess.run([sys.executable, '-c', code, *map(str, words)], cwd=ROOT, capture_output=True,
                          text=True, env=os.environ | {'OMP_NUM_THREADS': '1'})


def test_the_command_says_what_it_would_take_and_then_fetches(served, box, tmp_path, own_shelf):
    words = ['fetch', *box, '--period', PERIOD, '--out', tmp_path/'new.zarr', '--provider', served.url]
    plan = aenb(*words, '--dry-run')
    assert plan.returncode == 0 and 'to fetch' in plan.stdout and 'requests and' in plan.stdout, plan.stderr
    assert not frames_kept(own_shelf) and not (tmp_path/'new.zarr').exists()
    done = aenb(*words)
    assert done.returncode == 0 and 'wrote' in done.stdout, done.stderr
    alike(FrameSequence.from_zarr(tmp_path/'new.zarr'), fetch_frames(box, PERIOD, served.url, quiet=True))
    assert aenb(*words).returncode == 2                       # never replaced unasked


# ---- the tutorial

def test_the_tutorial_goes_from_a_catalogue_to_a_cog(monkeypatch, tmp_path):
    "Every cell as it stands, against a catalogue on this machine."
    place = synthetic_place(size_px=72, start='2022-01-01', days=30)
    box = ' '.join(map(str, grid_bounds_lonlat(place.grid[3:69, 3:69])))
    book = nbformat.read(NBS/'tutorials'/'embed_a_region.ipynb', 4)
    with catalogue(tmp_path/'files') as server:
        publish(server, place, place.grid)
        told = {'AE_STAC_URL': server.url, 'AE_STAC_REGION': box, 'AE_STAC_PERIOD': '2022-01',
                'AE_TUTORIAL_STEPS': '5', 'OMP_NUM_THREADS': '1'}
        for name, value in told.items(): monkeypatch.setenv(name, value)
        where = {'metadata': {'path': tmp_path}}
        NotebookClient(book, timeout=600, kernel_name='python3', resources=where).execute()
    said = ''.join(output.get('text', '') for cell in book.cells for output in cell.get('outputs', []))
    assert 'to fetch' in said and 'requests and' in said and server.url in said
