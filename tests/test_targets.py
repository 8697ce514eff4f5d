"""What is only decoded: its rows in the table of sources, its frames from Earth Engine on this machine."""
import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
from earth_engine import serving
from earth_engine_targets import (
    ALBERS, CDL, ERA5, GEDI, GRACE, GRID, LEFT, LON, PALSAR, TOP, centres, class_scene, climate,
    climate_scene, grid_at, months, nowhere, plane, scansar, shot_scene, shots, tiles, water_scene,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

pytest.importorskip('ee')
from alphaearth_nb.core import ConfigError, FrameError
from alphaearth_nb.ee_frames import SERVER_SOURCES
from alphaearth_nb.ee_requests import Waiting
from alphaearth_nb.fetch import earthengine_door, fetch_frames
from alphaearth_nb.frames import FrameSequence
from alphaearth_nb.periods import Period, to_ms
from alphaearth_nb.readers import ARRAYS
from alphaearth_nb.settings import AT_HAND, PRESETS
from alphaearth_nb.sources import INPUTS, SOURCES, source, statistics, to_classes
from alphaearth_nb.targets import GLO30_ASSET, NLCD_2019, NLCD_2021, TARGETS, read_frame, search_frames

QUICK = Waiting(sleep=lambda seconds: None, answer_s=20)
YEAR = Period.year(2021)
TABLE = SERVER_SOURCES | TARGETS


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch): monkeypatch.setenv('AE_CACHE_DIR', str(tmp_path/'cache'))


@pytest.fixture(scope='module')
def server():
    with serving(nowhere()) as server:
        server.initialize()
        yield server


@pytest.fixture(autouse=True)
def empty(server):
    server.archive.collections = nowhere().collections
    server.faults, server.asked[:], server.grids[:] = [], [], []


def put(server, asset:str, *scenes) -> None: server.archive.collections[asset] += scenes


def read(name:str, grid=GRID, period:Period=YEAR, table:dict=TABLE, bands:tuple=()) -> list[tuple]:
    "Every frame of a source: its pass, its values, its clear pixels."
    bands = bands or source(name).band_names
    return [(one, *read_frame(table, one, grid, bands, waiting=QUICK))
            for one in search_frames(table, name, grid, period, QUICK)]


def fetch(names:tuple, period:str='2021', grid=GRID, **more):
    return fetch_frames(grid, period, 'earthengine', names, quiet=True, **more)


def close(found:np.ndarray, wanted:object, atol:float=1e-3) -> None:
    np.testing.assert_allclose(found, wanted, atol=atol, rtol=2e-6)


def computed(server) -> int: return sum(path.endswith(':computePixels') for _, path in server.asked)


# ---- the table

@pytest.mark.parametrize('first', ['source_types', 'target_sources', 'sources', 'settings', 'targets'])
def test_every_row_is_there_whatever_was_imported_first(first):
    code = (f'import alphaearth_nb.{first}; from alphaearth_nb.sources import SOURCES, source; '
            'print(source("gedi").name, len(SOURCES))')
    said = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout
    assert said.split() == ['gedi', '10']


def test_inputs_are_what_they_were():
    "The rows and the statistics of what models encode have not changed with the others."
    assert INPUTS == ('sentinel2', 'sentinel1', 'landsat') == tuple(AT_HAND)
    for config in PRESETS.values(): assert set(config.bands) == set(INPUTS)
    kept = json.dumps({name: statistics('v1')[name] for name in INPUTS}, sort_keys=True)
    assert hashlib.sha256(kept.encode()).hexdigest()[:16] == '15fa72b9d1fc9503'
    for name in INPUTS: assert (source(name).role, source(name).kind) == ('input', 'continuous')


def test_targets_are_as_the_paper_has_them():
    "Table S1 and S2 with the weights of version 2.1."
    rows = {name: row for name, row in SOURCES.items() if row.role == 'target'}
    assert {name: (len(row.paper_bands), row.weight) for name, row in rows.items()} == {
        'palsar2': (3, 1), 'gedi': (101, 1), 'glo30': (1, 1), 'era5land': (12, 1), 'grace': (1, .5),
        'nlcd': (1, .25), 'cdl': (1, .25)}
    assert [name for name, row in rows.items() if row.kind == 'categorical'] == ['nlcd', 'cdl']
    assert len(rows['nlcd'].classes) == 16
    for name, row in rows.items():
        table = statistics()[name]
        for band in row.bands if not row.classes else ():
            (mean, deviation), (low, high) = table[band.name], band.valid_range
            assert deviation > 0 and low <= mean <= high, band.name
        assert row.docs.startswith(row.docs[0].upper()) and 'developers.google.com' in row.docs


