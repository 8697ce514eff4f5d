"""The released embeddings over HTTP: files of the release's form, behind a server that also misbehaves."""
import re
import subprocess
import sys
import time

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from object_store import (PREFIX, SIDE, SIDES, SOUTH, WEST, Host, box_of, cut, grid_at, row, some_codes,
                          write_index, write_tile)
from odc.geo.geobox import GeoBox

import alphaearth_nb as ae
from alphaearth_nb import remote_files
from alphaearth_nb.codes import NO_DATA
from alphaearth_nb.cogs import read_codes
from alphaearth_nb.core import ConfigError, FieldError, PlaceNotFound
from alphaearth_nb.release import ATTRIBUTION, released
from alphaearth_nb.release_index import INDEX, read_index

EARLIER = 2021

TILES = {  # west and east lie side by side; beside lies in the next zone, over the same ground as its border
    'west': ('2024/16N/xwest-0000000000-0000000000', grid_at(WEST, SOUTH)),
    'east': ('2024/16N/xeast-0000000000-0000008192', grid_at(WEST + 10*SIDE, SOUTH)),
    'border': ('2024/16N/xborder-0000000000-0000000000', grid_at(738_000, SOUTH, height=200, width=200)),
    'beside': ('2024/17N/xbeside-0000000000-0000000000', grid_at(259_500, SOUTH, 17, 600, 200)),
}


@pytest.fixture(scope='module')
def codes() -> dict[str, np.ndarray]:
    return {name: some_codes(*grid.shape, seed) for seed, (name, (_, grid)) in enumerate(TILES.items())}


@pytest.fixture(scope='module')
def shelf(codes, tmp_path_factory):
    "A small copy of the release."
    folder = tmp_path_factory.mktemp('release')
    for name, (path, grid) in TILES.items():
        write_tile(folder/f'{path}.tiff', codes[name], grid, upward=name != 'east')
    rows = [row(path, grid) for path, grid in TILES.values()]
    rows += [row(path.replace('2024', str(EARLIER)), grid) for path, grid in TILES.values()]
    write_index(folder, sorted(rows, key=lambda one: one['utm_zone']))
    return folder


@pytest.fixture
def host(shelf):
    host = Host(shelf)
    yield host
    host.server.shutdown()
    host.server.server_close()


def both(codes:dict) -> tuple[np.ndarray, GeoBox]:
    "The two tiles side by side, and their grid."
    return np.concatenate([codes['west'], codes['east']], 2), grid_at(WEST, SOUTH, width=2*SIDE)


INSIDE = box_of(grid_at(WEST + 5300, SOUTH + 3000, height=50, width=90))   # across both tiles


# ---- what is read

def test_region_across_two_tiles_is_the_codes_of_both(host, codes):
    "One tile runs from the south, the other from the north: the field cannot tell."
    whole, grid = both(codes)
    field = released(INSIDE, 2024, url=host.url)
    assert np.array_equal(field.values, cut(whole, grid, field.aef.grid))
    assert (np.diff(field.y) < 0).all() and field.dtype == np.int8 and field.aef.state == 'codes'
    attrs = field.attrs
    assert (attrs['year'], attrs['zone'], attrs['valid_period']) == (2024, '16N', '2024-01-01/2025-01-01')
    assert (attrs['licence'], attrs['attribution'], attrs['version']) == ('CC-BY 4.0', ATTRIBUTION, 'v1')
    assert attrs['tiles'].count('.tiff') == 2


def test_every_request_says_who_asks(host):
    released(INSIDE, 2024, url=host.url)
    assert {agent for _, _, _, agent, _ in host.asked} == {f'alphaearth_nb/{ae.__version__}'}
    assert all(status in (200, 206) for *_, status in host.asked)
    assert not [name for name, *_ in host.asked if not name.endswith(('.tiff', '.parquet'))]


