"""Fields through Earth Engine are complete and identical, or an error is clear: the real client."""
import time

import numpy as np
import pytest
from affine import Affine
from earth_engine import BANDS, Tiles, coded, coded_raster, everywhere, serving, waves
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from alphaearth_nb.core import ConfigError, FieldError, PlaceNotFound
from alphaearth_nb.earthengine import sample_image
from alphaearth_nb.ee_fields import decode_image, earthengine_field, encode_image, read_pixels, released_image
from alphaearth_nb.ee_requests import EarthEngineError, Limits, RequestTooLarge, Waiting
from alphaearth_nb.fields import read_cog

LEFT, TOP = 510_000, 5_652_000   # in zone 31N, where four tiles of `everywhere` lie close
SMALL = Limits(bytes=128*40*40, at_once=6)
PAUSES = []
QUICK = Waiting(sleep=PAUSES.append, answer_s=20)


def grid_of(height:int, width:int, left:float=LEFT, top:float=TOP, zone:int=32631) -> GeoBox:
    "A grid of 10 m."
    return GeoBox((height, width), Affine(10, 0, left, 0, -10, top), zone)


def expected(grid:GeoBox, zone:str='31N', year:int=2024) -> np.ndarray:
    "Codes (64, h, w) that the tiles were made from."
    columns = round(grid.affine.c/10) + np.arange(grid.width)
    rows = round(grid.affine.f/10) - 1 - np.arange(grid.height)
    return np.moveaxis(coded(waves)(zone, *np.meshgrid(columns, rows), year), -1, 0)


@pytest.fixture(scope='module')
def shared():
    import ee
    with serving(everywhere()) as running:
        running.initialize()
        yield running
        ee.Reset()


@pytest.fixture
def server(shared):
    "The server without faults, with its usual limits."
    usual = dict(shared.limits)
    shared.asked.clear(), shared.grids.clear(), PAUSES.clear()
    shared.trouble.most = 0
    yield shared
    shared.faults, shared.limits = [], usual


def pixels_asked(server) -> int: return sum(path.endswith(':computePixels') for _, path in server.asked)


# ---- the same codes, in as many requests as it takes

def test_a_field_has_the_codes_of_the_tiles_to_the_bit(server):
    "Across the border of two tiles, in several requests at once, each asked for once."
    grid = grid_of(90, 130, left=343_700)                             # tiles meet at 344,320 m
    field = earthengine_field(grid, 2024, limits=SMALL, waiting=QUICK)
    assert (field.values == expected(grid)).all() and field.aef.grid == grid
    assert pixels_asked(server) == 12 and server.trouble.most > 1 and not PAUSES
    sizes = [one['dimensions'] for one in server.grids]
    assert sum(one['width']*one['height'] for one in sizes) == 90*130
    assert field.attrs['zone'] == '31N' and 'resampled' not in field.attrs


@settings(max_examples=10)
@given(st.integers(1, 80), st.integers(1, 80), st.integers(-40, 40), st.integers(-40, 40),
       st.integers(15, 60), st.sampled_from([2017, 2024]))
def test_any_grid_and_any_limits_give_the_same(shared, height, width, right, up, side, year):
    grid = grid_of(height, width, 344_320 + 10*right, 5_763_840 + 10*up)    # four tiles meet
    field = earthengine_field(grid, year, limits=Limits(bytes=128*side*side), waiting=QUICK)
    assert (field.values == expected(grid, year=year)).all()


def test_a_lazy_field_asks_when_numbers_are_needed(server):
    grid = grid_of(100, 100)
    field = earthengine_field(grid, 2024, lazy=True, limits=SMALL, waiting=QUICK)
    assert pixels_asked(server) == 0
    assert (field[:, 3:9, 3:9].values == expected(grid)[:, 3:9, 3:9]).all() and pixels_asked(server) == 1
    assert (field.values == expected(grid)).all()


def test_each_zone_has_its_own_pixels(server):
    "At the edge of a zone the tiles of both lie over each other; each grid gets those of its own."
    from pyproj import Transformer
    x, y = Transformer.from_crs(4326, 32632, always_xy=True).transform(6.0, 51.0)
    here = grid_of(30, 30, round(x, -1), round(y, -1), 32632)
    assert (earthengine_field(here, 2024, waiting=QUICK).values == expected(here, '32N')).all()
    x, y = Transformer.from_crs(4326, 32631, always_xy=True).transform(6.0, 51.0)
    there = grid_of(30, 30, round(x, -1), round(y, -1))
    assert (earthengine_field(there, 2024, waiting=QUICK).values == expected(there)).all()


def test_off_the_pixels_is_marked(server):
    grid = grid_of(10, 10, LEFT + 4)
    field = earthengine_field(grid, 2024, waiting=QUICK)
    assert field.attrs['resampled'] == 'nearest'
    assert (field.values == expected(grid_of(10, 10))).all()


