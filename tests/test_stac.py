"""Frames from a STAC API on this machine: the real clients, true forms of files, servers that misbehave."""
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pystac import Item
from stac_server import add_item, catalogue, publish

from alphaearth_nb.core import FrameError, PlaceNotFound
from alphaearth_nb.fetch import fetch_frames
from alphaearth_nb.grids import utm_grid
from alphaearth_nb.passes import clear_pixels, group_passes
from alphaearth_nb.periods import Period
from alphaearth_nb.places import read_worldcereal
from alphaearth_nb.readers import SourceFrames
from alphaearth_nb.settings import AT_HAND
from alphaearth_nb.stac import Provider, read_pass, search_passes
from alphaearth_nb.synthetic import synthetic_place

STEP = {'sentinel2': 1e-4, 'landsat': .0035, 'sentinel1': 1e-4}   # what the providers' numbers can tell apart
GRID = utm_grid((3.10, 50.90, 3.104, 50.903))
JUNE = Period('2023-06-01', '2023-07-01')


@pytest.fixture(autouse=True)
def own_shelf(tmp_path, monkeypatch):
    "A cache of its own for every test."
    monkeypatch.setenv('AE_CACHE_DIR', str(tmp_path/'cache'))


@pytest.fixture(scope='module')
def place():
    "A synthetic place whose frames lie before and after the change of baseline."
    return synthetic_place(size_px=48, start='2021-12-31', days=60)


@pytest.fixture(scope='module')
def served(place, tmp_path_factory):
    with catalogue(tmp_path_factory.mktemp('stac')) as server:
        publish(server, place, place.grid)
        yield server


@pytest.fixture
def server(tmp_path):
    "A catalogue to fill."
    with catalogue(tmp_path/'files') as server: yield server


def same(found:SourceFrames, wanted:SourceFrames) -> None:
    "Frames agree as far as stored numbers can tell, masks and times exactly."
    kept = wanted.present
    np.testing.assert_array_equal(found.times, wanted.times[kept])
    np.testing.assert_array_equal(np.isnan(found.values), np.isnan(wanted.values[kept]))
    np.testing.assert_allclose(found.values, wanted.values[kept], atol=STEP[wanted.source])
    np.testing.assert_array_equal(found.valid_pixels.all(1), wanted.valid_pixels[kept].all(1))


# ---- what was published is what arrives

def test_frames_arrive_as_they_were(place, served):
    "Three sources, their times, offsets before and after January 2022, clouds; 25 items a page."
    frames = fetch_frames(place.grid, '2021-12-01/2022-04-01', served.url, quiet=True)
    assert frames.sources == place.sources and frames.grid == place.grid
    assert sum(map(len, frames.values())) > 25
    for name in place: same(frames[name], place[name].with_bands(AT_HAND[name]))


def test_two_catalogues_give_the_same_numbers(place, server):
    "One that has taken the offset away, under other names, gives what the other gives."
    publish(server, {'sentinel2': place['sentinel2']}, place.grid, style='element84')
    provider = Provider(name='Earth', url=server.url, collections={'sentinel2': 'sentinel-2-l2a'})
    frames = fetch_frames(place.grid, '2021-12-01/2022-04-01', provider, 'sentinel2', quiet=True)
    same(frames['sentinel2'], place['sentinel2'].with_bands(AT_HAND['sentinel2']))


def test_real_frames_arrive_as_they_were(flanders, server):
    "Flanders 2018, every twelfth date of Sentinel-2, every twentieth of Sentinel-1."
    real = read_worldcereal(flanders)
    some = {name: real[name].take(np.arange(0, len(real[name]), step)) for name, step in
            (('sentinel2', 12), ('sentinel1', 20), ('landsat', 6))}
    publish(server, some, real.grid)
    frames = fetch_frames(real.grid, '2017-08-01/2018-12-01', server.url, quiet=True)
    for name, part in some.items():
        seen = part.bands_present.any(0)
        part = part.with_bands([band for band, there in zip(part.bands, seen) if there])
        same(frames[name].with_bands(part.bands), part)


def test_a_region_is_read_onto_its_own_grid(place, served):
    "A box inside the place: the same pixels, cut out."
    inner = place.grid[8:40, 4:36]
    frames = fetch_frames(inner, '2022-01', served.url, 'sentinel2', quiet=True)['sentinel2']
    whole = fetch_frames(place.grid, '2022-01', served.url, 'sentinel2', quiet=True)['sentinel2']
    np.testing.assert_array_equal(frames.values, whole.values[..., 8:40, 4:36])


def test_the_end_of_a_period_is_not_in_it(place, served):
    times = place['sentinel2'].times
    found = search_passes(served.url, 'sentinel2', place.grid, Period(int(times[2]), int(times[5])))
    assert [one.time_ms for one in found] == times[2:5].tolist()