def test_no_data_stays_and_land_without_tile_has_none(host, codes):
    whole, grid = both(codes)
    corner = grid_at(WEST - 300, SOUTH + 10*SIDE - 600, height=90, width=100)
    field = released(box_of(corner), 2024, url=host.url)
    assert np.array_equal(field.values, cut(whole, grid, field.aef.grid))
    assert (field.values == NO_DATA).all(0).sum() > 30*50 and (field.values != NO_DATA).all(0).any()


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_box_is_the_same_window(shelf, codes, data):
    host, (whole, grid) = HOSTS.setdefault('one', Host(shelf)), both(codes)
    top, left = data.draw(st.integers(0, SIDE - 2)), data.draw(st.integers(0, 2*SIDE - 2))
    part = grid[top:top + data.draw(st.integers(1, 60)), left:left + data.draw(st.integers(1, 60))]
    field = released(box_of(part), 2024, url=host.url, lazy=True).compute()
    assert np.array_equal(field.values, cut(whole, grid, field.aef.grid))
    inner, outer = part.boundingbox, field.aef.grid.boundingbox
    assert outer.left - .1 <= inner.left and inner.right <= outer.right + .1
    assert outer.bottom - .1 <= inner.bottom and inner.top <= outer.top + .1


HOSTS = {}


@pytest.fixture(scope='module', autouse=True)
def closed():
    yield
    for host in HOSTS.values(): host.server.shutdown()


def test_polygon_in_another_system(host, codes):
    whole, grid = both(codes)
    west, south, east, north = grid[300:340, 550:610].boundingbox.bbox
    disc = shapely.Point((west + east)/2, (south + north)/2).buffer(150)
    field = released(geopandas.GeoSeries([disc], crs='EPSG:32616').to_crs(3857), 2024, url=host.url)
    full = cut(whole, grid, field.aef.grid)
    x, y = np.meshgrid(field.x, field.y)
    inside = shapely.contains_xy(disc.buffer(-1), x, y)
    assert np.array_equal(field.values[:, inside], full[:, inside]) and inside.sum() > 600
    assert (field.values[:, ~shapely.contains_xy(disc.buffer(1), x, y)] == NO_DATA).all()


def test_wisconsin_bit_for_bit(shared_data, tmp_path):
    "The one released file at hand, as a tile of the release."
    file = shared_data/'aef_wisconsin_2024_32616_10m.tif'
    known, grid, _ = read_codes(file)
    (tmp_path/'2024'/'16N').mkdir(parents=True)
    (tmp_path/'2024'/'16N'/'xwis-0-0.tiff').write_bytes(file.read_bytes())
    write_index(tmp_path, [row('2024/16N/xwis-0-0', grid)])
    host = Host(tmp_path)
    field = released(box_of(grid), 2024, url=host.url)
    assert np.array_equal(field.values, cut(known, grid, field.aef.grid))
    row_, column = round((field.aef.grid.affine.f - grid.affine.f)/10), round(
        (grid.affine.c - field.aef.grid.affine.c)/10)
    assert np.array_equal(field.values[:, row_:row_ + 103, column:column + 103], known)
    outline = geopandas.GeoSeries([shapely.box(*grid.boundingbox.bbox)], crs=str(grid.crs))
    exact = released(outline, 2024, url=host.url)
    assert exact.shape == (64, 103, 103) and np.array_equal(exact.values, known)
    again = read_codes(exact.aef.to_cog(tmp_path/'again.tif'))
    assert np.array_equal(again[0], known) and again[2]['attribution'] == ATTRIBUTION
    host.server.shutdown()


def test_where_files_overlap_the_first_with_data_counts(codes, tmp_path):
    part, grids = codes['border'], [grid_at(500_000, SOUTH, height=200, width=200),
                                    grid_at(499_500, SOUTH + 500, height=200, width=200)]
    for number, grid in enumerate(grids):
        write_tile(tmp_path/f'2024/16N/x-{number}.tiff', np.roll(part, number, axis=2), grid)
    write_index(tmp_path, [row(f'2024/16N/x-{number}', grid) for number, grid in enumerate(grids)])
    host = Host(tmp_path)
    field = released(box_of(grid_at(499_800, SOUTH + 300, height=180, width=120)), 2024, url=host.url)
    first, second = (cut(codes_, grid, field.aef.grid)
                     for codes_, grid in zip((part, np.roll(part, 1, axis=2)), grids))
    assert np.array_equal(field.values, np.where((first == NO_DATA).all(0), second, first))
    assert not np.array_equal(first, second) and ((first == NO_DATA) & (second != NO_DATA)).any()
    host.server.shutdown()