def test_all_codes_survive_the_way(server):
    "From codes to components, as the collection has them, and back to codes: all 255, and no data."
    import ee
    codes = np.arange(-127, 128)
    image = ee.Image.constant([float(np.sign(code)*(code/127.5)**2) for code in codes[:64]]).rename(BANDS)
    for first in (0, 64, 128, 191):
        some = codes[first:first + 64]
        image = ee.Image.constant([float(np.sign(code)*(code/127.5)**2) for code in some]).rename(BANDS)
        found = read_pixels(encode_image(image), grid_of(1, 1), BANDS, np.int8)
        assert (found[:, 0, 0] == some).all()
        coded_image = ee.Image.constant([float(code) for code in some]).rename(BANDS)
        assert (read_pixels(encode_image(decode_image(coded_image)), grid_of(1, 1), BANDS, 'int8')[:, 0, 0]
                == some).all()
    outside = read_pixels(encode_image(released_image(2024, '31N')), grid_of(2, 2, top=9e6), BANDS, np.int8)
    assert (outside == -128).all()


@given(st.lists(st.floats(-127.4, 127.4), min_size=64, max_size=64))
@settings(max_examples=15)
def test_components_between_codes_go_to_the_nearest(shared, wanted):
    "An image of somebody else's unit vectors: the service rounds, where turning into integers would cut off."
    import ee
    wanted = np.where(np.abs(np.array(wanted) % 1 - .5) < .01, np.round(wanted), wanted)   # no ties
    image = ee.Image.constant((np.sign(wanted)*(wanted/127.5)**2).tolist()).rename(BANDS)
    found = read_pixels(encode_image(image), grid_of(1, 1), BANDS, np.int8, waiting=QUICK)[:, 0, 0]
    assert (found == np.round(wanted)).all()


def test_the_real_raster_comes_back_to_the_bit(server, shared_data):
    "Released codes of Wisconsin through Earth Engine and from the file are the same."
    path = shared_data/'aef_wisconsin_2024_32616_10m.tif'
    if not path.is_file(): pytest.skip('aef_wisconsin_2024_32616_10m.tif is not in ../shared/data')
    zone, left, bottom, codes = coded_raster(path)
    with serving(Tiles([(zone, left, bottom)], codes, [2024], side_m=5000)) as running:
        running.initialize()
        local = read_cog(path, valid='2024')
        field = earthengine_field(local.aef.grid, 2024, limits=SMALL, waiting=QUICK)
    server.initialize()
    assert (field.values == local.values).all() and (field.values == -128).any()


# ---- what is not there

def test_what_is_not_there_is_named(server):
    with pytest.raises(PlaceNotFound, match=r'one of \[2017, .*2024\]'):
        earthengine_field(grid_of(9, 9), 2030, waiting=QUICK)
    with pytest.raises(PlaceNotFound, match='no image of that zone'):
        earthengine_field(grid_of(9, 9, top=2_000_000), 2024, waiting=QUICK)
    with pytest.raises(ConfigError, match='UTM zone'):
        earthengine_field(GeoBox((9, 9), Affine(10, 0, LEFT, 0, -10, TOP), 3857), 2024)
    assert not pixels_asked(server)


def test_what_is_no_embedding_is_refused(server):
    image = released_image(2024, '31N')
    with pytest.raises(FieldError, match='not of length 1'):
        earthengine_field(grid_of(9, 9), 2024, image.multiply(.5), waiting=QUICK)
    with pytest.raises(EarthEngineError, match='did not match any bands'):
        earthengine_field(grid_of(9, 9), 2024, image.select(BANDS[:63]), waiting=QUICK)
    assert pixels_asked(server) == 2 and not PAUSES      # what cannot succeed is asked once


def test_a_dry_run_asks_nobody():
    plan = earthengine_field(grid_of(1254, 628), 2024, dry_run=True)
    assert (plan.requests, plan.bytes) == (4, 1254*628*64) and str(plan).startswith('50.4 MB in 4 requests')


# ---- the service at its worst

@pytest.mark.parametrize('fault', ['429', '500', '503', 'reset', 'truncated', 'short', 'other'])
def test_after_a_fault_the_field_is_whole(server, fault):
    "Three times in a row, in the middle of others: asked again, and nothing of a bad answer is kept."
    grid = grid_of(90, 70)
    server.faults = [''] + [fault]*3
    field = earthengine_field(grid, 2024, released_image(2024, '31N'), limits=SMALL, waiting=QUICK)
    assert (field.values == expected(grid)).all()
    assert len(PAUSES) == 3 and pixels_asked(server) == 6 + 3


@pytest.mark.parametrize('fault', ['429', '500', 'reset', 'truncated'])
def test_a_fault_that_stays_ends_in_an_error(server, fault):
    "After eight tries of ours, none of the client's own."
    server.faults = [fault]*99
    image = released_image(2024, '31N')
    with pytest.raises(EarthEngineError, match='not answering after 8 tries'):
        earthengine_field(grid_of(20, 20), 2024, image, waiting=QUICK)
    assert pixels_asked(server) == 8 and len(PAUSES) == 7 and sum(PAUSES) < 300