# ---- radar

def test_backscatter_is_resampled_as_power_and_told_in_decibels(server):
    stored = np.where(np.arange(30) % 2, 9000., 1000.)*np.ones((30, 1))        # columns of two strengths
    put(server, PALSAR, scansar('a', int(to_ms('2021-06-02T03:00')), {'HH': stored, 'HV': stored/2}))
    (one, values, clear), = read('palsar2')
    across = (centres(GRID)[0] - (LEFT - 50))/25 - .5
    column, share = np.floor(across).astype(int), across % 1
    power = (1 - share)*stored[0, column]**2 + share*stored[0, column + 1]**2
    close(values[0], 10*np.log10(power) - 83)
    close(values[1], 10*np.log10(power/4) - 83)
    close(values[2], np.full(GRID.shape, np.radians(35)), atol=1e-6)
    assert clear.all()
    assert one.metadata == {'pass_direction_deg': 0, 'antenna_pointing_deg': 90}


def test_a_pass_is_one_frame_of_the_newest_scenes(server):
    "Two frames along a path that overlap, one processed twice; another path is another frame."
    ms = int(to_ms('2021-06-02T03:00'))
    def strength(value:float) -> dict: return {'HH': np.full((40, 40), value), 'HV': np.full((40, 40), value)}
    put(server, PALSAR, scansar('old', ms, strength(1.)),
        scansar('new', ms, strength(5000.), processed='2022'),
        scansar('south', ms + 8000, strength(5000.), frame=2, top=TOP - 200),
        scansar('other', ms + 6*86_400_000, strength(3000.), path=21, PassDirection='Descending',
                AntennaPointing='Left'))
    first, second = read('palsar2')
    close(first[1][:2], np.full((2, *GRID.shape), 10*np.log10(5000**2) - 83))
    assert {part.rpartition('/')[2] for part in first[0].parts} == {'new', 'south'}
    assert second[0].metadata == {'pass_direction_deg': 180, 'antenna_pointing_deg': 270}