def test_vrt_of_the_index_is_never_opened(shelf, codes, tmp_path):
    "A VRT may name any file on any host; the file beside it is read."
    path, grid = TILES['west']
    (tmp_path/'2024'/'16N').mkdir(parents=True)
    (tmp_path/f'{path}.tiff').write_bytes((shelf/f'{path}.tiff').read_bytes())
    (tmp_path/f'{path}.vrt').write_text('<VRTDataset/>')
    write_index(tmp_path, [row(path, grid, 'vrt')])
    host = Host(tmp_path)
    field = released(box_of(grid[100:110, 100:120]), 2024, url=host.url)
    assert np.array_equal(field.values, cut(codes['west'], grid, field.aef.grid))
    assert not [name for name, *_ in host.asked if name.endswith('.vrt')]
    host.server.shutdown()


def test_public_name_and_address_from_the_environment(host, monkeypatch):
    monkeypatch.setenv('AE_RELEASED_URL', host.url.rstrip('/'))
    assert ae.released is released
    assert ae.released(INSIDE, year=2024, dry_run=True).url == host.url


# ---- what it takes

def test_dry_run_reads_no_pixels_and_says_what_they_weigh(host, codes):
    plan = released(INSIDE, 2024, url=host.url, dry_run=True)
    before = host.fetched('.tiff')
    headers = sum((host.folder/f'{TILES[name][0]}.tiff').stat().st_size for name in ('west', 'east'))
    assert before[1] < 2e5 < headers
    host.asked.clear()
    released(INSIDE, 2024, url=host.url)
    number, size = host.fetched('.tiff')
    assert plan.bytes <= size <= plan.bytes + 2*16_384*number + before[1]
    assert abs(number - before[0] - plan.requests) <= .25*plan.requests + 4, (number, before, plan.requests)
    assert str(plan.requests) in str(plan) and 'MB' in str(plan) and '16N' in str(plan)


def test_lazy_field_reads_when_asked(host, codes):
    field = released(INSIDE, 2024, url=host.url, lazy=True)
    before = host.fetched('.tiff')[1]
    assert before < 2e5 and field.aef.state == 'codes' and field.chunks
    whole, grid = both(codes)
    assert np.array_equal(field.values, cut(whole, grid, field.aef.grid))
    assert host.fetched('.tiff')[1] > before


def test_of_a_large_index_little_is_fetched(tmp_path, host):
    "Six thousand rows with outlines of a kilobyte: row groups and columns that do not matter stay there."
    path, grid = TILES['west']
    outline, rng, rows = shapely.Point(0, 0).buffer(1, quad_segs=16), np.random.default_rng(0), []
    for number in range(6_000):
        lon, lat = -180 + 360*number/6_000, rng.uniform(-60, 60)
        name = f'{PREFIX}2024/{int(lon + 180)//6 + 1}N/x{number:05d}-0-0.tiff'
        degrees = (lon, lat, lon + .5, lat + .5)
        rows.append({**row(path, grid), 'path': name, 'utm_zone': f'{int(lon + 180)//6 + 1}N',
                     'geometry': shapely.affinity.translate(outline, *rng.uniform(-50, 50, 2)),
                     **{f'wgs84_{side}': at for side, at in zip(SIDES, degrees)}})
    write_index(tmp_path, rows, 300)
    other = Host(tmp_path)
    found = read_index(other.url, (2.9, 10, 3.1, 12))
    assert set(found['utm_zone']) <= {'30N', '31N'} and all(found['wgs84_south'] < 12)
    size = (tmp_path/INDEX).stat().st_size
    number, fetched = other.fetched(INDEX)
    assert size > 2e6 and fetched < size/10 and number <= 12, (size, fetched, number)
    other.server.shutdown()


# ---- what is refused, and how

def test_a_zone_that_is_named_is_read_alone(host, codes):
    "Over its border, too; without copies of the neighbour's pixels."
    west, south, east, north = box_of(TILES['border'][1])
    box = (west, south, box_of(TILES['beside'][1])[2], north)
    for zone, name in (('16N', 'border'), ('17n', 'beside')):
        field = released(box, 2024, zone=zone, url=host.url)
        grid = TILES[name][1]
        assert field.attrs['zone'] == zone.upper() and 'resampled' not in field.attrs
        assert np.array_equal(field.values, cut(codes[name], grid, field.aef.grid))
    with pytest.raises(ConfigError, match="not in 18N"): released(box, 2024, zone='18N', url=host.url)


