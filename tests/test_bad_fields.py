"""What users hand over by mistake: one sentence that says the way out, and nothing asked of any host."""
import socket
import warnings

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine

import alphaearth_nb as ae
from alphaearth_nb.codes import NO_DATA, quantize
from alphaearth_nb.cogs import write_codes
from alphaearth_nb.core import AlphaEarthError
from alphaearth_nb.fields import make_field, read_cog
from alphaearth_nb.grids import utm_grid
from alphaearth_nb.region_tiles import region_grids

HERE = (4.70, 50.80, 4.71, 50.81)
SIDE = 40


def unit_vectors(bands=64, seed=0):
    "Unit vectors (SIDE, SIDE, bands)."
    vectors = np.random.default_rng(seed).normal(size=(SIDE, SIDE, bands))
    return vectors/np.linalg.norm(vectors, axis=-1, keepdims=True)


def write(path, bands, names=None, **profile):
    "Write bands (n, h, w) as a plain GeoTIFF."
    shape = dict(zip(('count', 'height', 'width'), bands.shape))
    place = {'crs': 'EPSG:32631', 'transform': Affine(10, 0, 620_000, 0, -10, 5_630_000), **profile}
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        with rasterio.open(path, 'w', driver='GTiff', dtype=bands.dtype, **shape, **place) as file:
            file.write(bands)
            if names: file.descriptions = names
    return path


def one_sentence(error):
    "The message of an error, after looking at how it reads."
    text = str(error.value)
    assert isinstance(error.value, AlphaEarthError), f'{type(error.value).__name__}: {text}'
    assert '\n' not in text and 20 < len(text) < 600 and 'Error' not in text, text
    return text


def coded(bands=64): return np.moveaxis(quantize(unit_vectors()), -1, 0)[:bands].copy()


TURNED = Affine.rotation(30) @ Affine.scale(10, -10)


def floats(): return np.float32(np.moveaxis(unit_vectors(), -1, 0))


def turned(codes):
    "Band names one step aside."
    return [f'B{number:02d}' for number in range(len(codes))]


FILES = {
    '63 bands': (lambda path: write(path, coded(63)), '63 bands'),
    '65 bands': (lambda path: write(path, np.concatenate([coded(), coded(1)])), '65 bands'),
    'names of others': (lambda path: write(path, coded(), turned(coded())), 'B00'),
    'floats twice as long': (lambda path: write(path, 2*floats()), 'unit vectors'),
    'means that are shorter': (lambda path: write(path, np.float32(.8)*floats()), 'unit vectors'),
    'codes as floats': (lambda path: write(path, coded().astype(np.float32)), 'unit vectors'),
    'shifted to bytes': (lambda path: write(path, (coded().astype(int) + 128).astype(np.uint8)), 'int8'),
    'wider integers': (lambda path: write(path, coded().astype(np.int16)), 'int8'),
    'linear codes': (lambda path: write(path, np.int8(np.round(127*floats()))), 'length 1'),
    'no data in some bands': (lambda path: write(path, np.where(np.arange(64)[:, None, None] < 9, NO_DATA,
                                                                coded()).astype(np.int8)), 'damaged'),
    'all zero': (lambda path: write(path, np.zeros_like(coded())), 'damaged'),
    'no CRS': (lambda path: write(path, coded(), crs=None), 'coordinate reference system'),
    'turned grid': (lambda path: write(path, coded(), transform=TURNED), 'north-up'),
    'oblong pixels': (lambda path: write(path, coded(), transform=Affine(10, 0, 6e5, 0, -20, 5e6)), 'square'),
}


@pytest.mark.parametrize('name', FILES)
def test_files_that_are_no_field(tmp_path, name):
    make, words = FILES[name]
    make(tmp_path/'field.tif')
    with pytest.raises(AlphaEarthError) as error: ae.open_field(tmp_path/'field.tif')
    assert words in one_sentence(error)


@pytest.mark.parametrize('ours', [True, False])
def test_a_truncated_cog_is_refused_wherever_it_was_cut(tmp_path, ours):
    "Cut at any place; ours, and one of somebody else without hashes."
    path = tmp_path/'whole.tif'
    grid = utm_grid(HERE)[:SIDE, :SIDE]
    if ours: write_codes(path, coded(), grid, {'state': 'codes', 'valid_period': '2024'})
    else: write(path, coded(), tiled=True, blockxsize=16, blockysize=16, compress='zstd')
    data, cut = path.read_bytes(), tmp_path/'cut.tif'
    for share in (0, 1e-4, .01, .1, .3, .5, .7, .9, .99, 1 - 1/len(data)):
        cut.write_bytes(data[:int(share*len(data))])
        with pytest.raises(AlphaEarthError) as error: read_cog(cut, valid='2024')
        one_sentence(error)
    cut.write_bytes(data)
    assert read_cog(cut, valid='2024').shape == (64, SIDE, SIDE)


@pytest.mark.parametrize(('vectors', 'words'), [
    (unit_vectors(63), '64'), (2*unit_vectors(), 'unit vectors'), (unit_vectors()[:-1], 'as the grid says'),
    (np.where(np.arange(64) < 3, np.nan, unit_vectors()), 'NaN in some components'),
    (np.where(np.arange(64) < 3, np.inf, unit_vectors()), 'unit vectors'),
    (quantize(unit_vectors()), 'dequantize')])
