"""A field lies on a web map where pyproj puts it: any latitude, zone and zoom, from memory and from files."""
import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pages import ROOT
from pyproj import Transformer

from alphaearth_nb.codes import BANDS, dequantize
from alphaearth_nb.core import AlphaEarthError
from alphaearth_nb.fields import as_field
from alphaearth_nb.mercator import (TILE, FieldTiles, _cover, field_places, mercator_picture, pixel_m,
                                    tile_edges)

NEAR_PX = .1


@st.composite
def grids(draw, largest=3000):
    "Grids of 10 m anywhere in the zones of UTM, also half a degree beyond their edges."
    zone, south, lat = draw(st.integers(1, 60)), draw(st.booleans()), draw(st.floats(0, 80))
    off = draw(st.sampled_from([-3.5, -3, -2.99, 0, 2.99, 3, 3.5]) | st.floats(-3, 3))
    height, width = draw(st.integers(1, largest)), draw(st.integers(1, largest))
    crs = f'EPSG:{(32700 if south else 32600) + zone}'
    to_grid = Transformer.from_crs(4326, crs, always_xy=True)
    x, y = to_grid.transform(zone*6 - 183 + off, -lat if south else lat)
    return GeoBox((height, width), Affine(10, 0, round(x, -1), 0, -10, round(y, -1)), crs)


def truth(grid, left, top, step, shape):
    "Columns and rows under the centres, each by pyproj."
    x, y = left + (np.arange(shape[1]) + .5)*step, top - (np.arange(shape[0]) + .5)*step
    east, north = Transformer.from_crs(3857, grid.crs.proj, always_xy=True).transform(*np.meshgrid(x, y))
    return np.stack([(east - grid.affine.c)/10, (grid.affine.f - north)/10])


def on_field(grid, places, margin=0):
    size = np.array([grid.width, grid.height])[:, None, None]
    return ((places >= margin) & (places < size - margin)).all(0)


# ---- positions

@settings(deadline=None, max_examples=150, derandomize=True, database=None)
@given(grid=grids(), zoom=st.integers(0, 18), which=st.floats(0, 1, exclude_max=True))
def test_every_pixel_of_a_tile_is_where_pyproj_says(grid, zoom, which):
    names = _cover(grid, zoom, None)
    edges = tile_edges(zoom, *names[int(which*len(names))])
    found, wanted = field_places(grid, *edges, (TILE, TILE)), truth(grid, *edges, (TILE, TILE))
    assert np.isfinite(found[:, on_field(grid, wanted)]).all()
    known = np.isfinite(found) & np.isfinite(wanted)
    assert np.abs(found - wanted)[known].max(initial=0) <= NEAR_PX


@settings(deadline=None, max_examples=40, derandomize=True, database=None)
@given(grid=grids(largest=600), zoom=st.integers(9, 14))
def test_the_cover_holds_every_pixel_once(grid, zoom):
    "The centres of all pixels of the field lie in listed tiles, and every listed tile is near the field."
    names = set(_cover(grid, zoom, None))
    columns, rows = np.meshgrid(np.arange(grid.width) + .5, np.arange(grid.height) + .5)
    x, y = grid.affine.c + 10*columns, grid.affine.f - 10*rows
    lon, lat = Transformer.from_crs(grid.crs.proj, 4326, always_xy=True).transform(x, y)
    across = ((lon + 180)/360*2**zoom).astype(int) % 2**zoom
    down = ((1 - np.arcsinh(np.tan(np.radians(lat)))/math.pi)/2*2**zoom).astype(int)
    held = set(zip(across.ravel().tolist(), down.ravel().tolist()))
    assert held <= names
    for name in names - held:
        wanted = truth(grid, *tile_edges(zoom, *name), (TILE, TILE))
        reach = 3 + 2*pixel_m(zoom)/10
        assert on_field(grid, np.nan_to_num(wanted, nan=-1e9), -reach).any()


@settings(deadline=None, max_examples=40, derandomize=True, database=None)
@given(grid=grids(), zoom=st.integers(11, 16), which=st.floats(0, 1, exclude_max=True))
def test_tiles_join_without_a_seam(grid, zoom, which):
    "The step from a tile's last pixels to its neighbour's first is the step inside either."
    names = _cover(grid, zoom, None)
    column, row = names[int(which*len(names))]
    if column + 1 == 2**zoom or row + 1 == 2**zoom: return
    for neighbour, axis in (((column + 1, row), 2), ((column, row + 1), 1)):
        edges = [tile_edges(zoom, *name) for name in ((column, row), neighbour)]
        parts = [field_places(grid, *each, (TILE, TILE)) for each in edges]
        steps = np.diff(np.concatenate(parts, axis=axis), axis=axis)
        inside, across = steps.take(TILE - 2, axis), steps.take(TILE - 1, axis)
        known = np.isfinite(inside) & np.isfinite(across)
        assert np.abs(inside - across)[known].max(initial=0) <= NEAR_PX