def test_region_inside_one_zone_is_read_from_it(host):
    "Although a file of the next zone reaches over it."
    beside = box_of(TILES['beside'][1])
    assert beside[0] < -84 < beside[2], 'the tile of zone 17 reaches over 84 degrees west'
    box = (-84.01, beside[1], -84.001, beside[1] + .01)
    assert released(box, 2024, url=host.url, dry_run=True).zone == '16N'


def test_years(host):
    for year in (2016, 2026, 0):
        with pytest.raises(ConfigError, match='2017 to 2025'): released(INSIDE, year, url=host.url)
    with pytest.raises(PlaceNotFound, match=re.escape(f'one of [{EARLIER}, 2024] in this region')):
        released(INSIDE, 2020, url=host.url)


def test_open_sea_and_swapped_coordinates(host):
    with pytest.raises(PlaceNotFound, match='open sea has none'): released((-40, 30, -39, 31), url=host.url)
    west, south, east, north = INSIDE
    with pytest.raises((PlaceNotFound, ConfigError), match='Longitudes come first'):
        released((south, west, north, east), url=host.url)


@pytest.mark.parametrize('status', ['403', '404'])
@pytest.mark.parametrize('what', ['index', 'tile'])
def test_refusals_are_told_at_once(host, status, what):
    name = INDEX if what == 'index' else TILES['west'][0] + '.tiff'
    host.manner[name] = status
    before = time.monotonic()
    with pytest.raises(PlaceNotFound, match=f'answered with {status}') as error:
        released(INSIDE, 2024, url=host.url)
    assert name in str(error.value) and 'another host' in str(error.value) and '\n' not in str(error.value)
    assert time.monotonic() - before < 5 and len([1 for asked, *_ in host.asked if asked == name]) <= 3


@pytest.mark.parametrize('what, manner', [
    ('index', ('503', 2)), ('index', ('429', 2)), ('index', ('half', 1)),
    ('tile', ('503', 2)), ('tile', ('429', 2))])
def test_stumbling_hosts_are_asked_again(host, codes, what, manner, monkeypatch):
    "Bodies of pixels that break off are reported by GDAL: the test of half answers."
    monkeypatch.setattr(remote_files, 'PAUSE_S', .01)
    host.manner[INDEX if what == 'index' else TILES['west'][0] + '.tiff'] = manner
    whole, grid = both(codes)
    field = released(INSIDE, 2024, url=host.url)
    assert np.array_equal(field.values, cut(whole, grid, field.aef.grid))


def test_hosts_that_never_recover_are_left(host, monkeypatch):
    monkeypatch.setattr(remote_files, 'PAUSE_S', .01)
    host.manner[INDEX] = '500'
    with pytest.raises(PlaceNotFound, match='answered with 500'): released(INSIDE, 2024, url=host.url)
    assert len(host.asked) == remote_files.TRIES


def test_half_answers_are_no_pixels(host):
    "The header arrives, the bodies of the pixels break off: an error, never a field."
    plan = released(INSIDE, 2024, url=host.url, lazy=True)
    host.manner |= {f'{TILES[name][0]}.tiff': 'half' for name in ('west', 'east')}
    with pytest.raises((FieldError, PlaceNotFound), match='unreadable|not reached'): plan.compute()


def test_server_without_ranges_is_named(host):
    host.manner[INDEX] = 'no ranges'
    with pytest.raises(FieldError, match='sends ranges'): released(INSIDE, 2024, url=host.url)


def test_nobody_there():
    with pytest.raises(PlaceNotFound, match='not reached.*Connect to the internet'):
        released(INSIDE, 2024, url='http://127.0.0.1:9')


@pytest.fixture
def one_tile(shelf, tmp_path):
    "The western tile alone, to be damaged: its file and a host."
    path, grid = TILES['west']
    (tmp_path/path).parent.mkdir(parents=True)
    file = tmp_path/f'{path}.tiff'
    file.write_bytes((shelf/f'{path}.tiff').read_bytes())
    write_index(tmp_path, [row(path, grid)])
    host = Host(tmp_path)
    yield file, host
    host.server.shutdown()


