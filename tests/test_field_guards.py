"""The ways of misreading an embedding field, one test each: what users of the released dataset report.

Every one gives a plausible map and no error elsewhere; here it is impossible or refused in a sentence.
"""
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from alphaearth_nb.codes import BANDS, CODE_SCALE, NO_DATA, dequantize, quantize
from alphaearth_nb.core import FieldError, ShapeError
from alphaearth_nb.fields import as_field, make_field, read_cog

RELEASED = Path(__file__).parents[1]/'../shared/data/aef_wisconsin_2024_32616_10m.tif'
GRID = GeoBox((40, 60), Affine(10, 0, 500_000, 0, -10, 5_650_000), 'EPSG:32631')
FACTS = {'dataset': 'some', 'version': 'v1', 'model': 'tiny', 'valid_period': '2018'}


def ground(seed:int=0) -> np.ndarray:
    "Unit vectors (40, 60, 64) of two kinds of ground that blend, with a corner without data."
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:40, :60]
    share = np.sin(x/9)*np.cos(y/7)
    vectors = np.stack([share, 1 - share**2], -1) @ rng.normal(size=(2, 64))
    vectors += .1*rng.normal(size=(40, 60, 64))
    vectors[:5, :7] = np.nan
    return vectors/np.linalg.norm(vectors, axis=-1, keepdims=True)


def field_of(seed:int=0, **attrs) -> xr.DataArray:
    codes = np.moveaxis(quantize(ground(seed)), -1, 0)
    return as_field(codes, GRID, FACTS | {'state': 'codes'} | attrs)


@pytest.fixture(scope='module')
def field() -> xr.DataArray: return field_of()


@pytest.fixture(scope='module')
def released() -> xr.DataArray:
    if not RELEASED.is_file(): pytest.skip(f'{RELEASED.name} is not here; it is no part of the repository')
    return read_cog(RELEASED, valid='2024')


USES = {'similarity': lambda one: one.aef.similarity(ground()[20, 20]),
        'vectors': lambda one: one.aef.vectors(),
        'coarsen': lambda one: one.aef.coarsen(2),
        'mean': lambda one: one.aef.mean((3.001, 50.998, 3.004, 50.9995)),
        'unit': lambda one: one.aef.unit(), 'rgb': lambda one: one.aef.rgb()}
ARITHMETIC = {'halved': lambda codes: codes//2, 'doubled': lambda codes: codes*2,
              'differences': lambda codes: codes - codes.shift(x=1, fill_value=NO_DATA),
              'floats': lambda codes: codes/CODE_SCALE, 'mean': lambda codes: codes.rolling(x=3).mean()}


@pytest.mark.parametrize('use', USES)
@pytest.mark.parametrize('arithmetic', ARITHMETIC)
def test_codes_are_no_numbers(field, arithmetic, use):
    "xarray keeps the attributes of what it calculates, so halved codes are still called codes."
    wrong = ARITHMETIC[arithmetic](field)
    wrong = wrong.assign_attrs(field.attrs)
    with pytest.raises(FieldError, match='before doing arithmetic'): USES[use](wrong)


def test_a_cosine_is_that_of_unit_vectors_not_of_codes(released):
    "The cosine of raw codes is a number too, and off by up to .1 here."
    vectors, codes = released.aef.vectors(), np.moveaxis(released.values, 0, -1).astype(float)
    exact = np.sign(codes)*(codes/CODE_SCALE)**2
    exact /= np.linalg.norm(exact, axis=-1, keepdims=True)
    raw = codes/np.linalg.norm(codes, axis=-1, keepdims=True)
    absent = released.aef.missing().values
    found = released.aef.similarity(vectors[50, 50]).values
    assert np.abs(found - exact @ exact[50, 50])[~absent].max() < 2e-6
    assert np.abs(found - raw @ raw[50, 50])[~absent].max() > .05


@pytest.mark.parametrize('decode', [lambda codes: codes/127, lambda codes: codes/127.5, np.sign,
                                    lambda codes: (codes/128)**3])
def test_other_decodings_are_no_unit_vectors(field, decode):
    "What tutorials write: v/127 has length 2.5."
    numbers = np.moveaxis(field.values, 0, -1).astype(np.float32)
    numbers[(numbers == NO_DATA).all(-1)] = np.nan
    with pytest.raises(FieldError, match='unit vectors within'): make_field(decode(numbers), GRID, '2018')


def test_linear_codes_are_refused(field):
    "127 times the component, as other quantizers do."
    linear = field.copy(data=np.round(np.nan_to_num(field.aef.unit().values)*127).astype(np.int8))
    for use in USES.values():
        with pytest.raises(FieldError, match='not of length 1'): use(linear)


