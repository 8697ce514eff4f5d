"""The nearest labels and clusters, against brute force; lists change the time and never the answer."""
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_search import some_field, unit

from alphaearth_nb import codes as codes_page
from alphaearth_nb.clusters import cluster_field, nearest_centres, spherical_kmeans
from alphaearth_nb.core import AlphaEarthError
from alphaearth_nb.fields import read_cog
from alphaearth_nb.nearest import LabelIndex, nearest_labels, recall
from alphaearth_nb.predictors import Neighbours


def around(count, seed, noise=.3, kinds=5):
    "Unit vectors (count, 64) around a few directions."
    rng = np.random.default_rng(seed)
    return unit(np.random.default_rng(3).normal(size=(kinds, 64))[rng.integers(kinds, size=count)]
                + noise*rng.normal(size=(count, 64)))


def cosines_of(pixels, labels):
    "All of them in float64, added up band after band."
    pairs = zip(pixels.T.astype(float), labels.T.astype(float))
    return sum(np.multiply.outer(*pair) for pair in pairs)


def check_nearest(found, cosines, pixels, labels, count):
    "Neighbours are the highest cosines; where float64 cannot tell two apart, either is right."
    every = cosines_of(pixels, labels)
    best = -np.sort(-every, 1)[:, :count]
    np.testing.assert_allclose(cosines, best, rtol=0, atol=1e-12)
    np.testing.assert_allclose(np.take_along_axis(every, found, 1), best, rtol=0, atol=1e-12)
    assert all(len(set(line)) == len(line) for line in found.tolist())


@settings(max_examples=25)
@given(st.integers(0, 2**31), st.sampled_from([1, 3, 255, 300, 2500]), st.integers(1, 3),
       st.sampled_from([1e-4, .05, .5, 5]))
def test_nearest_is_brute_force(seed, size, count, noise):
    labels, pixels = around(size, seed, noise), around(60, seed + 1, noise)
    pixels[::5] = labels[np.random.default_rng(seed).integers(size, size=12)]
    index = LabelIndex.build(labels)
    check_nearest(*index.nearest(pixels, count), pixels, index.vectors, min(count, size))