@pytest.mark.parametrize('share', [.9, .5, .01])
def test_truncated_tile_is_refused(one_tile, share):
    file, host = one_tile
    content = file.read_bytes()
    file.write_bytes(content[:int(share*len(content))])
    with pytest.raises(FieldError, match=f'{file.name} is .unreadable.') as error:
        released(box_of(TILES['west'][1]), 2024, url=host.url)
    assert '\n' not in str(error.value)


def test_tile_that_is_none_is_refused(one_tile):
    file, host = one_tile
    file.write_text('<html>This bucket has moved</html>')
    with pytest.raises(FieldError, match='unreadable'): released(INSIDE, 2024, url=host.url)
    _, grid = TILES['west']
    for words, codes in (('of 63 bands', some_codes(SIDE, SIDE, 0)[:63]),
                         ('of type uint8', some_codes(SIDE, SIDE, 0).view(np.uint8)//2)):
        with rasterio.open(file.with_name(words.replace(' ', '') + '-0.tiff'), 'w', driver='GTiff',
                           dtype=codes.dtype, count=len(codes), height=SIDE, width=SIDE, crs='EPSG:32616',
                           transform=grid.affine) as raster: raster.write(codes)
        write_index(host.folder, [row(f'2024/16N/{words.replace(" ", "")}-0', grid)])
        with pytest.raises(FieldError, match=words): released(INSIDE, 2024, url=host.url)


def test_codes_that_are_no_embeddings_are_refused(one_tile, codes):
    "Half of the bands of some pixels are gone, as after a writer that was killed."
    file, host = one_tile
    damaged = codes['west'].copy()
    damaged[:32, 400:420, 550:570] = NO_DATA
    write_tile(file, damaged, TILES['west'][1])
    box = box_of(TILES['west'][1][405:425, 540:570])
    with pytest.raises(FieldError, match='damaged in'): released(box, 2024, url=host.url)


@pytest.mark.parametrize('path', [
    'https://elsewhere.example/x.tiff', '/etc/passwd', f'{PREFIX}2024/16N/../x.tiff',
    f'{PREFIX}2024/16N/x.tiff?y', f'{PREFIX.replace("annual", "other")}2024/16N/x.tiff'])
def test_paths_of_the_index_lead_nowhere_else(one_tile, path):
    _, host = one_tile
    write_index(host.folder, [{**row(*TILES['west']), 'path': path}])
    with pytest.raises(FieldError, match='of the form'): released(INSIDE, 2024, url=host.url)
    assert {name for name, *_ in host.asked} == {INDEX}


def test_index_that_is_none_or_lacks_columns_is_refused(one_tile):
    _, host = one_tile
    good = (host.folder/INDEX).read_bytes()
    geopandas.GeoDataFrame([row(*TILES['west'])], crs=4326).drop(columns='path').to_parquet(host.folder/INDEX)
    with pytest.raises(FieldError, match="without \\['path'\\]"): released(INSIDE, 2024, url=host.url)
    for damaged in (good[:len(good)//2], b'<html>', good[:-200] + bytes(192) + good[-8:]):
        (host.folder/INDEX).write_bytes(damaged)
        with pytest.raises(FieldError, match='damaged'): released(INSIDE, 2024, url=host.url)


def test_files_across_the_date_line_are_found(one_tile):
    _, host = one_tile
    split = {f'wgs84_{side}': at for side, at in zip(SIDES, (179.6, 10, -179.7, 11))}
    write_index(host.folder, [{**row(*TILES['west']), **split, 'utm_zone': '60N'}])
    for box in ((179.7, 10, 179.9, 10.5), (-179.9, 10, -179.8, 10.5)):
        assert len(read_index(host.url, box)) == 1
    for box in ((170, 10, 179, 10.5), (-179, 10, -170, 10.5)):
        assert read_index(host.url, box).empty


def test_readers_are_not_loaded_by_the_import():
    "pyarrow itself may be: pandas loads it where it is installed."
    code = 'import sys, alphaearth_nb.release; print({"pyarrow.parquet", "geopandas"} & set(sys.modules))'
    said = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == 'set()'