def test_rows_from_the_south_cannot_pass(field, tmp_path):
    "Turned on opening; a field that was turned afterwards is none; a grid from the south makes none."
    with rasterio.open(tmp_path/'south.tif', 'w', driver='GTiff', dtype='int8', count=64, height=40, width=60,
                       crs='EPSG:32631', transform=GRID.flipy().affine, nodata=NO_DATA) as file:
        file.write(field.values[:, ::-1])
        file.descriptions = BANDS
    assert np.array_equal(read_cog(tmp_path/'south.tif').values, field.values)
    for use in USES.values():
        with pytest.raises(FieldError, match='north to south'): use(field[:, ::-1])
    with pytest.raises(FieldError, match='north-up'): make_field(ground(), GRID.flipy(), '2018')
    with pytest.raises(FieldError, match='north-up'): field.aef.align(GRID.flipy())


def test_no_data_is_no_value(field):
    "-128 decodes to a large component; it must be NaN, and leave every mean."
    absent = (field.values == NO_DATA).all(0)
    assert np.array_equal(field.aef.missing().values, absent)
    assert np.isnan(field.aef.vectors()[absent]).all()
    assert np.array_equal(np.isnan(field.aef.similarity(ground()[20, 20]).values), absent)
    means = field.aef.coarsen(8)
    known = np.nan_to_num(dequantize(np.moveaxis(field.values[:, :8, :8], 0, -1)))[~absent[:8, :8]].mean(0)
    assert means.aef.vectors()[0, 0] @ known/np.linalg.norm(known) > .999
    assert (field.aef.rgb()[absent, 3] == 0).all()


def test_means_are_renormalised(field):
    "A mean of unit vectors is short; what comes out has length one, and what is put in must have it."
    for coarse in (field.aef.coarsen(5), field.aef.unit().aef.coarsen(5)):
        lengths = np.linalg.norm(coarse.aef.vectors(), axis=-1)
        assert np.nanmax(np.abs(lengths - 1)) < 1e-6
    region = field.aef.mean((3.001, 50.998, 3.004, 50.9995))
    assert abs(np.linalg.norm(region[list(BANDS)]) - 1) < 1e-6 and region.homogeneity[0] < 1
    short = field.aef.unit().coarsen(x=4).mean().assign_attrs(field.attrs, state='unit')
    with pytest.raises(FieldError, match='average before that'): short.aef.codes()
    with pytest.raises(FieldError, match='Divide by their length'):
        field.aef.similarity(np.nanmean(ground(), axis=(0, 1)))


@pytest.mark.parametrize('name', ['dataset', 'version', 'model', 'valid_period'])
@pytest.mark.parametrize('join', [
    lambda a, b: a.combine_first(b), lambda a, b: a.where(a.x < 500_300, b), lambda a, b: a - b,
    lambda a, b: xr.concat([a[..., :30], b[..., 30:]], 'x', coords='different', compat='equals'),
    lambda a, b: (a//2 + b//2)])
def test_models_versions_and_years_do_not_mix(field, name, join):
    "xarray gives the joined field the attributes of the first one."
    other = field_of(1, **{name: '2024'})
    with pytest.raises(FieldError, match='joined'): join(field, other).aef.vectors()


def test_what_is_compared_is_of_one_model(field):
    for name in ('dataset', 'version', 'model'):
        other = field_of(**{name: 'other'})
        with pytest.raises(FieldError, match=f'the {name} is'): field.aef.similarity(other)
    change = field.aef.similarity(field_of(1, valid_period='2024'))
    assert (change.attrs['of'], change.attrs['to']) == ('2018', '2024')


def test_a_year_from_a_pile_knows_its_year(field):
    pile = xr.concat([field, field_of(1, valid_period='2024')], 'year', coords='different', compat='equals')
    valid = [str(pile[index].aef.valid) for index in (0, 1)]
    assert valid == ['2018-01-01/2019-01-01', '2024-01-01/2025-01-01']
    with pytest.raises(FieldError, match="must be .'band', 'y', 'x'."): pile.aef.vectors()


def test_bands_are_in_order(field):
    "By name, never by position."
    order = np.random.default_rng(0).permutation(64)
    for wrong in (field[order], field[::-1], field[:63], field.assign_coords(band=range(64))):
        with pytest.raises(FieldError, match='A00 to A63 in order'): wrong.aef.vectors()


def test_zones_do_not_mix(field):
    "A zone is not changed by naming another; two zones are not compared pixel by pixel."
    zoned = field_of(zone='31N')
    with pytest.raises(FieldError, match='that of zone 31N'): zoned.rio.write_crs('EPSG:32632').aef.grid
    other = field.rio.write_crs('EPSG:32632')
    with pytest.raises(FieldError, match='to.aef.align'): field.aef.similarity(other)
    moved = zoned.aef.align(GeoBox((50, 70), Affine(10, 0, 79_000, 0, -10, 5_680_000), 'EPSG:32632'))
    assert (moved.attrs['zone'], moved.attrs['resampled']) == ('32N', 'nearest')


def test_vectors_are_not_decoded_twice(field):
    with pytest.raises(ShapeError, match='decoded already'): dequantize(field.aef.vectors())
    with pytest.raises(ShapeError, match='Integers are codes'): quantize(np.moveaxis(field.values, 0, -1))