# ---- clouds

CLEAR_DAY = 21824      # QA_PIXEL: clear, and low confidence of all that is not


@pytest.mark.parametrize(('bit', 'seen'), [
    (0, False), (1, False), (2, False), (3, False), (4, False), (5, True), (6, True), (7, True)],
    ids=['fill', 'dilated cloud', 'cirrus', 'cloud', 'cloud shadow', 'snow', 'clear', 'water'])
def test_each_bit_of_qa_pixel_decides_alone(bit, seen):
    "Landsat Collection 2: five bits hide the ground; snow and water are ground."
    mask = np.array([[CLEAR_DAY, CLEAR_DAY | 1 << bit, 1 << bit]], np.uint16)
    assert clear_pixels(mask, 'landsat').tolist() == [[True, seen, seen]]


def test_confidences_of_qa_pixel_are_no_clouds():
    "The pairs of bits above the eighth tell how sure, whatever they say; values of real scenes follow."
    high = np.arange(256, dtype=np.uint16) << 8
    assert clear_pixels(high, 'landsat').all() and not clear_pixels(high | 8, 'landsat').any()
    real = {21824: True, 21952: True, 30048: True, 1: False, 22018: False, 22280: False, 23888: False,
            54596: False, 55052: False}
    assert clear_pixels(np.array([*real], np.uint16), 'landsat').tolist() == [*real.values()]
    assert clear_pixels(np.array([-1, CLEAR_DAY], np.int32), 'landsat').tolist() == [False, True]


def test_each_class_of_the_scene_classification_decides():
    "Seen are vegetation, soil, water and what is unclassified; not shadows, clouds, cirrus or snow."
    classes = np.arange(13, dtype=np.uint8)
    assert np.flatnonzero(clear_pixels(classes, 'sentinel2')).tolist() == [4, 5, 6, 7]


# ---- tiles

def tile(server, name:str, grid:GeoBox, value:int, second:int=0, **told) -> None:
    layers = {'B04': np.full(grid.shape, value, np.uint16), 'SCL': np.full(grid.shape, 4, np.uint8)}
    told = {'platform': 'Sentinel-2A', 's2:datatake_id': 'GS2A_1', 's2:mgrs_tile': name,
            's2:processing_baseline': '05.09'} | told
    ms = 1_685_616_631_000 + 1000*second
    add_item(server, name, 'sentinel-2-l2a', ms, grid, layers, **told)


def read(server, *bands:str, grid:GeoBox=GRID) -> list[tuple]:
    found = search_passes(server.url, 'sentinel2', grid, JUNE)
    return [read_pass(one, grid, bands or ['B04']) for one in found]


def test_ground_under_two_tiles_is_one_frame(server):
    "Tiles that overlap, seconds apart: one frame; where both see the ground, that of the grid's zone."
    beyond = GeoBox.from_bbox(GRID.boundingbox.buffered(400).to_crs(32632), 'EPSG:32632', resolution=10)
    tile(server, '32ULB', beyond, 4000, 0)
    tile(server, '31UDS', GRID[:, 12:], 3000, 9)          # farther from the meridian than the other
    (values, clear), = read(server)
    np.testing.assert_allclose(values[0, :, 12:], .2, rtol=1e-5)
    np.testing.assert_allclose(values[0, :, :11], .3, rtol=1e-5)
    assert np.isfinite(values).all() and clear.all()


def test_a_tile_processed_twice_counts_once(server):
    "The newest processing is taken, whichever is listed first."
    tile(server, 'new', GRID, 3000, **{'s2:mgrs_tile': '31UDS', 's2:processing_baseline': '05.09'})
    tile(server, 'old', GRID, 4500, **{'s2:mgrs_tile': '31UDS', 's2:processing_baseline': '02.04'})
    (values, _), = read(server)
    np.testing.assert_allclose(values, .2, rtol=1e-5)


def test_old_and_new_offset_side_by_side(server):
    "Two tiles of one pass, one of them processed before January 2022: no step at the seam."
    tile(server, '31UDS', GRID[:, :10], 2200)
    tile(server, '31UES', GRID[:, 8:], 1200, **{'s2:processing_baseline': '03.01'})
    (values, _), = read(server)
    np.testing.assert_allclose(values, .12, rtol=1e-5)


def test_fill_is_not_blended(server):
    "On another grid, pixels beside fill keep their value, even where the file does not say what fill is."
    pixels = np.full(GRID.shape, 3000, np.uint16)
    pixels[:, ::7] = 0
    shifted = GRID.translate_pix(.5, .5)
    add_item(server, 'holes', 'sentinel-2-l2a', 1_685_616_631_000, GRID, {'B04': pixels},
             None, **{'s2:processing_baseline': '05.09'})
    (values, clear), = read(server, grid=shifted)
    assert clear is None
    np.testing.assert_allclose(values[np.isfinite(values)], .2, rtol=1e-5)


