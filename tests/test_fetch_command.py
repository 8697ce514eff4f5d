"""`aenb fetch`: what it writes, what it refuses and in which words, and with which exit code it ends."""
import json
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from pages import ROOT
from stac_server import catalogue, publish

from alphaearth_nb.cli import main
from alphaearth_nb.frames import FrameSequence
from alphaearth_nb.grids import grid_bounds_lonlat
from alphaearth_nb.synthetic import synthetic_place

PERIOD = '2021-12/2022-02'


@pytest.fixture(scope='module')
def place(): return synthetic_place(size_px=32, start='2021-12-31', days=30)


@pytest.fixture
def served(place, tmp_path, monkeypatch):
    "A catalogue, and a cache of its own."
    monkeypatch.setenv('AE_CACHE_DIR', str(tmp_path/'cache'))
    with catalogue(tmp_path/'files') as server:
        publish(server, {'sentinel2': place['sentinel2']}, place.grid, limit=4)
        yield server


@pytest.fixture
def box(place) -> tuple: return grid_bounds_lonlat(place.grid[4:28, 4:28])


@pytest.fixture
def aenb(capfd):
    "Run the command in this process: exit code, what it prints, and sentences on the error stream."
    def run(*words:object) -> tuple[int, str, list[str]]:
        capfd.readouterr()
        try: code = main([*map(str, words)])
        except SystemExit as stop: code = stop.code
        out, err = capfd.readouterr()
        lines = [line.strip() for line in err.replace('\r', '\n').splitlines()]
        return code, out, [line for line in lines if line and '%|' not in line]
    return run


def refused(found:tuple) -> str:
    "The one sentence of a command that is refused: exit code 2, nothing printed, no traceback."
    code, out, said = found
    assert (code, out) == (2, '') and len(said) == 1, found
    assert said[0].startswith('aenb: ') and said[0].endswith('.'), said
    return said[0]


# ---- when all is well

def test_it_writes_a_place_and_says_what_comes_next(served, box, aenb, tmp_path):
    out = tmp_path/'new.zarr'
    code, said, errors = aenb('fetch', *box, '--period', PERIOD, '--out', out, '--provider', served.url)
    assert code == 0 and not errors, errors
    frames = FrameSequence.from_zarr(out)
    assert frames.sources == ('sentinel2',) and frames.name == 'new'
    count = len(frames['sentinel2'])
    assert re.search(rf'wrote {re.escape(str(out))} \([\d.,]+ MB\): {count} frames of ', said)
    assert said.rstrip().endswith(f'next: aenb demo --data {out}')


def test_a_dry_run_writes_nothing_and_may_name_a_store_that_is_there(served, box, aenb, tmp_path):
    out = tmp_path/'there.zarr'
    out.mkdir()
    words = 'fetch', *box, '--period', PERIOD, '--out', out, '--provider', served.url
    code, said, errors = aenb(*words, '--dry-run')
    assert code == 0 and not errors and 'requests and' in said and 'wrote' not in said
    assert not [*out.iterdir()] and not served.files() and not [*tmp_path.glob('cache/frames/*/*.npz')]


def test_polygons_of_a_file_are_a_region(served, box, aenb, tmp_path):
    west, south, east, north = box
    ring = [[west, south], [east, south], [east, north], [west, south]]
    shape = {'type': 'Feature', 'properties': {}, 'geometry': {'type': 'Polygon', 'coordinates': [ring]}}
    (tmp_path/'area.geojson').write_text(json.dumps({'type': 'FeatureCollection', 'features': [shape]}))
    words = '--period', PERIOD, '--provider', served.url, '--out'
    assert aenb('fetch', tmp_path/'area.geojson', *words, tmp_path/'a.zarr')[0] == 0
    assert aenb('fetch', *box, *words, tmp_path/'b.zarr')[0] == 0
    a, b = (FrameSequence.from_zarr(tmp_path/name) for name in ('a.zarr', 'b.zarr'))
    assert a.grid == b.grid
    np.testing.assert_array_equal(a['sentinel2'].values, b['sentinel2'].values)


# ---- refused

def test_a_store_that_is_there_is_replaced_only_when_told(served, box, aenb, tmp_path):
    "And nobody is asked for frames that could not be written."
    out = tmp_path/'new.zarr'
    words = 'fetch', *box, '--period', PERIOD, '--out', out, '--provider', served.url
    assert aenb(*words)[0] == 0
    before = {path: path.read_bytes() for path in out.rglob('*') if path.is_file()}
    served.asked.clear()
    said = refused(aenb(*words))
    assert '--overwrite' in said and str(out) in said and not served.asked
    assert {path: path.read_bytes() for path in out.rglob('*') if path.is_file()} == before
    assert aenb(*words, '--sources', 'sentinel2', '--overwrite')[0] == 0