@settings(deadline=None, max_examples=40, derandomize=True, database=None)
@given(grid=grids(largest=500), most=st.integers(30, 600))
def test_a_picture_lies_right_between_its_corners(grid, most):
    "Every pixel of the picture, placed as Leaflet stretches it, shows the field pixel that lies there."
    rows, columns = np.indices(grid.shape)
    numbered = np.stack([rows//256, rows % 256, columns//256, columns % 256], -1).astype(np.uint8)
    numbered[..., 0] += 1                                    # 0 is outside
    shown, (west, south, east, north) = mercator_picture(numbered, grid, most)
    height, width = shown.shape[:2]
    assert max(height, width) <= most and west < east and south < north
    def up(lat): return math.asinh(math.tan(math.radians(lat)))
    step = math.radians(east - west)/width*6_378_137
    assert math.isclose((up(north) - up(south))*6_378_137/height, step, rel_tol=1e-6)
    wanted = truth(grid, math.radians(west)*6_378_137, up(north)*6_378_137, step, (height, width))
    seen = shown[..., 0] > 0
    found = np.stack([shown[..., 2]*256. + shown[..., 3], (shown[..., 0] - 1.)*256 + shown[..., 1]])
    assert (np.abs(found + .5 - wanted)[:, seen] <= .5 + NEAR_PX).all()
    assert seen[on_field(grid, wanted, NEAR_PX)].all() and not seen[~on_field(grid, wanted, -NEAR_PX)].any()


# ---- fields in memory and in files

def smooth(height, width, seed=0):
    "Codes (64, h, w) of a field that turns slowly, with a corner without data."
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((height, width))/60
    waves = np.stack([np.sin(a*rows + b*columns + c) for a, b, c in rng.uniform(-1, 1, (64, 3))*[1, 1, 6]])
    waves /= np.linalg.norm(waves, axis=0)
    codes = np.rint(np.sign(waves)*np.sqrt(np.abs(waves))*127.5).clip(-127, 127).astype(np.int8)
    codes[:, :height//8, :width//8] = -128
    return codes


GRID = GeoBox((1100, 600), Affine(10, 0, 299_990, 0, -10, 5_650_000), 'EPSG:32631')


@pytest.fixture(scope='module')
def field(): return as_field(smooth(*GRID.shape), GRID, {'state': 'codes', 'valid_period': '2018'})


@pytest.fixture(scope='module', params=['from the north', 'from the south'])
def path(request, field, tmp_path_factory):
    path = field.aef.to_cog(tmp_path_factory.mktemp('tiles')/'field.tif')
    if request.param == 'from the north': return path
    turned, affine = path.with_name('turned.tif'), GRID.affine
    upward = Affine(10, 0, affine.c, 0, 10, affine.f - 10*GRID.height)
    size = {'height': GRID.height, 'width': GRID.width, 'count': 64, 'dtype': 'int8', 'nodata': -128}
    with rasterio.open(turned, 'w', driver='GTiff', crs='EPSG:32631', transform=upward, tiled=True,
                       interleave='band', **size) as file:
        file.write(field.values[:, ::-1])
        file.descriptions = BANDS
        file.build_overviews([2, 4], rasterio.enums.Resampling.nearest)
    return turned


def test_a_file_gives_the_tiles_of_memory(field, path):
    memory, read = FieldTiles(field), FieldTiles(path)
    assert (read.max_zoom, read.min_zoom, read.bounds) == (memory.max_zoom, memory.min_zoom, memory.bounds)
    zoom = memory.max_zoom
    for name in memory.cover(zoom)[::7]:
        np.testing.assert_array_equal(read.codes(zoom, *name), memory.codes(zoom, *name))


@pytest.mark.parametrize('coarser', [1, 2, 3])
def test_overviews_give_the_same_picture(field, path, coarser):
    "Vectors at a place are those of the field, to what a pixel of the overview mixes; nothing is shifted."
    memory, read = FieldTiles(field), FieldTiles(path)
    zoom, basis = memory.max_zoom - coarser, field.aef.basis()
    wanted = dequantize(field.values.transpose(1, 2, 0))
    for name in memory.cover(zoom):
        places = field_places(GRID, *tile_edges(zoom, *name), (TILE, TILE))
        corner = (places < np.array([GRID.width/8 + 20, GRID.height/8 + 20])[:, None, None]).all(0)
        sure = on_field(GRID, np.nan_to_num(places, nan=-1e9), 20) & ~corner
        if not sure.any(): continue
        columns, rows = np.floor(places[:, sure]).astype(int)
        found = dequantize(read.codes(zoom, *name).T).reshape(TILE, TILE, 64)[sure]
        def alike(right, down): return (found*wanted[rows + down, columns + right]).sum(-1).mean()
        shift = 2**coarser                                   # a pixel of the tile, or less
        shifts = (shift, 0), (-shift, 0), (0, shift), (0, -shift)
        assert alike(0, 0) > max(.998, *(alike(*each) for each in shifts))
        pictures = [tiles.picture(zoom, *name, basis).astype(int) for tiles in (memory, read)]
        assert np.abs(pictures[0] - pictures[1])[sure].mean() < 6


def test_a_field_across_the_date_line_is_whole():
    grid = GeoBox((200, 300), Affine(10, 0, 201_000, 0, -10, 7_000_000), 'EPSG:32701')
    tiles = FieldTiles(as_field(smooth(*grid.shape), grid, {'state': 'codes'}))
    zoom, seen = tiles.max_zoom, np.zeros(grid.shape, bool)
    names = tiles.cover(zoom)
    assert {0, 2**zoom - 1} <= {column for column, _ in names} and tiles.bounds[0] < 180 < tiles.bounds[2]
    numbers = np.arange(seen.size).reshape(grid.shape)
    for name in names:
        found = tiles.take(numbers, zoom, *name, -1)
        seen.ravel()[found[found >= 0]] = True
    assert seen.all()
    for low in range(4): assert (tiles.take(numbers, low, *tiles.cover(low)[0], -1) >= 0).sum() <= 4
    west, south, east, north = tiles.bounds
    assert set(tiles.cover(zoom, (west - 360, south, east - 360, north))) == set(names)
    assert {column for column, _ in tiles.cover(zoom, (-180, south, -179.999, north))} == {0}


def test_threads_share_the_tiles_and_the_limit_holds(field):
    tiles, alone = FieldTiles(field, limit_bytes=4*64*TILE**2), FieldTiles(field)
    names = [(alone.max_zoom, *name) for name in alone.cover(alone.max_zoom)[:12]]
    with ThreadPoolExecutor(4) as pool: found = list(pool.map(lambda name: tiles.codes(*name), names*3))
    for codes, name in zip(found, names*3): np.testing.assert_array_equal(codes, alone.codes(*name))
    assert sum(codes.nbytes for codes in tiles._kept.values()) <= 4*64*TILE**2


MAKE_AND_READ = '''
import resource, sys
import rasterio
from affine import Affine
from alphaearth_nb.codes import BANDS
from alphaearth_nb.mercator import FieldTiles
path, side = sys.argv[1], 4096
with rasterio.open(path, 'w', driver='GTiff', count=64, height=side, width=side, dtype='int8', nodata=-128,
                   crs='EPSG:32631', transform=Affine(10, 0, 500_000, 0, -10, 5_650_000), tiled=True,
                   blockxsize=512, blockysize=512, interleave='band', compress='ZSTD',
                   SPARSE_OK=True) as file:
    file.descriptions = BANDS
tiles = FieldTiles(path, limit_bytes=2**24)
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for zoom in range(tiles.min_zoom, tiles.max_zoom + 1):
    names = tiles.cover(zoom)
    for name in names[::max(1, len(names)//4)]: assert (tiles.codes(zoom, *name) == -128).all()
print(side*side*64/1e6, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start)/1e3)
'''


def test_a_file_larger_than_the_limit_is_never_read_whole(tmp_path):
    command = [sys.executable, '-c', MAKE_AND_READ, str(tmp_path/'large.tif')]
    env = os.environ | {'GDAL_CACHEMAX': '64'}    # megabytes; GDAL's own blocks, a share of memory otherwise
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    field_mb, grown_mb = map(float, done.stdout.split())
    assert field_mb > 1000 and grown_mb < 250


def test_a_damaged_path_is_refused(tmp_path):
    for wrong in (tmp_path/'none.tif', tmp_path, 3):
        with pytest.raises(AlphaEarthError): FieldTiles(wrong)
    (tmp_path/'text.tif').write_text('no raster')
    with pytest.raises(AlphaEarthError): FieldTiles(tmp_path/'text.tif')