def test_a_polarisation_may_be_missing(server):
    "The second slice has VV only: VH is missing there and there alone."
    power = np.full(GRID.shape, .1, np.float32)
    told = {'platform': 'sentinel-1a', 'sat:absolute_orbit': 7, 'sar:instrument_mode': 'IW'}
    left, right = GRID[:, :15], GRID[:, 15:]
    for name, grid, keys in (('one', left, ('vv', 'vh')), ('two', right, ('vv',))):
        layers = {key: power[:, :grid.width] for key in keys}
        add_item(server, name, 'sentinel-1-rtc', 1_685_616_631_000, grid, layers, np.nan, **told)
    one, = search_passes(server.url, 'sentinel1', GRID, JUNE)
    values, clear = read_pass(one, GRID, ['VV', 'VH'])
    assert clear is None
    np.testing.assert_allclose(values[0], -10, atol=1e-4)
    assert np.isfinite(values[1, :, :15]).all() and np.isnan(values[1, :, 15:]).all()


# ---- laws

@given(st.permutations(range(12)), st.integers(1, 4), st.integers(0, 3))
def test_every_scene_is_in_one_frame(order, tiles, versions):
    "In whatever order a catalogue lists scenes: the same passes, each tile of a pass once, the newest of it."
    def scene(number:int) -> Item:
        at, rest = number % 3, number//3
        told = {'datetime': f'2023-06-0{at + 1}T10:50:{rest:02d}Z', 'platform': 'S2A',
                's2:mgrs_tile': f'31UD{rest % tiles}', 's2:processing_baseline': '05.00',
                's2:datatake_id': f'GS2A_{at}_N05.{rest % (versions + 1):02d}'}
        return Item.from_dict({'type': 'Feature', 'stac_version': '1.0.0', 'id': f'{99 - number}',
                               'links': [],
                               'geometry': None, 'bbox': [3, 50, 4, 51], 'assets': {}, 'properties': told})
    found = group_passes([scene(number) for number in order], 'sentinel2', GRID)
    assert [one.time_ms for one in found] == sorted({one.time_ms for one in found}) and len(found) == 3
    for one in found:
        assert len({item.properties['s2:mgrs_tile'] for item in one.parts}) == len(one.parts) == min(4, tiles)
    again = group_passes([scene(number) for number in sorted(order)], 'sentinel2', GRID)
    def named(passes:list) -> list: return [[item.id for item in one.parts] for one in passes]
    assert named(found) == named(again)


# ---- servers that misbehave

@pytest.mark.parametrize('manner', [('503', 2), ('429', 2), ('reset', 1)])
def test_a_passing_trouble_is_waited_out(manner, place, served):
    "The catalogue and a file stumble; the frames come whole."
    name = next(item['id'] for item in served.items if item['collection'] == 'sentinel-2-l2a')
    served.manner |= {'search': manner, f'/files/{name}/B04.tif': (manner[0], 1)}
    frames = fetch_frames(place.grid, '2021-12-01/2022-01-10', served.url, 'sentinel2', quiet=True)
    few = place['sentinel2'].take(Period('2021-12-01', '2022-01-10').contains(place['sentinel2'].times))
    same(frames['sentinel2'], few.with_bands(AT_HAND['sentinel2']))


@pytest.mark.parametrize('manner', ['404', 'half'])
def test_a_file_that_does_not_come_is_named(manner, place, server):
    "Never a frame with a part of its pixels."
    publish(server, {'sentinel2': place['sentinel2']}, place.grid, limit=4)
    server.manner['/files/sentinel2-002/B04.tif'] = manner
    with pytest.raises(FrameError, match='3 of 4 frames have arrived.*sentinel2-002'):
        fetch_frames(place.grid, '2021-12-01/2022-04-01', server.url, 'sentinel2', quiet=True)
    server.manner.clear()
    before = len(server.asked)
    frames = fetch_frames(place.grid, '2021-12-01/2022-04-01', server.url, 'sentinel2', quiet=True)
    assert len(frames['sentinel2']) == 4
    assert {path.split('/')[2] for path in server.files()[before:]} <= {'sentinel2-002'}


def test_a_catalogue_that_is_gone_is_told(place, served):
    "One sentence; the rest of the errors that clients raise does not come through."
    served.manner['search'] = '404'
    try:
        with pytest.raises(PlaceNotFound, match='without an answer'):
            search_passes(served.url, 'sentinel2', place.grid, JUNE)
    finally: served.manner.clear()
    with pytest.raises(PlaceNotFound, match='Connect to the internet'):
        search_passes(replace(Provider(name='x', url='http://127.0.0.1:9')), 'sentinel2', place.grid, JUNE)
