"""A Zarr mosaic as a source: polygons are cut out of it, and stores that mean something else are refused."""
import numpy as np
import pytest
import shapely
import zarr
from affine import Affine
from object_store import some_codes
from odc.geo.geobox import GeoBox

from alphaearth_nb.codes import NO_DATA
from alphaearth_nb.core import FieldError, PlaceNotFound
from alphaearth_nb.release import released
from alphaearth_nb.release_mosaic import DIMENSIONS, open_mosaic, read_mosaic

STEP, SIDE = 1e-4, 96
GRID = GeoBox((SIDE, SIDE), Affine(STEP, 0, 3, 0, -STEP, 51), 'EPSG:4326')


def write_mosaic(path, codes, years=(2024,), names=DIMENSIONS, fill=-128, transform=None) -> None:
    "A store as the real one is laid out."
    store = zarr.open_group(path, mode='w')
    store.attrs.update({'spatial:transform': transform or [*GRID.affine][:6], 'proj:code': 'EPSG:4326'})
    shape = (len(years), *codes.shape)
    array = store.create_array('embeddings', shape=shape, dtype=codes.dtype, chunks=(1, 64, 32, 32),
                               fill_value=fill, dimension_names=names)
    store.create_array('time', data=np.array(years), dimension_names=['time'])
    for number in range(len(years)): array[number] = np.roll(codes, number, axis=2)


@pytest.fixture(scope='module')
def codes(): return some_codes(SIDE, SIDE, 3)


@pytest.fixture
def path(codes, tmp_path):
    write_mosaic(tmp_path/'mosaic.zarr', codes, (2023, 2024))
    return tmp_path/'mosaic.zarr'


def test_a_polygon_is_cut_out(path, codes):
    "Pixels whose centre lies outside have no data, although the store has some."
    disc = shapely.Point(3.005, 50.995).buffer(.0035)
    field = released(disc, 2023, source=path)
    x, y = np.meshgrid(field.x, field.y)
    column, row = np.round((x - 3)/STEP - .5).astype(int), np.round((51 - y)/STEP - .5).astype(int)
    inside = shapely.contains_xy(disc, x, y)
    assert inside.sum() > 3000 and (~inside).sum() > 500
    assert np.array_equal(field.values, np.where(inside, codes[:, row, column], NO_DATA))


def test_years_and_edges(path, codes):
    "The year that is asked for, and no data beyond the store."
    box = (3 - 5*STEP, 51 - 9*STEP, 3 + 12*STEP, 51 + 4*STEP)
    for number, year in enumerate((2023, 2024)):
        field = released(box, year, source=path)
        found = np.full((64, 13, 17), NO_DATA, np.int8)
        found[:, 4:, 5:] = np.roll(codes, number, axis=2)[:, :9, :12]
        assert np.array_equal(field.values, found)
    with pytest.raises(PlaceNotFound, match='2023, 2024'): released(box, 2020, source=path)


@pytest.mark.parametrize('wrong', ['fill', 'names', 'years', 'type', 'upward', 'turned'])
def test_stores_that_mean_something_else_are_refused(tmp_path, codes, wrong):
    "A fill of 0 would make absent chunks an embedding; other dimensions, types and grids other pixels."
    how = {'fill': {'fill': 0}, 'names': {'names': ('time', 'band', 'x', 'y')}, 'upward': {
        'transform': [STEP, 0, 3, 0, STEP, 50]}, 'turned': {'transform': [STEP, STEP, 3, 0, -STEP, 51]}}
    many = {'type': codes.astype(np.int16), 'years': codes[:63]}
    write_mosaic(tmp_path/'mosaic.zarr', many.get(wrong, codes), **how.get(wrong, {}))
    with pytest.raises(FieldError, match='a Zarr store of int8 embeddings') as error:
        open_mosaic(str(tmp_path/'mosaic.zarr'))
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('shift', [(.3, 0), (0, .5)])
def test_a_grid_between_its_pixels_is_refused(path, shift):
    "Rounding would move the field by up to half a pixel without a word."
    mosaic = open_mosaic(str(path))
    with pytest.raises(FieldError, match='on another grid'):
        read_mosaic(mosaic, mosaic.grid[3:9, 3:9].translate_pix(*shift), 2024)
    assert read_mosaic(mosaic, mosaic.grid[3:9, 3:9].translate_pix(1e-4, 0), 2024).shape == (64, 6, 6)