@pytest.mark.parametrize(('region', 'words'), [
    (['3.1', '50.9', '3.2'], 'west south east north'), (['nowhere.geojson'], 'west south east north'),
    (['3.1', 'fifty', '3.2', '51'], 'west south east north'), ([], 'west south east north'),
    (['50.9', '3.1', '50.8', '3.2'], 'west'), (['3.1', '95', '3.2', '96'], 'Longitudes come first')], ids=str)
def test_a_region_that_is_none(served, aenb, tmp_path, region, words):
    said = refused(aenb('fetch', *region, '--period', PERIOD, '--out', tmp_path/'x.zarr',
                        '--provider', served.url))
    assert words in said and not served.asked and not (tmp_path/'x.zarr').exists()


def test_a_file_that_holds_no_polygons(served, aenb, tmp_path):
    (tmp_path/'area.geojson').write_text('{"type": "nothing"}')
    said = refused(aenb('fetch', tmp_path/'area.geojson', '--period', PERIOD, '--out', tmp_path/'x.zarr',
                        '--provider', served.url))
    assert 'a file of polygons' in said and 'area.geojson' in said and not served.asked


@pytest.mark.parametrize(('option', 'words'), [
    (['--period', 'spring'], 'period'), (['--period', '2021-13'], 'period'),
    (['--provider', 'planetary'], 'Addresses begin with https://'), (['--sources', 'modis'], 'modis'),
    (['--provider', 'http://127.0.0.1:9'], 'Connect to the internet'),
    (['--period', '1999'], 'a longer period')], ids=str)
def test_what_cannot_be_fetched(served, box, aenb, tmp_path, option, words):
    given = {'--period': PERIOD, '--provider': served.url, '--sources': 'sentinel2'} | dict([option])
    said = refused(aenb('fetch', *box, *(word for pair in given.items() for word in pair),
                        '--out', tmp_path/'x.zarr'))
    assert words in said and not (tmp_path/'x.zarr').exists()


def test_a_frame_that_does_not_come_is_named_and_may_be_left_out(served, box, aenb, tmp_path):
    "Exit code 2 and what to do; with --allow-missing the rest is written, and the note says what is missing."
    served.manner['/files/sentinel2-001/B04.tif'] = '404'
    words = 'fetch', *box, '--period', PERIOD, '--out', tmp_path/'x.zarr', '--provider', served.url
    said = refused(aenb(*words))
    assert '3 of 4 frames have arrived' in said and 'Run it again' in said
    assert not (tmp_path/'x.zarr').exists()
    code, _, errors = aenb(*words, '--allow-missing')
    assert code == 0 and not errors
    frames = FrameSequence.from_zarr(tmp_path/'x.zarr')
    assert len(frames['sentinel2']) == 3 and any('sentinel2-001' in note for note in frames.notes)


def test_words_that_it_does_not_know(aenb, tmp_path):
    for words in (['--perod', '2022'], ['--period', '2022', '--clouds', '3'], []):
        code, _, errors = aenb('fetch', '3.1', '50.9', '3.2', '51', '--out', tmp_path/'x.zarr', *words)
        assert code == 2 and errors and 'Traceback' not in ''.join(errors)
    code, said, _ = aenb('fetch', '--help')
    options = '--period', '--dry-run', '--allow-missing', '--provider'
    assert code == 0 and all(word in said for word in options)


def test_stopped_by_the_keyboard(served, box, aenb, tmp_path):
    "Exit code 130 and one sentence, although a frame is still on its way; what has arrived is kept."
    last = '/files/sentinel2-003/B04.tif'
    served.manner[last] = 'hold'
    words = 'fetch', *box, '--period', PERIOD, '--out', tmp_path/'x.zarr', '--provider', served.url
    code = 'import sys; from alphaearth_nb.cli import main; sys.exit(main())'
    child = subprocess.Popen([sys.executable, '-c', code, *map(str, words)], cwd=ROOT, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    def kept() -> int:
        found = tmp_path.glob('cache/frames/*/manifest.json')
        return sum(len(json.loads(path.read_text())['frames']) for path in found)
    try:
        while kept() < 3 and child.poll() is None: time.sleep(.01)
        child.send_signal(signal.SIGINT)
        said = ''
        while not said.endswith('aenb: stopped\n') and child.poll() is None: said += child.stderr.read(1)
    finally: served.manner.clear()
    child.communicate(timeout=100)
    assert child.returncode == 130 and 'Traceback' not in said and not (tmp_path/'x.zarr').exists()
    before = len(served.files())
    assert aenb(*words)[0] == 0
    assert {path.split('/')[2] for path in served.files()[before:]} == {'sentinel2-003'}
