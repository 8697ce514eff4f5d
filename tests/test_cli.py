"""The command `aenb` in processes of its own: help, facts, and bad input refused in one sentence."""
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pages import ROOT

CODE = 'import sys; from alphaearth_nb.cli import main; sys.exit(main())'
SHORT = ('--steps', '2', '--windows', '2', '--window-px', '16', '--frames', '4', '--precision', 'fp32')


def aenb(*words:object, **options) -> subprocess.CompletedProcess:
    "Run the command line in a process of its own, on one thread."
    return subprocess.run([sys.executable, '-c', CODE, *map(str, words)], cwd=ROOT, capture_output=True,
                          text=True, env=os.environ | {'OMP_NUM_THREADS': '1'}, **options)


def refused(*words:object, **options) -> str:
    "The one sentence of a command that is refused: exit code 2, no traceback."
    done = aenb(*words, **options)
    # progress bars are no sentences, and the library under GDAL writes to the error stream itself
    lines = [line for line in done.stderr.replace('\r', '\n').splitlines() if line.strip()]
    said = [line for line in lines if '%|' not in line and not line.startswith('_tiff')]
    assert done.returncode == 2, done.stderr[-2000:]
    assert len(said) == 1 and said[0].startswith('aenb: ') and said[0].endswith('.'), said
    return said[0]


@pytest.fixture(scope='module')
def place(tmp_path_factory) -> Path:
    "A small synthetic place as Zarr."
    from alphaearth_nb.synthetic import synthetic_place
    path = tmp_path_factory.mktemp('place')/'small.zarr'
    synthetic_place(size_px=32, days=150).to_zarr(path)
    return path


@pytest.fixture(scope='module')
def run(place, tmp_path_factory) -> Path:
    "A finished run of two steps."
    folder = tmp_path_factory.mktemp('runs')/'first'
    done = aenb('train', place, '--out', folder, *SHORT)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.fixture(scope='module')