@settings(max_examples=25)
@given(st.integers(0, 2**31), st.sampled_from([4, 40, 700]), st.integers(1, 3))
def test_the_first_of_equal_labels_comes_first(seed, size, count):
    "Every vector is there many times, spread over the labels."
    rng = np.random.default_rng(seed)
    different = around(max(2, size//20), seed)
    which = rng.integers(len(different), size=size)
    labels, pixels = different[which], around(50, seed + 1)
    found, _ = LabelIndex.build(labels).nearest(pixels, count)
    order = np.argsort(-cosines_of(pixels, different), 1, kind='stable')
    for line, ranked in zip(found, order):
        wanted = np.concatenate([np.flatnonzero(which == one) for one in ranked])[:count]
        assert line.tolist() == wanted.tolist()


def test_many_labels_as_near_as_rounding_are_told_apart():
    "Forty labels around each pixel whose cosines with it differ by less than the products of float32 show."
    rng, pixels = np.random.default_rng(0), around(30, 1)
    labels = np.concatenate([unit(one + 1e-6*rng.normal(size=(40, 64)).astype(np.float32)) for one in pixels])
    labels = np.concatenate([labels, around(2000, 2)])
    index = LabelIndex.build(labels)
    check_nearest(*index.nearest(pixels), pixels, index.vectors, 3)


@pytest.mark.parametrize('processors', [1, 2, 5])
def test_neighbours_do_not_depend_on_threads(processors, monkeypatch):
    labels, pixels = around(1500, 0), around(70_000, 1)
    index = LabelIndex.build(labels)
    wanted = index.nearest(pixels[:9000])[0]
    monkeypatch.setattr(codes_page.os, 'cpu_count', lambda: processors)
    assert (index.nearest(pixels)[0][:9000] == wanted).all()


@pytest.mark.parametrize('count', [1, 3])
def test_the_map_is_that_of_the_probe(count):
    "The class of every pixel is the one that the classifier of the paper gives."
    field, kinds = some_field(50, 60)
    vectors, known = field.aef.vectors(), ~field.aef.missing().values
    chosen = known & (np.random.default_rng(0).random(kinds.shape) < .3)
    classes = np.random.default_rng(1).integers(1, 5, chosen.sum())         # no order in them: votes matter
    found = nearest_labels(field, vectors[chosen], classes, count)
    assert (found.class_id.values[known] == Neighbours(count).fit(vectors[chosen], classes)
            .predict(vectors[known])).all()
    assert (found.class_id.values[~known] == 0).all() and np.isnan(found.cosine.values[~known]).all()
    np.testing.assert_allclose(found.cosine.values[chosen], 1, atol=1e-5)


def test_released_embeddings_give_exact_neighbours_from_a_part_of_the_labels(shared_data):
    "Real embeddings gather: few lists are needed, and four of them find nearly all neighbours."
    field = read_cog(shared_data/'aef_wisconsin_2024_32616_10m.tif')
    vectors = field.aef.vectors().reshape(-1, 64)
    vectors = vectors[np.isfinite(vectors[:, 0])]
    index = LabelIndex.build(vectors[::2])
    pixels = vectors[1::20]
    check_nearest(*index.nearest(pixels), pixels, index.vectors, 3)
    assert recall(index, vectors[1::2], 4) > .95 and recall(index, vectors[1::2], 16) > .99


def test_maps_need_no_copy_of_the_codes():
    field, _ = some_field(400, 400)
    vectors = field[:, :20, :20].aef.vectors().reshape(-1, 64)
    vectors = vectors[np.isfinite(vectors[:, 0])]
    index, classes, centres = LabelIndex.build(vectors), np.ones(len(vectors), int), vectors[:8]
    small = field[:, :40]
    nearest_labels(small, index, classes), nearest_centres(small, centres)   # compiled before it is watched
    for work, most in ((lambda: nearest_labels(field, index, classes), 25e6),
                       (lambda: nearest_centres(field, centres), 5e6)):
        tracemalloc.start()
        try: work()
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak < most < 4*field.nbytes                                 # vectors would be 41 MB


# ---- clusters

@settings(max_examples=20)
@given(st.integers(0, 2**31), st.integers(1, 9), st.integers(9, 300))
def test_clusters_are_a_fixed_point(seed, count, size):
    "Every vector belongs to its nearest centre and every centre is the mean of its vectors; the same again."
    vectors = around(size, seed)
    centres = spherical_kmeans(vectors, count, seed)
    assert (centres == spherical_kmeans(vectors, count, seed)).all() and len(centres) == count
    numbers = (vectors @ centres.T).argmax(1)
    sizes = np.bincount(numbers, minlength=count)
    assert (np.diff(sizes) <= 0).all() and sizes.all()
    means = np.stack([unit(vectors[numbers == one].mean(0)) for one in range(count)])
    np.testing.assert_allclose(means, centres, atol=1e-5)


@pytest.mark.parametrize('state', ['codes', 'unit'])
def test_every_pixel_belongs_to_its_nearest_centre(state):
    field, kinds = some_field(60, 70, 1, state)
    found, known = cluster_field(field, 3), ~field.aef.missing().values
    cosines = field.aef.vectors()[known] @ found.centres.T
    assert (found.map.values[known] == cosines.argmax(1) + 1).all() and (found.map.values[~known] == 0).all()
    nearest = nearest_centres(field, found.centres)
    assert (nearest[known] == cosines.argmax(1)).all() and (nearest[~known] == -1).all() and not known.all()
    assert found.counts == {one: int((found.map.values == one).sum()) for one in (1, 2, 3)}
    of_one_kind = [np.bincount(kinds[known & (found.map.values == one)]).max() for one in (1, 2, 3)]
    assert sum(of_one_kind) > .99*known.sum()


# ---- bad input

@pytest.mark.parametrize('change, words', [
    (dict(vectors=np.ones((5, 64), np.float32)), 'unit vectors within'),
    (dict(vectors=np.ones((5, 3), np.float32)), r'\(\.\.\., 64\)'),
    (dict(vectors=np.ones((0, 64), np.float32)), 'one label or more'),
    (dict(vectors=np.full((3, 64), np.nan, np.float32)), 'for 3 of 3 labels'),
    (dict(classes=np.zeros(40, int)), 'whole numbers from 1'),
    (dict(classes=np.ones(39, int)), 'one for each'),
    (dict(classes=np.full(40, 1.5)), 'whole numbers'), (dict(count=2), '1 or 3'),
    (dict(probes=0), '1 or more')])
def test_bad_labels_are_one_sentence(change, words):
    field, _ = some_field(20, 20)
    given = dict(vectors=around(40, 0), classes=np.ones(40, int)) | change
    with pytest.raises(AlphaEarthError, match=words) as error: nearest_labels(field, **given)
    assert '\n' not in str(error.value) and len(str(error.value)) < 300
