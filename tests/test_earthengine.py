"""Images of Earth Engine in the colours of a field, and their embeddings: the real client, a server here."""

import io

import numpy as np
import pytest
from earth_engine import ASSET, BANDS, serving, waves
from PIL import Image

from alphaearth_nb.colours import ColourBasis
from alphaearth_nb.core import FieldError, ShapeError
from alphaearth_nb.earthengine import colour_image, colour_tiles, is_image, sample_image
from alphaearth_nb.ee_requests import EarthEngineError


@pytest.fixture
def server():
    import ee

    with serving(waves) as running:
        running.initialize()
        yield running
        ee.Reset()


@pytest.fixture
def image(server):
    import ee

    return ee.ImageCollection(ASSET).filterDate('2024-01-01', '2025-01-01').mosaic()


@pytest.fixture(scope='module')
def basis():
    lon, lat = np.random.default_rng(1).uniform([3.2, 51.0], [3.25, 51.03], (2000, 2)).T
    return ColourBasis.fit(waves(lon, lat, 2024))


def test_an_image_is_known_without_importing_earth_engine(image):
    assert is_image(image) and not is_image(np.zeros(3))


def test_tiles_have_the_colours_of_the_basis(server, image, basis):
    url = colour_tiles(image, basis)
    assert url.startswith(server.url) and '{z}' in url
    import urllib.request

    zoom, column, row = 15, 16675, 10970
    with urllib.request.urlopen(url.format(z=zoom, x=column, y=row)) as answer:
        picture = np.array(Image.open(io.BytesIO(answer.read())))
    lon = (column + (np.arange(256) + 0.5) / 256) / 2**zoom * 360 - 180
    lat = np.degrees(np.arctan(np.sinh(np.pi * (1 - 2 * (row + (np.arange(256) + 0.5) / 256) / 2**zoom))))
    expected = basis.rgb(waves(*np.meshgrid(lon, lat), 2024))
    assert np.abs(picture.astype(int) - expected).max() <= 1
    assert np.ptp(expected.reshape(-1, 3), axis=0).min() > 50  # no picture of one colour


def test_the_picture_is_three_dot_products(server, image, basis):
    assert colour_image(image, basis).serialize().count('"Image.multiply"') == 3


@pytest.mark.parametrize('count', [1, 999, 1001])
def test_points_get_their_embeddings(server, image, count):
    lon, lat = np.random.default_rng(2).uniform([3.2, 51.0], [3.25, 51.03], (count, 2)).T
    before = len(server.asked)
    found = sample_image(image, lon, lat)
    assert np.abs(found - waves(lon, lat, 2024)).max() < 1e-6
    assert sum(path.endswith('value:compute') for _, path in server.asked[before:]) == -(-count // 1000)


def test_masked_points_have_no_data():
    import ee

    def holes(lon, lat, year):
        return np.where((np.asarray(lon) > 3.22)[..., None], np.nan, waves(lon, lat, year))

    with serving(holes) as running:
        running.initialize()
        found = sample_image(
            ee.ImageCollection(ASSET).filterDate('2020-01-01', '2021-01-01').first(),
            [3.21, 3.23, 3.2],
            [51.0, 51.0, 51.0],
        )
        ee.Reset()
    assert np.isfinite(found).all(1).tolist() == [True, False, True]
    assert np.abs(found[0] - waves(3.21, 51.0, 2020)).max() < 1e-6


def test_what_is_no_embedding_is_refused(server, image):
    with pytest.raises(FieldError, match='length 1'):
        sample_image(image.multiply(2), [3.2], [51.0])
    with pytest.raises(ShapeError, match='like lon'):
        sample_image(image, [3.2, 3.3], [51.0])


def test_the_server_refuses_what_the_service_refuses(server, image):
    import ee

    with pytest.raises(EarthEngineError, match='did not match any bands'):
        sample_image(image.select(BANDS[:3]), [3.2], [51.0])
    with pytest.raises(ee.EEException, match='not found'):
        ee.ImageCollection('GOOGLE/NOTHING').first().getInfo()


# ---- the field that is compared with it


@pytest.fixture(scope='module')
def local():
    "The same embeddings as an image of the server has, in a space that is turned."
    from scipy.stats import ortho_group

    from alphaearth_nb.fields import make_field
    from alphaearth_nb.grids import utm_grid
    from alphaearth_nb.inspection import centres_lonlat

    grid = utm_grid((3.2, 51.0, 3.23, 51.02))
    vectors = waves(*centres_lonlat(grid), 2024) @ ortho_group.rvs(64, random_state=3)
    return make_field(vectors.reshape(*grid.shape, 64), grid, '2024', model='turned')


def test_a_sampled_field_has_the_embeddings_of_the_image(server, image, local):
    from alphaearth_nb.inspection import centres_lonlat, known_pixels, sampled_field

    found = sampled_field(image, local.aef.with_basis())
    known = known_pixels(found)
    assert 1000 < known.sum() <= 2000 and found.aef.grid == local.aef.grid
    lon, lat = (one.reshape(known.shape)[known] for one in centres_lonlat(found.aef.grid))
    assert (found.aef.vectors()[known] * waves(lon, lat, 2024)).sum(1).min() > 0.999
    assert (
        'colour_basis' not in found.attrs and found.attrs['dataset'] == ASSET
    )  # nothing of the other field


def test_an_image_is_compared_and_drawn_by_earth_engine(server, image, local):
    "CompareMap: rotation from the sampled pixels, tiles of the second field from the server."
    from alphaearth_nb.compare_map import CompareMap

    shown = CompareMap(local, image)
    assert shown.agreement is not None, shown.message
    assert shown.agreement.procrustes_cosine > 0.95
    handle = shown._handles['b']
    assert handle.url.startswith(server.url) and handle in shown.map.layers
    assert (
        'Google DeepMind' in handle.attribution
        and 'Earth Engine was asked' in shown.panel.facts['notes'][0]
    )
    worst = shown.worst[0]
    found = shown.inspect(worst['lon'], worst['lat'])
    assert np.abs(found['b'] - waves(worst['lon'], worst['lat'], 2024)).max() < 1e-3
    shown.close()


def test_a_collection_is_no_image(server, local):
    import ee

    assert not is_image(ee.ImageCollection(ASSET))
    with pytest.raises(FieldError, match='mosaic'):
        sample_image(ee.ImageCollection(ASSET), [3.2], [51.0])


def test_without_an_answer_both_maps_stay(server, image, local, monkeypatch):
    "An image that the service cannot colour is left out, and the reason is in the line."
    from alphaearth_nb import compare_map

    def refuse(*words):
        raise RuntimeError('quota exceeded')

    monkeypatch.setattr(compare_map, 'colour_tiles', refuse)
    shown = compare_map.CompareMap(local, image)
    assert shown.agreement is None and 'quota exceeded' in shown.message
    assert [one.name for one in shown.map.layers] == ['coasts and borders', 'turned, 2024']
