"""A probe as an image of Earth Engine says what it says here: real client, foreign evaluator."""
import io

import numpy as np
import pytest
from earth_engine import Tiles, coded, serving, waves
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestCentroid

from alphaearth_nb.codes import DECODED
from alphaearth_nb.core import FieldError
from alphaearth_nb.ee_fields import earthengine_field, grid_request, released_image
from alphaearth_nb.ee_probes import linear_map, linear_weights, server_probe
from alphaearth_nb.grids import utm_grid
from alphaearth_nb.probes import fit_probe

BOX = (3.2, 51.0, 3.206, 51.004)


@pytest.fixture(scope='module')
def server():
    import ee

    def with_holes(lon, lat, year):
        return np.where((np.asarray(lon) > 3.2055)[..., None], np.nan, waves(lon, lat, year))

    with serving(Tiles([('31N', 508_160, 5_600_000)], coded(with_holes), years=[2023, 2024])) as running:
        running.initialize()
        yield running
        ee.Reset()


@pytest.fixture(scope='module')
def field(server):
    return earthengine_field(utm_grid(BOX), 2024)


@pytest.fixture(scope='module')
def labels(field):
    "Five classes of unequal size, on a third of the pixels."
    directions = np.random.default_rng(0).normal(size=(5, 64))
    scores = field.aef.vectors()@directions.T
    classes = (scores - np.nanmean(scores, (0, 1))).argmax(-1) + 1
    return np.where(np.random.default_rng(1).random(classes.shape) < .3, classes, 0)


def computed(image, grid) -> np.ndarray:
    "Class, probability and margin (h, w) as the service sends them."
    import ee
    return np.load(io.BytesIO(ee.data.computePixels(
        {'expression': image, 'fileFormat': 'NPY', 'grid': grid_request(grid)})))


def exact(field) -> np.ndarray:
    "The components that Earth Engine has, in double precision, NaN where there is no data."
    roots = np.moveaxis(field.values, 0, -1).astype(float)/127.5
    return np.where(field.values[0][..., None] == -128, np.nan, roots*np.abs(roots))


@pytest.mark.parametrize('kind', ['linear', 'ridge', 'logistic', NearestCentroid()], ids=str)
@pytest.mark.parametrize('count', [2, 5])
def test_the_map_there_is_the_map_here(server, field, labels, kind, count):
    "Classes exactly, scores to 1e-6; no data stays no data."
    probe = fit_probe(field, np.where(labels <= count, labels, 0), kind, splits=0)
    there = computed(probe.to_earthengine(2024), field.aef.grid)
    known = field.values[0] != -128
    assert 0 < known.sum() < known.size
    weights, offset = linear_weights(probe.estimator)
    best, probability, margin = linear_map(weights, offset, exact(field)[known])
    assert (there['class'][known] == np.array(probe.classes)[best]).all()
    assert (there['class'] == probe.predict(field).values).all()          # 0 without data, on both sides
    assert len(np.unique(there['class'])) == count + 1
    assert np.abs(there['probability'][known] - probability).max() < 1e-6
    assert np.abs(there['margin'][known] - margin).max() < 1e-6*max(1, np.abs(weights).max())
    if kind in ('linear', 'ridge'):
        ordered = np.sort(probe.decision(field).values[:, known], 0)
        size = max(1, np.abs(ordered).max())
        assert np.abs(there['margin'][known] - (ordered[-1] - ordered[-2])).max() < 2e-6*size
    if kind == 'logistic':
        own = probe.predict_proba(field).values[:, known].max(0)
        assert np.abs(there['probability'][known] - own).max() < 1e-6


def test_another_year_is_another_map(server, field, labels):
    probe = fit_probe(field, labels, 'ridge', splits=0)
    maps = [computed(probe.to_earthengine(year), field.aef.grid)['class'] for year in (2023, 2024)]
    later = earthengine_field(field.aef.grid, 2023)
    assert (maps[0] != maps[1]).mean() > .01 and (maps[0] == probe.predict(later).values).all()


@settings(max_examples=10)
@given(st.integers(2, 40), st.integers(0, 9), st.floats(.01, 100))
def test_any_weights_agree(server, field, count, seed, scale):
    "64 bands and up to 40 classes, two of them equal, between which rounding may choose."
    rng = np.random.default_rng(seed)
    weights, offset = scale*rng.normal(size=(count, 64)), scale*rng.normal(size=count)
    if count > 2: weights[-1], offset[-1] = weights[0], offset[0]
    grid, classes = field.aef.grid[10:14, 10:20], rng.permutation(100)[:count]
    there = computed(server_probe(weights, offset, classes, released_image(2024, '31N')), grid)
    x = exact(field)[10:14, 10:20].reshape(-1, 64)
    best, probability, margin = linear_map(weights, offset, x)
    sure = margin > 1e-9*scale
    assert (np.isin(there['class'].ravel(), classes[[0, -1]]) | sure).all()
    assert (there['class'].ravel() == classes[best])[sure].all()
    assert np.abs(there['probability'].ravel() - probability).max() < 1e-6
    assert np.abs(there['margin'].ravel() - margin).max() < 1e-6*max(1, scale)


def test_forty_classes_fit_into_the_payload(server, field):
    "And a server with a smaller limit would refuse them in one sentence."
    import ee
    rng = np.random.default_rng(0)
    image = server_probe(rng.normal(size=(40, 64)), rng.normal(size=40), image=released_image(2024, '31N'))
    assert len(image.serialize()) < 200_000
    server.limits['payload_bytes'] = 10_000
    with pytest.raises(ee.EEException, match='payload'): computed(image, field.aef.grid[:2, :2])
    server.limits['payload_bytes'] = 10_485_760
    assert computed(image, field.aef.grid[:2, :2])['class'].min() >= 1


def test_the_local_reference_uses_what_is_decoded(field):
    "The two ways of decoding in this file and in the package are the same to rounding."
    there = field.values[0] != -128
    ours = DECODED[np.moveaxis(field.values, 0, -1)[there].view(np.uint8)]
    assert np.abs(ours - exact(field)[there]).max() < 1e-7


def test_a_probe_of_another_space_needs_its_own_image(server, field, labels):
    other = field.assign_attrs(model='mine', dataset='mine')
    probe = fit_probe(other, labels, 'ridge', splits=0)
    with pytest.raises(FieldError, match='a released one'): probe.to_earthengine(2024)
    image = probe.to_earthengine(image=released_image(2024, '31N'))
    assert (computed(image, field.aef.grid)['class'] == probe.predict(other).values).all()
