"""What frames from Earth Engine are: the real client, scenes made here, a server on this machine.

What is expected is worked out from the scenes' numbers without the toolkit: by hand, or by `own_bilinear`.
"""
import numpy as np
import pytest
from earth_engine import serving
from earth_engine_scenes import (
    GRID, HEIGHT, JUNE, L8, L9, L_BANDS, MS, QUICK, S1, S2, S2_BANDS, S2_GROUND, WIDTH, flat, native,
    no_scenes, own_bilinear, put, read, reflecting, same, seen_by_landsat, seen_by_radar, seen_by_sentinel2,
)
from odc.geo.geobox import GeoBox

pytest.importorskip('ee')
from alphaearth_nb.ee_frames import CLOUD_SCORE, S1_INCLINATION_DEG, SERVER_SOURCES, ee_read, ee_search
from alphaearth_nb.ee_frames import sentinel2_source
from alphaearth_nb.fetch import earthengine_door
from alphaearth_nb.periods import Period
from alphaearth_nb.sources import SOURCES


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


# ---- Sentinel-2

def test_sentinel2_is_reflectance_on_the_grid(server):
    "20 m pixels that are not the grid's: a ten-thousandth of the numbers between, no offset in any year."
    numbers, where = np.random.default_rng(0).integers(100, 9000, (30, 30)), native(GRID, 20, 30)
    told = {'DATATAKE_IDENTIFIER': 'GS2A_1_N05.09', 'MGRS_TILE': '31UDS'}
    for year, ms in ((2021, MS - 2*365*86_400_000), (2023, MS)):
        put(server, S2, f'x{year}', {name: numbers + n for n, name in enumerate(S2_BANDS)}, ms, where,
            (30, 30), **told)
    bands = SOURCES['sentinel2'].band_names
    for year in ('2021', '2023'):
        one, = ee_search(SERVER_SOURCES, 'sentinel2', GRID, Period(f'{year}-01-01', f'{year}-12-31'), QUICK)
        values, _ = ee_read(SERVER_SOURCES, one, GRID, bands, waiting=QUICK)
        for n, band in enumerate(values): same(band, own_bilinear(numbers + n, where, GRID)/1e4)


def test_clear_is_a_score_of_a_half_of_the_same_image(server):
    "Linked by index; the score of another image tells nothing."
    score = np.linspace(0, 1, HEIGHT*WIDTH).reshape(GRID.shape)
    score[3, 4:8] = .5, .499, np.nan, .9
    seen_by_sentinel2(server, score=score)
    put(server, CLOUD_SCORE, 'other', {'cs': flat(1)})
    (_, values, clear), = read('sentinel2', ('B04',))
    np.testing.assert_array_equal(clear, np.nan_to_num(score) >= .5)
    assert np.isfinite(values).all()                                 # clouds are shown, only not counted


def test_without_a_score_nothing_is_clear(server):
    seen_by_sentinel2(server, score=None)
    (_, values, clear), = read('sentinel2', ('B04',))
    assert np.isfinite(values).all() and not clear.any()


def test_a_datatake_is_one_frame(server):
    "Two tiles that overlap, one of the next zone; another datatake is another frame."
    beyond = GeoBox.from_bbox(GRID.boundingbox.buffered(400).to_crs(32632), 'EPSG:32632', resolution=10)
    seen_by_sentinel2(server, 'east', 4000, tile='32ULB', where=native(beyond), shape=beyond.shape)
    seen_by_sentinel2(server, 'west', 3000, where=native(GRID[:, 12:]), shape=(HEIGHT, WIDTH - 12),
                      ms=MS + 9000)
    seen_by_sentinel2(server, 'later', 2000, datatake='GS2B_2', ms=MS + 600_000)
    (one, values, clear), (two, *_) = read('sentinel2', ('B04', 'B12'))
    assert (one.time_ms, two.time_ms) == (MS, MS + 600_000) and len(one.parts) == 2
    same(values[:, :, 12:], .3)
    same(values[:, :, :11], .4)
    assert clear.all()


def test_clouds_come_from_the_tile_on_top(server):
    "What one tile says about clouds does not mix with what the other says."
    seen_by_sentinel2(server, 'east', 4000, tile='32ULB')
    seen_by_sentinel2(server, 'west', 3000, score=0, where=native(GRID[:, 12:]), shape=(HEIGHT, WIDTH - 12))
    (_, _, clear), = read('sentinel2', ('B04',))
    assert clear[:, :12].all() and not clear[:, 12:].any()


def test_a_tile_processed_twice_counts_once(server):
    "The newest baseline, whichever is listed first, even though its datatake is spelt otherwise."
    for index, baseline, value in (('a', '02.04', 4500), ('b', '05.09', 3000), ('c', '03.01', 4000)):
        seen_by_sentinel2(server, index, value, PROCESSING_BASELINE=baseline,
                          DATATAKE_IDENTIFIER=f'GS2A_1_N{baseline}')
    (one, values, _), = read('sentinel2', ('B04',))
    assert one.parts == (f'{S2}/b',)
    same(values, .3)


def test_level_2a_and_its_classes(server):
    "Another collection, another door; vegetation, soil, water and unclassified are clear."
    classes = np.resize(np.arange(12.), GRID.shape)
    put(server, S2_GROUND, 'a', reflecting(1500) | {'SCL': classes}, DATATAKE_IDENTIFIER='x')
    table = {'sentinel2': sentinel2_source('l2a', 'classes')}
    (_, values, clear), = read('sentinel2', ('B04',), table=table)
    same(values, .15)
    np.testing.assert_array_equal(clear, np.isin(classes, (4, 5, 6, 7)))
    assert not ee_search(SERVER_SOURCES, 'sentinel2', GRID, JUNE, QUICK)
    assert earthengine_door(level='l2a').address != earthengine_door().address