@pytest.mark.parametrize('fault', ['429', '500'])
def test_asking_for_the_years_is_as_patient_and_no_more(server, fault):
    "The first question of a field is which years there are: eight tries of ours, none of the client's own."
    server.faults = [fault]*99
    with pytest.raises(EarthEngineError, match='not answering after 8 tries'):
        earthengine_field(grid_of(20, 20), 2024, waiting=QUICK)
    assert len(server.asked) == 8 and len(PAUSES) == 7 and not pixels_asked(server)


def test_an_answer_that_trickles_is_left_behind(server):
    server.faults = ['trickle']
    start, image = time.monotonic(), released_image(2024, '31N')
    waiting = Waiting(sleep=PAUSES.append, answer_s=2)
    field = earthengine_field(grid_of(20, 20), 2024, image, waiting=waiting)
    assert (field.values == expected(grid_of(20, 20))).all() and len(PAUSES) == 1
    assert time.monotonic() - start < 100                # a byte each 20 ms would take 500 s


def test_no_permission_is_not_asked_again(server):
    server.faults = ['403']*9
    with pytest.raises(EarthEngineError, match='required permission'):
        earthengine_field(grid_of(9, 9), 2024, released_image(2024, '31N'), waiting=QUICK)
    assert pixels_asked(server) == 1


def test_too_much_memory_means_smaller_requests(server):
    "Not the same again: halves, until they fit; and an error where 64 pixels are still too much."
    grid, image = grid_of(200, 150), released_image(2024, '31N')
    server.limits['memory_px'] = 100*100
    field = earthengine_field(grid, 2024, image, limits=Limits(at_once=1), waiting=QUICK)
    assert (field.values == expected(grid)).all() and not PAUSES
    sizes = [(one['dimensions']['height'], one['dimensions']['width']) for one in server.grids]
    assert sizes[0] == (200, 150) and len(sizes) == len(set(map(str, server.grids)))
    server.limits['memory_px'] = 50
    with pytest.raises(RequestTooLarge, match='memory limit'):
        earthengine_field(grid, 2024, image, limits=Limits(at_once=1), waiting=QUICK)
    assert min(min(one['dimensions'].values()) for one in server.grids) >= 64//2


def test_parts_are_cut_as_often_as_was_learned(server):
    "What the first part needed, the others get at once: one of four is refused twice, none asked again."
    server.limits['memory_px'] = 30*30
    grid, image = grid_of(100, 100), released_image(2024, '31N')
    windows = [(row, column, 50, 50) for row in (0, 50) for column in (0, 50)]
    limits = Limits(at_once=1, smallest_px=10)
    codes = read_pixels(encode_image(image), grid, BANDS, np.int8, windows, limits, QUICK)
    assert (codes == expected(grid)).all() and not PAUSES
    assert pixels_asked(server) == 2 + 4*4               # 50 x 50, 25 x 50, then quarters of all four


def test_the_server_enforces_its_limits(server):
    "So that the tests above mean something: a request of 628 × 628 codes is refused as the service does."
    server.limits['bytes'] = 128*40*40
    with pytest.raises(RequestTooLarge, match='Total request size'):
        read_pixels(encode_image(released_image(2024, '31N')), grid_of(41, 41), BANDS, np.int8,
                    windows=[(0, 0, 41, 41)], waiting=QUICK)
    field = earthengine_field(grid_of(41, 41), 2024, limits=SMALL, waiting=QUICK)
    assert (field.values == expected(grid_of(41, 41))).all()


def test_the_client_is_left_as_it_was(server):
    import ee
    before = ee.data._get_state().max_retries
    earthengine_field(grid_of(9, 9), 2024, waiting=QUICK)
    server.faults = ['403']
    with pytest.raises(EarthEngineError): sample_image(released_image(2024), [3.2], [51.0], waiting=QUICK)
    assert ee.data._get_state().max_retries == before > 0


@pytest.mark.parametrize('fault', ['429', '503', 'reset', 'truncated', 'short'])
def test_points_are_asked_again(server, fault):
    server.faults = [fault]*2
    lon, lat = np.random.default_rng(0).uniform([3.2, 51.0], [3.22, 51.01], (1500, 2)).T
    found = sample_image(released_image(2024, '31N'), lon, lat, waiting=QUICK)
    assert (found*waves(lon, lat, 2024)).sum(1).min() > .9 and len(PAUSES) == 2


def test_fewer_points_where_memory_ends(server):
    server.faults = ['memory']
    found = sample_image(released_image(2024, '31N'), np.linspace(3.2, 3.22, 700), np.full(700, 51.0),
                         waiting=QUICK)
    assert np.isfinite(found).all() and len(server.asked) == 3