def field(run, place, tmp_path_factory) -> Path:
    "The field of that run."
    path = tmp_path_factory.mktemp('fields')/'october.tif'
    done = aenb('embed', run, place, '--period', '2017-10', '--out', path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert f'wrote {path}' in done.stdout and '32 x 32 pixels' in done.stdout
    return path


# ---- what it says when all is well

HEAVY = ('torch', 'xarray', 'sklearn', 'scipy', 'pandas', 'rasterio', 'numba', 'matplotlib')


@pytest.mark.parametrize('words', [['--help'], ['train', '--help'], ['demo', '--help']], ids=' '.join)
def test_help_is_light(words):
    "Help lists what there is and loads nothing heavy."
    code = f'''
import sys
from alphaearth_nb.cli import main
try: main({words!r})
except SystemExit as stop: print("CODE", stop.code)
print("HEAVY", [name for name in {HEAVY!r} if name in sys.modules])
'''
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
    assert 'CODE 0' in done.stdout and 'HEAVY []' in done.stdout, done.stdout[-500:] + done.stderr[-500:]
    wanted = {'--help': ['demo', 'train', 'embed', 'info'], 'train': ['--steps', '--uniformity', '--preset'],
              'demo': ['--data', '--period', '--overwrite']}[words[0]]
    assert all(word in done.stdout for word in wanted)


def test_info_on_a_place(place):
    said = aenb('info', place).stdout
    assert 'kind: place' in said and 'sentinel1' in said
    facts = json.loads(aenb('info', place, '--json').stdout)
    assert facts['kind'] == 'place' and facts['pixels'] == [32, 32]
    assert facts['sources']['landsat']['frames']


def test_info_on_a_field_and_a_model(run, field):
    facts = json.loads(aenb('info', field, '--json').stdout)
    assert (facts['kind'], facts['without_data']) == ('field', 0)
    assert facts['valid_period'] == '2017-10-01/2017-11-01'
    for path in (run, run/'model.safetensors'):
        facts = json.loads(aenb('info', path, '--json').stdout)
        assert facts['kind'] == 'model' and facts['config']['name'] == 'tiny' and facts['last']['step'] == 2


def test_a_run_goes_on(run, place):
    "The same command on a finished run finds it and changes nothing of the model."
    from alphaearth_nb.model import read_tensors
    before, _ = read_tensors(run/'model.safetensors')
    done = aenb('train', place, '--out', run, *SHORT)
    assert done.returncode == 0 and 'going on from checkpoint-0000002' in done.stdout
    after, _ = read_tensors(run/'model.safetensors')
    assert before.keys() == after.keys() and all((before[name] == after[name]).all() for name in before)


def test_nothing_is_replaced_unless_told(run, place, field):
    before = field.read_bytes()
    said = refused('embed', run, place, '--period', '2017-12', '--out', field)
    assert '--overwrite' in said and field.read_bytes() == before
    done = aenb('embed', run, place, '--period', '2017-12', '--out', field, '--overwrite')
    assert done.returncode == 0 and field.read_bytes() != before


# ---- judging

@pytest.fixture(scope='module')
def labelled(field, tmp_path_factory) -> Path:
    "Points on that field in two classes, the western and the eastern half."
    import pandas as pd

    from alphaearth_nb.places import open_field
    grid = open_field(field).aef.grid.to_crs(4326).boundingbox
    rng = np.random.default_rng(0)
    x = grid.left + rng.uniform(.1, .9, 120)*(grid.right - grid.left)
    y = grid.bottom + rng.uniform(.1, .9, 120)*(grid.top - grid.bottom)
    label = np.where(x > (grid.left + grid.right)/2, 'east', 'west')
    path = tmp_path_factory.mktemp('labels')/'halves.csv'
    pd.DataFrame(dict(x=x, y=y, label=label, split=['train', 'test']*60)).to_csv(path, index=False)
    return path


def test_compare_a_field_with_itself(field):
    facts = json.loads(aenb('compare', field, field, '--json').stdout)
    assert facts['kind'] == 'agreement' and facts['procrustes_cosine'] > .999
    assert facts['neighbour_overlap'] > .99 and not refused('compare', field, field.parent).count('Traceback')


def test_evaluate_a_raster_and_columns(field, labelled, tmp_path):
    "The card is written, its numbers are told to machines, and a card that is there is not replaced."
    words = 'evaluate', labelled, '--features', f'field={field}', 'where=x', '--out', tmp_path/'card.html'
    done = aenb(*words, '--shared', 'drop', '--trials', 'max', '--json')
    assert done.returncode == 0, done.stderr[-2000:]
    facts = json.loads(done.stdout)
    best = {row['features']: row['score'] for row in facts['scores'] if row['predictor'] == 'knn1'}
    assert best['where'] > .9 > .55 < best['field'] and 'field' in (tmp_path/'card.html').read_text()
    assert '--overwrite' in refused(*words)
    assert 'NAME=SOURCE' in refused('evaluate', labelled, '--features', field, '--out', tmp_path/'new.html')
    assert not (tmp_path/'new.html').exists()


# ---- finding

@pytest.fixture(scope='module')
def two_years(tmp_path_factory) -> tuple[Path, Path, tuple]:
    "Two fields west of Greenwich, one patch of which has changed, and a place on that patch."
    from alphaearth_nb.fields import make_field
    from alphaearth_nb.grids import utm_grid
    from alphaearth_nb.inspection import pixels_lonlat
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp('years')
    grid = utm_grid((-88.770, 44.290, -88.762, 44.295))
    kinds = np.zeros(grid.shape, int)
    for year in ('2018', '2024'):
        vectors = np.eye(64)[kinds] + .08*rng.normal(size=(*kinds.shape, 64))
        unit = (vectors/np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)
        make_field(unit, grid, year, model='drawn').aef.to_cog(folder/f'{year}.tif')
        kinds[20:30, 20:32] = 1
    (lon,), (lat,) = pixels_lonlat(grid, np.array([25]), np.array([25]))
    return folder/'2018.tif', folder/'2024.tif', (lon, lat)


def test_search_takes_western_longitudes(two_years, tmp_path):
    "A word that begins with a minus sign is a place, not a flag."
    _, later, (lon, lat) = two_years
    words = 'search', later, '--like', f'{lon:.6f},{lat:.6f}', '--out', tmp_path/'places.geojson'
    facts = json.loads(aenb(*words, '--threshold', '.6', '--count', '3', '--json').stdout)
    assert lon < 0 and facts['kind'] == 'search' and facts['threshold']['found'] is None
    assert max(abs(one['lon'] - lon) + abs(one['lat'] - lat) for one in facts['places']) < .003
    assert '--overwrite' in refused(*words)
    assert '--model' in refused('search', later, '--like', 'rice fields', '--out', tmp_path/'new.geojson')


def test_change_between_two_files(two_years, tmp_path):
    earlier, later, _ = two_years
    words = 'change', f'2018={earlier}', f'2024={later}', '--out', tmp_path/'change.geojson'
    done = aenb(*words)
    assert done.returncode == 0 and '1 in 20' in done.stdout, done.stderr[-2000:]
    patches = json.loads((tmp_path/'change.geojson').read_text())['features']
    assert len(patches) == 1 and patches[0]['properties']['pixels'] == pytest.approx(120, abs=4)
    assert 'YEAR=FILE' in refused('change', earlier, later, '--out', tmp_path/'new.geojson')
    assert 'two' in refused('change', f'2018={earlier}', '--out', tmp_path/'new.geojson')
    assert not (tmp_path/'new.geojson').exists()


# ---- bad input: one sentence, exit code 2, nothing half-written

def empty(folder:Path) -> bool: return not folder.exists() or not any(folder.iterdir())


def test_missing_folder(tmp_path):
    assert 'nowhere' in refused('demo', '--data', tmp_path/'nowhere', '--out', tmp_path/'out')
    assert not (tmp_path/'out').exists()
    assert 'nowhere' in refused('info', 'nowhere')


def test_file_that_is_no_raster(tmp_path, run):
    (tmp_path/'notes.tif').write_text('no raster at all')
    assert 'notes.tif' in refused('info', tmp_path/'notes.tif')
    (tmp_path/'place').mkdir()
    (tmp_path/'place'/'S1_GRD-ASCENDING_20m_x.nc').write_text('no raster at all')
    said = refused('embed', run, tmp_path/'place', '--period', '2018', '--out', tmp_path/'field.tif')
    assert 'S1_GRD-ASCENDING_20m_x.nc' in said and not (tmp_path/'field.tif').exists()


def test_wrong_band_order(field, tmp_path):
    "A field whose bands are not A00 to A63 is refused, not read in file order."
    import rasterio
    other = tmp_path/'other.tif'
    shutil.copy(field, other)
    with rasterio.open(other, 'r+', IGNORE_COG_LAYOUT_BREAK='YES') as file:
        file.descriptions = ('B04', 'B03', *file.descriptions[2:])
    assert 'A00 to A63' in refused('info', other)


def test_support_without_frames(run, place, tmp_path):
    words = 'embed', run, place, '--period', '2017-10', '--support', '2001'
    said = refused(*words, '--out', tmp_path/'field.tif')
    assert 'at least one present frame' in said and empty(tmp_path)


def test_checkpoint_of_another_configuration(run, place):
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    said = refused('train', place, '--out', run, *SHORT, '--rate', '1e-4')
    assert 'another configuration' in said and 'rate was 0.002' in said
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_damaged_model(run, place, tmp_path):
    broken = tmp_path/'model.safetensors'
    data = bytearray((run/'model.safetensors').read_bytes())
    data[-5] ^= 1
    broken.write_bytes(data)
    said = refused('embed', broken, place, '--period', '2017-10', '--out', tmp_path/'field.tif')
    assert 'SHA-256' in said and not (tmp_path/'field.tif').exists()


def test_unfinished_run(place, tmp_path):
    (tmp_path/'run').mkdir()
    said = refused('embed', tmp_path/'run', place, '--period', '2018', '--out', tmp_path/'field.tif')
    assert 'aenb train' in said and not (tmp_path/'field.tif').exists()


def write_layout(folder:Path, shift_m:float) -> None:
    "A place of the WorldCereal layout: radar, and labels that lie beside it."
    import xarray as xr
    folder.mkdir()
    days = np.array(['2018-04-01', '2018-05-01'], 'datetime64[ns]')
    def centres(start, side, step): return start + (np.arange(side) + .5)*step
    def save(name, side, step, moved, maps):
        y, x = 5_600_000 - centres(0, side, step) + moved, centres(500_000, side, step)
        coords = {'timestamp': days, 'y': y, 'x': x}
        xr.Dataset(maps, coords, {'epsg': 32631}).to_netcdf(folder/name, engine='h5netcdf')
    radar = np.full((2, 8, 8), -120_000, np.int32)
    bands = {band: (('timestamp', 'y', 'x'), radar) for band in ('VV', 'VH')}
    save('S1_GRD-ASCENDING_20m_x.nc', 8, 20, 0, bands)
    maps = {name: (('y', 'x'), np.ones((16, 16), np.int64)) for name in ('LC', 'CT')}
    save('OUTPUT_POLY-110_10m_x.nc', 16, 10, shift_m, maps)


def test_labels_outside_the_grid(tmp_path):
    write_layout(tmp_path/'good', 0)
    assert aenb('info', tmp_path/'good').returncode == 0
    write_layout(tmp_path/'beside', 5000)
    said = refused('demo', '--data', tmp_path/'beside', '--out', tmp_path/'out')
    assert 'OUTPUT_POLY' in said and not (tmp_path/'out').exists()


def test_settings_that_cannot_work(place, tmp_path):
    assert 'multiple of 16' in refused('train', place, '--out', tmp_path/'run', '--window-px', '20')
    assert 'at least 0' in refused('demo', '--out', tmp_path/'out', '--steps', '-1')
    assert 'period' in refused('demo', '--data', place, '--out', tmp_path/'out', '--period', 'summer')
    assert empty(tmp_path)


@pytest.fixture
def full_disk(tmp_path):
    "A disk of 96 kB where one can be mounted, or else a limit on the size of files: (folder, options)."
    folder = tmp_path/'disk'
    folder.mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=96k', 'none', folder]
    may = os.geteuid() == 0 and shutil.which('mount')
    mounted = may and not subprocess.run(mount, capture_output=True).returncode
    def limit(): resource.setrlimit(resource.RLIMIT_FSIZE, (16_000, 16_000))
    yield folder, {} if mounted else {'preexec_fn': limit}
    if mounted: subprocess.run(['umount', folder], check=True)


@pytest.mark.parametrize('command', ['embed', 'train'])
def test_full_disk(full_disk, run, place, command):
    "A full disk leaves nothing under the final name and nothing aside."
    folder, options = full_disk
    (folder/'ballast').write_bytes(bytes(12_000))
    if command == 'embed':
        (folder/'more').write_bytes(bytes(0 if options else 60_000))
        words = ('embed', run, place, '--period', '2017-10', '--out', folder/'field.tif')
    else: words = ('train', place, '--out', folder/'run', *SHORT)
    said = refused(*words, **options)
    assert 'could not be written' in said
    assert options or 'disk is full' in said or 'No space left' in said
    left = {path.name for path in folder.rglob('*') if path.is_file()} - {'ballast', 'more', 'log.jsonl'}
    assert not left


def test_what_is_nobodys_fault_keeps_its_traceback(monkeypatch, capsys):
    "An error that the user cannot mend exits with 1 and shows where it came from."
    from alphaearth_nb import cli
    def broken(path:str='x') -> None: raise ZeroDivisionError('a fault of the program')
    monkeypatch.setattr(cli, 'COMMANDS', {'info': broken, 'other': broken})
    assert cli.main(['info']) == 1
    assert 'Traceback' in capsys.readouterr().err