# ---- Sentinel-1

def test_radar_is_resampled_as_power(server):
    "Decibels of mean powers; radians; what a pass knows about its geometry; no cloud hides the ground."
    rng, where = np.random.default_rng(1), native(GRID, 10, 14)
    db, angle = rng.uniform(-20, 0, (60, 60)), rng.uniform(30, 45, (60, 60))
    seen_by_radar(server, 'a', {'VV': db, 'VH': db - 7, 'angle': angle}, where=where, shape=(60, 60))
    (one, values, clear), = read('sentinel1', ('VV', 'VH', 'HH', 'HV', 'angle'))
    wanted = 10*np.log10(own_bilinear(10**(db/10), where, GRID))
    same(values[0], wanted, rtol=1e-5)
    same(values[1], wanted - 7, rtol=1e-5)
    assert np.isnan(values[2:4]).all() and clear.all()
    same(values[4], np.radians(own_bilinear(angle, where, GRID)))
    assert one.metadata == {'heading_deg': -12.5, 'inclination_deg': S1_INCLINATION_DEG}


def test_radar_out_of_range_is_no_data(server):
    db = np.resize([-31., -29.9, 9.9, 11, -5], GRID.shape)
    seen_by_radar(server, 'a', {'VV': db, 'VH': flat(-15), 'angle': flat(40)})
    (_, values, _), = read('sentinel1', ('VV', 'VH'))
    same(values[0], np.where((db >= -30) & (db <= 10), db, np.nan), rtol=1e-5)
    same(values[1], -15, rtol=1e-5)


def test_radar_slices_of_an_orbit_and_other_modes(server):
    "Two slices of an orbit are one frame; a polarisation that one lacks is missing there; EW is left out."
    half = {'shape': (HEIGHT, 15)}
    left = {name: flat(-10, half['shape']) for name in ('VV', 'VH')} | {'angle': flat(30, half['shape'])}
    seen_by_radar(server, 'a', left, **half)
    right = {'VV': flat(-12, (HEIGHT, WIDTH - 15)), 'angle': flat(31, (HEIGHT, WIDTH - 15))}
    seen_by_radar(server, 'b', right, MS + 25_000, where=native(GRID[:, 15:]), shape=(HEIGHT, WIDTH - 15))
    seen_by_radar(server, 'c', left, MS + 86_400_000, orbit=20, mode='EW', **half)
    (one, values, _), = read('sentinel1', ('VV', 'VH'))
    assert len(one.parts) == 2
    same(values[0], np.where(np.arange(WIDTH) < 15, -10, -12)*np.ones((HEIGHT, 1)), rtol=1e-5)
    assert np.isfinite(values[1, :, :15]).all() and np.isnan(values[1, :, 15:]).all()


# ---- Landsat

def test_landsat_has_its_eight_bands(server):
    "30 m pixels between which numbers are smooth; the thermal band in kelvin; two satellites."
    rng, where = np.random.default_rng(2), native(GRID, 30, 65)
    numbers = {name: rng.uniform(0, .8, (25, 25)) for name in L_BANDS}
    numbers['B10'] = rng.uniform(260, 310, (25, 25))
    told = dict(WRS_PATH=199, WRS_ROW=24, UTM_ZONE=31, SUN_ELEVATION=40)
    put(server, L8, 'a', numbers | {'QA_PIXEL': flat(21824, (25, 25))}, MS, where, (25, 25), **told)
    seen_by_landsat(server, 'b', ms=MS + 8*86_400_000, asset=L9)
    (_, values, clear), (_, second, _) = read('landsat', SOURCES['landsat'].band_names)
    for name, band in zip(L_BANDS, values): same(band, own_bilinear(numbers[name], where, GRID))
    assert clear.all()
    same(second[:7], .3)
    same(second[7], 285)


def test_landsat_clouds_are_bits_of_the_nearest_pixel(server):
    "Fill, rim, cirrus, cloud and shadow are not clear; classes are never averaged."
    bits = np.resize([21824, 21825, 21826, 21828, 21832, 21840, 21952, 22280, 23888], (40, 40)).astype(float)
    where = native(GRID, 30, 65)
    seen_by_landsat(server, 'a', qa=bits, where=where, shape=(40, 40))
    (_, _, clear), = read('landsat', ('B04',))
    row = np.floor((65 + 10*(np.arange(HEIGHT) + .5))/30).astype(int)
    column = np.floor((65 + 10*(np.arange(WIDTH) + .5))/30).astype(int)
    near = bits[np.ix_(row, column)].astype(int)
    wanted = [['1' not in f'{one:b}'[-5:] for one in line] for line in near]
    np.testing.assert_array_equal(clear, wanted)


def test_landsat_rows_overlap_and_nights_go(server):
    "The row of the closest zone lies on top; of two in one zone the newer; the sun was up."
    for index, value, row, zone in (('old', .4, 23, 31), ('new', .3, 24, 31), ('far', .5, 25, 32)):
        later = 20_000*(row - 23)
        shape = {'shape': (HEIGHT, 15)} if index == 'new' else {}
        seen_by_landsat(server, index, value, MS + later, row=row, zone=zone, **shape)
    seen_by_landsat(server, 'night', .1, MS + 40_000_000, sun=-3)
    (one, values, _), = read('landsat', ('B04',))
    assert [name.rpartition('/')[2] for name in one.parts] == ['new', 'old', 'far'] and one.time_ms == MS
    same(values[0], np.where(np.arange(WIDTH) < 15, .3, .4)*np.ones((HEIGHT, 1)))