def test_what_radar_does_not_see_is_told_apart(server):
    "HV missing, layover, shadow, sea, invalid pixels, and scenes that have no HH at all."
    ms, quality = int(to_ms('2021-06-02T03:00')), np.ones((40, 40))
    quality[:, 8:12], quality[:, 12:16], quality[:, 16:20], quality[:, 20:] = 2, 3, 4, 5
    put(server, PALSAR, scansar('a', ms, {'HH': np.full((40, 40), 4000.), 'MSK': quality}),
        scansar('vv', ms + 10**9, {'VV': np.full((40, 40), 4000.)}))
    frames = fetch(('palsar2',))['palsar2']
    assert len(frames) == 1
    assert frames.bands_present.tolist() == [[True, False, True]]
    mask = quality[0, ((centres(GRID)[0] - (LEFT - 50))//25).astype(int)]
    np.testing.assert_array_equal(np.isfinite(frames.values[0, 0]), mask != 5)
    np.testing.assert_array_equal(frames.valid_pixels[0, 0], np.isin(mask, [1, 4]))
    assert not frames.valid_pixels[0, 1].any() and np.isnan(frames.values[0, 1]).all()
    assert frames.metadata['pass_direction_deg'].tolist() == [0]


# ---- laser

def test_only_good_shots_count_and_nothing_is_blended(server):
    (name, start, end), = months('2021-04', 1)
    bands = shots(0)
    put(server, GEDI, shot_scene(f'{name}_a', start, bands))
    (one, values, clear), = read('gedi')
    x, y = centres(GRID)
    row, column = ((TOP + 100 - y)//25).astype(int), ((x - LEFT + 100)//25).astype(int)
    good = ((bands['quality_flag'] == 1) & (bands['degrade_flag'] == 0))[row, column]
    assert 0 < good.mean() < .5
    for share in (0, 37, 100):
        close(values[share], np.where(good, bands[f'rh{share}'][row, column], np.nan))
    np.testing.assert_array_equal(clear & np.isfinite(values).all(0), good)
    assert one.time_ms == (start + end)//2


def test_tiles_of_one_month_are_one_frame(server):
    rows = months('2021-04', 3)
    for number, (name, start, _) in enumerate(rows):
        put(server, GEDI, shot_scene(f'{name}_a', start, shots(number)),
            shot_scene(f'{name}_b', start, shots(number + 9), left=LEFT + 200, top=TOP + 100))
    found = search_frames(TABLE, 'gedi', GRID, YEAR, QUICK)
    assert [len(one.parts) for one in found] == [2, 2, 2]
    assert [one.time_ms for one in found] == [(start + end)//2 for _, start, end in rows]


@settings(max_examples=15, deadline=None, derandomize=True)
@given(cut=st.integers(1, 364))
def test_a_month_belongs_to_one_of_two_periods(server, cut):
    "Wherever a year is cut in two, each month is in one half, by its middle, and in the period."
    server.archive.collections = nowhere().collections
    names = source('era5land').band_names
    put(server, ERA5, *(climate_scene(*month, names) for month in months('2020-12', 14)))
    ms = YEAR.start_ms + cut*86_400_000
    halves = [search_frames(TABLE, 'era5land', GRID, Period(*ends), QUICK)
              for ends in ((YEAR.start_ms, ms), (ms, YEAR.end_ms))]
    assert [one.key[-6:] for half in halves for one in half] == [f'2021{n:02d}' for n in range(1, 13)]
    assert all(one.time_ms < ms for one in halves[0]) and all(one.time_ms >= ms for one in halves[1])


# ---- climate, gravity

def test_climate_has_its_twelve_bands_in_physical_units(server):
    names = source('era5land').band_names
    month, = months('2021-07', 1)
    put(server, ERA5, climate_scene(*month, names))
    frames = fetch(('era5land',))['era5land']
    lon, lat = Transformer.from_crs(32615, 4326, always_xy=True).transform(*centres(GRID))
    for number, name in enumerate(names):
        factor = {'to': 1e-4, 'su': 300}.get(name[:2], 1)
        wanted = climate(number, '07', lon, lat)*factor
        np.testing.assert_allclose(frames.values[0, number], wanted, rtol=2e-6)
    assert frames.bands == names and frames.valid_pixels.all()
    assert (frames.values[0, 9:] > 7e4).all() and (frames.values[0, :3] < .1).all()


def test_steps_between_cells_of_gravity_are_smoothed(server):
    month, = months('2021-07', 1)
    put(server, GRACE['V03'], water_scene(*month))
    put(server, GRACE['V04'], water_scene(*month, west=100., east=100.))
    (one, values, _), = read('grace')
    lon, _ = Transformer.from_crs(32615, 4326, always_xy=True).transform(*centres(GRID))
    close(values[0], -4 + 12*(lon - (LON - .5)), atol=1e-4)        # straight between corners one degree apart
    fourth = fetch_frames(GRID, '2021', earthengine_door(grace='V04'), ('grace',), quiet=True)
    third = fetch(('grace',))
    assert (fourth['grace'].values == 100).all() and (third['grace'].values < 10).all()   # one cache for each


# ---- relief

def test_slopes_are_the_same_at_every_edge(server):
    "A plane over the corner of four tiles: one slope, to the last pixel of the grid and across the tiles."
    put(server, GLO30_ASSET, *tiles())
    (one, values, clear), = read('glo30')
    close(values[0], plane(*centres(GRID)), atol=2e-3)
    steep = np.hypot(.05, .02)
    for band, wanted in zip(values[1:], (np.sin(np.arctan(steep)), np.cos(np.arctan(steep)), -.05/steep,
                                         .02/steep)):
        close(band, np.full(GRID.shape, wanted), atol=2e-3)
    assert clear.all() and one.time_ms == YEAR.middle_ms


def test_two_regions_have_the_same_relief_where_they_meet(server):
    "Rough ground: pixels of two regions that overlap are equal to the bit."
    def rough(x:np.ndarray, y:np.ndarray) -> np.ndarray: return 300 + 30*np.sin(x/70)*np.cos(y/90)
    put(server, GLO30_ASSET, *tiles(rough))
    (_, left, _), = read('glo30', GRID[:, :24])
    (_, right, _), = read('glo30', GRID[:, 8:])
    np.testing.assert_array_equal(left[:, :, 8:], right[:, :, :16])
    assert np.isfinite(left).all() and left[1].max() > .2


def test_level_ground_faces_nowhere(server):
    put(server, GLO30_ASSET, *tiles(lambda x, y: np.full(np.shape(x), 12.5)))
    frames = fetch(('glo30',))['glo30']
    assert frames.bands == source('glo30').band_names
    assert frames.bands_present.tolist() == [[True, True, True, False, False]]
    np.testing.assert_array_equal(frames.valid_pixels[0].all((1, 2)), [True, True, True, False, False])
    close(frames.values[0, 0], np.full(GRID.shape, 12.5))
    close(frames.values[0, 2], np.ones(GRID.shape), atol=1e-7)


# ---- maps

def codes(seed:int, choice:list) -> np.ndarray: return np.random.default_rng(seed).choice(choice, (60, 60))


def of_map(array:np.ndarray, scene) -> np.ndarray:
    "Codes at the pixels of the grid, by the nearest pixel of the map."
    x, y = Transformer.from_crs(32615, ALBERS, always_xy=True).transform(*centres(GRID))
    _, left, top, side = scene.native
    return array[((top - y)//side).astype(int), ((x - left)//side).astype(int)]


def test_classes_are_those_of_the_nearest_pixel_and_year(server):
    legal = [11, 21, 41, 82, 51, 0]                                 # 51 is a class of Alaska, 0 of nowhere
    maps = {year: class_scene(str(year), int(to_ms(f'{year}-01-01')), 'landcover', codes(year, legal))
            for year in (2016, 2019, 2021)}
    put(server, NLCD_2019, maps[2016], maps[2019],
        class_scene('2019_AK', int(to_ms('2019-01-01')), 'landcover', codes(7, [72])))
    put(server, NLCD_2021, maps[2021])
    for period, year in (('2017', 2016), ('2020', 2019), ('2022', 2021)):
        frames = fetch(('nlcd',), period)['nlcd']
        found = of_map(maps[year].bands['landcover'], maps[year])
        np.testing.assert_array_equal(frames.values[0, 0], np.where(found == 0, np.nan, found))
        np.testing.assert_array_equal(frames.valid_pixels[0, 0], to_classes(found, 'nlcd') >= 0)
        assert frames.times.tolist() == [Period.year(int(period)).middle_ms]
    assert 0 < frames.valid_pixels.mean() < 1


def test_crops_come_with_the_codes_of_their_provider(server):
    crops = class_scene('2021', int(to_ms('2021-01-01')), 'cropland', codes(1, [1, 5, 26, 176, 241, 81]))
    put(server, CDL, crops, class_scene('2015', int(to_ms('2015-01-01')), 'cropland', codes(2, [5])))
    frames = fetch(('cdl',))['cdl']
    found = of_map(crops.bands['cropland'], crops)
    np.testing.assert_array_equal(frames.values[0, 0], found)
    np.testing.assert_array_equal(frames.valid_pixels[0, 0], found != 81)
    names = [one.name for one in source('cdl').classes]
    assert names[to_classes(np.array(241), 'cdl')] == 'corn'


def test_outside_the_united_states_it_says_so(server):
    month, = months('2021-07', 1)
    put(server, ERA5, climate_scene(*month, source('era5land').band_names))
    put(server, NLCD_2019, class_scene('2019_AK', int(to_ms('2019-01-01')), 'landcover', codes(7, [72])))
    frames = fetch(('era5land', 'nlcd'))
    assert frames.sources == ('era5land',)
    assert [note for note in frames.notes if 'NLCD' in note and 'conterminous United States only' in note]
    with pytest.raises(FrameError, match='conterminous United States only'): fetch(('nlcd',))


# ---- all of them through the one door

def everything(server) -> None:
    month, ms = months('2021-07', 1)[0], int(to_ms('2021-07-02T03:00'))
    put(server, PALSAR, scansar('a', ms, {'HH': np.full((40, 40), 4000.), 'HV': np.full((40, 40), 2000.)}))
    put(server, GEDI, shot_scene('202107', month[1], shots(0)))
    put(server, ERA5, climate_scene(*month, source('era5land').band_names))
    put(server, GRACE['V03'], water_scene(*month))
    put(server, GLO30_ASSET, *tiles())
    put(server, NLCD_2021, class_scene('2021', int(to_ms('2021-01-01')), 'landcover', codes(0, [11, 41, 82])))
    put(server, CDL, class_scene('2021', int(to_ms('2021-01-01')), 'cropland', codes(0, [1, 5, 24])))


def test_a_sequence_of_all_targets_is_fetched_once_kept_and_shown(server, tmp_path):
    everything(server)
    frames = fetch(tuple(TARGETS))
    assert frames.sources == tuple(TARGETS) and not frames.notes
    asked = len(server.asked)
    again = fetch(tuple(TARGETS))
    assert len(server.asked) == asked
    frames.to_zarr(tmp_path/'iowa.zarr')
    for other in (again, FrameSequence.from_zarr(tmp_path/'iowa.zarr')):
        for name, part in frames.items():
            for key in ARRAYS: assert getattr(other[name], key).tobytes() == getattr(part, key).tobytes()
            assert other[name].bands == part.bands and set(other[name].metadata) == set(part.metadata)
    shown = frames._repr_html_()
    assert shown.count('<img') == len(TARGETS) and 'RH0 … RH100 (101 bands)' in shown
    assert max(map(len, repr(frames).splitlines())) < 400


def test_a_plan_says_what_targets_take(server):
    everything(server)
    plan = fetch(('gedi', 'glo30'), dry_run=True)
    assert plan.frames == {'gedi': 1, 'glo30': 1} and plan.requests == 2 and not computed(server)
    height, width = GRID.shape
    assert plan.bytes == 4*(102*height*width + 2*(height + 2)*(width + 2))
    fetch(('gedi', 'glo30'))
    assert computed(server) == 2
    assert sorted(one['dimensions']['width'] for one in server.grids) == [width, width + 2]


def test_what_failed_is_fetched_alone_the_next_time(server):
    everything(server)
    server.faults = ['', '', '', '403']                         # three listings, then the first frame
    with pytest.raises(FrameError): fetch(('nlcd', 'cdl'))
    before = computed(server)
    assert fetch(('nlcd', 'cdl')).sources == ('nlcd', 'cdl')
    assert computed(server) - before == 1


def test_models_of_today_take_the_inputs_only(server):
    "A sequence with targets beside the inputs prepares exactly as one without."
    pytest.importorskip('torch')
    from dataclasses import replace

    from alphaearth_nb.standardized import prepare
    from alphaearth_nb.settings import preset
    from alphaearth_nb.synthetic import synthetic_place
    everything(server)
    place = synthetic_place(size_px=tuple(GRID.shape))
    both = replace(place, frames={**place.frames, **fetch(tuple(TARGETS)).frames})
    alone, mixed = (prepare(one, preset('tiny')) for one in (place, both))
    assert tuple(mixed.sources) == tuple(alone.sources) == place.sources
    assert mixed.days == alone.days
    for name in alone.sources:
        np.testing.assert_array_equal(mixed.sources[name].values, alone.sources[name].values)


def test_bands_can_be_chosen_and_wrong_ones_are_named(server):
    everything(server)
    frames = fetch(('gedi', 'glo30'), bands={'gedi': ('RH98', 'RH50'), 'glo30': ('slope_cos',)})
    assert (frames['gedi'].bands, frames['glo30'].bands) == (('RH98', 'RH50'), ('slope_cos',))
    with pytest.raises(ConfigError, match='of gedi'): fetch(('gedi',), bands={'gedi': ('RH101',)})
    with pytest.raises(ConfigError, match="'l1c'|level"): earthengine_door(level='l9')


def test_a_grid_beside_all_tiles_has_no_relief(server):
    put(server, GLO30_ASSET, *tiles())
    with pytest.raises(FrameError, match='GLO-30'): fetch(('glo30',), grid=grid_at(LEFT + 300_000))