def test_arrays_that_are_no_field(vectors, words):
    with pytest.raises(AlphaEarthError) as error: make_field(vectors, utm_grid(HERE)[:SIDE, :SIDE], '2024')
    assert words in one_sentence(error)


# ---- regions

BOW = shapely.Polygon([(4, 50), (4.1, 50.1), (4.1, 50), (4, 50.1)])
REGIONS = {
    'empty polygon': (shapely.Polygon(), 'area'),
    'self-crossing polygon': (BOW, 'make_valid'),
    'a line': (shapely.LineString([(4, 50), (5, 51)]), 'area'),
    'across the date line': ((179.9, -17, -179.9, -16.9), 'date line'),
    'beyond the date line': ((179.9, -17, 180.1, -16.9), '180'),
    'south above north': ((4.7, 50.81, 4.71, 50.8), 'south < north'),
    'metres': ((620_000, 5_630_000, 621_000, 5_631_000), 'Longitudes come first'),
    'swapped': ((36.80, 174.70, 36.81, 174.71), 'Longitudes come first'),
    'not finite': ((4.7, float('nan'), 4.71, 50.81), 'finite degrees'),
    'infinite': ((4.7, 50.8, float('inf'), 50.81), 'finite degrees'),
    'one that crosses itself of two': (geopandas.GeoSeries([shapely.box(4, 50, 4.1, 50.1), BOW], crs=4326),
                                       'make_valid'),
    'a table with an infinite one': (
        geopandas.GeoSeries([shapely.Point(float('inf'), 3).buffer(1)], crs=4326), ''),
    'of a zone, across the date line': (
        geopandas.GeoSeries([shapely.box(8e5, 8e6, 8.5e5, 8.05e6)], crs=32760),
        'Cut a region at the date line'),
    'drawn across the date line': (
        shapely.Polygon([(179.9, -17), (-179.9, -17), (-179.9, -16), (179.9, -16)]),
        'Cut a region at the date line'),
    'a word': ('Leuven', 'degrees'),
    'three numbers': ((4.7, 50.8, 4.71), 'degrees'),
    'nothing': (None, 'degrees'),
}


@pytest.fixture
def silence(monkeypatch):
    "Nothing may be asked of a host."
    def connect(*_): raise AssertionError('a host was asked')
    monkeypatch.setattr(socket.socket, 'connect', connect)


def fetched(region):
    from alphaearth_nb.fetch import fetch_frames
    return fetch_frames(region, '2024')


ASK = {'released': lambda region: ae.released(region), 'fetch_frames': fetched, 'region_grids': region_grids}


@pytest.mark.parametrize('ask', ASK)
@pytest.mark.parametrize('name', REGIONS)
def test_regions_that_are_none(silence, ask, name):
    region, words = REGIONS[name]
    with pytest.raises(AlphaEarthError) as error: ASK[ask](region)
    assert words in one_sentence(error)


@pytest.mark.parametrize('ask', ASK)
@pytest.mark.parametrize('pole', [(10, 88, 11, 89), (-10, 84.5, 10, 90), (0, -90, 10, -81)])
def test_the_poles_have_no_zone(silence, ask, pole):
    "UTM ends at 84 north and 80 south: neither fields nor frames lie beyond."
    with pytest.raises(AlphaEarthError) as error: ASK[ask](pole)
    assert '84' in one_sentence(error)


@pytest.mark.parametrize('year', [2016, 1900, 2100, -1, '2024x', 2024.5, None])
def test_years_that_are_not_there(silence, year):
    with pytest.raises(AlphaEarthError) as error: ae.released(HERE, year)
    assert '2017' in one_sentence(error) and '2025' in str(error.value)


@pytest.mark.parametrize('period', ['', '2024-13', '2024-02-30', '2025/2024', 'spring', '24'])
def test_periods_that_are_none(silence, period):
    from alphaearth_nb.fetch import fetch_frames
    with pytest.raises(AlphaEarthError) as error: fetch_frames(HERE, period)
    one_sentence(error)


@pytest.mark.parametrize('points', [([50.8], [174.7]), (np.zeros(3), np.zeros(2)), None, 3])
def test_points_that_are_none(points):
    field = make_field(unit_vectors(), utm_grid(HERE)[:SIDE, :SIDE], '2024')
    with pytest.raises(AlphaEarthError) as error: field.aef.at(points)
    one_sentence(error)


@pytest.mark.parametrize(('lon', 'lat', 'years', 'words'), [
    ([50.8], [174.7], 2024, 'the latitude of 1 points'),
    ([400.], [50.], 2024, "is '400', but must be within 180"),
    ([4.7], [50.8], 2016, '2017'),
    ([4.7], [50.8], [], 'empty'), ([], [], 2024, 'empty')])
def test_tables_that_cannot_be_looked_up(silence, lon, lat, years, words):
    import pandas
    from alphaearth_nb.release_samples import sample_released
    points = pandas.DataFrame({'lon': lon, 'lat': lat})
    with pytest.raises(AlphaEarthError) as error: sample_released(points, years)
    assert words in one_sentence(error)


def test_points_outside_are_no_data_and_no_error():
    field = make_field(unit_vectors(), utm_grid(HERE)[:SIDE, :SIDE], '2024')
    found = field.aef.at((np.array([4.7, 180, -180, 0, np.nan]), np.array([-50, 90, -90, 0, 50.])))
    assert np.isnan(found).all()
