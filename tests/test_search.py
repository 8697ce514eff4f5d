"""Search against brute force: the highest scores, places apart, directions, thresholds, patches."""
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphaearth_nb import codes as codes_page
from alphaearth_nb.codes import quantize
from alphaearth_nb.core import AlphaEarthError
from alphaearth_nb.examples import held_out_scores, search_direction
from alphaearth_nb.field_states import as_field
from alphaearth_nb.grids import utm_grid, window
from alphaearth_nb.highest import highest, highest_apart, highest_of_codes
from alphaearth_nb.searching import most_similar, patches_above, pixel_metres, search, threshold_at

ATTRS = {'state': 'codes', 'model': 'some', 'valid_period': '2024'}


def unit(values):
    return (values/np.linalg.norm(values, axis=-1, keepdims=True)).astype(np.float32)


def some_field(height, width, seed=0, state='codes'):
    "Three kinds of ground in blobs, a little noise, and holes."
    rng = np.random.default_rng(seed)
    ground = np.random.default_rng(9).normal(size=(3, 64))
    y, x = np.mgrid[:height, :width]
    kinds = (np.sin(x/7) + np.cos(y/5) > .8).astype(int) + (np.sin(x/11 + y/6) > .7)
    vectors = unit(ground[kinds] + .4*rng.normal(size=(height, width, 64)))
    vectors[rng.random((height, width)) < .03] = np.nan
    grid = window(utm_grid((3., 51., 3.1, 51.1)), 0, 0, height, width)
    if state == 'unit': return as_field(np.moveaxis(vectors, -1, 0), grid, ATTRS | {'state': 'unit'}), kinds
    return as_field(np.ascontiguousarray(np.moveaxis(quantize(vectors), -1, 0)), grid, ATTRS), kinds


def in_order(scores):
    "Positions of what has data, from the highest on, the first of equal ones first: by Python's own sort."
    known = [place for place, score in enumerate(scores.tolist()) if score == score]
    return sorted(known, key=lambda place: (-scores[place], place))


# ---- the highest

@settings(max_examples=60)
@given(st.integers(0, 2**31), st.integers(1, 300), st.integers(0, 40_000), st.sampled_from([1, 3, 40, 10**7]),
       st.sampled_from(['any', 'rising', 'falling']))
def test_highest_is_a_sort(seed, count, size, values, order):
    rng = np.random.default_rng(seed)
    scores = (rng.integers(values, size=size) - values//2).astype(np.float32)
    if order != 'any': scores = np.sort(scores)[::1 if order == 'rising' else -1].copy()
    scores[rng.random(size) < rng.choice([0, .3, 1], p=[.4, .5, .1])] = np.nan
    places, kept = highest(scores, count)
    wanted = in_order(scores)[:count]
    assert places.tolist() == wanted and kept.tolist() == scores[wanted].tolist()


def test_infinite_scores_are_scores():
    scores = np.full(100_000, -np.inf, np.float32)
    scores[[7, 70_000]] = np.inf, 3
    assert highest(scores, 4)[0].tolist() == [7, 70_000, 0, 1]


@pytest.mark.parametrize('processors', [1, 2, 7])
def test_the_list_does_not_depend_on_threads(processors, monkeypatch):
    "Few values, so that ties lie in every thread's share."
    rng = np.random.default_rng(0)
    scores = rng.integers(5, size=600_000).astype(np.float32)
    scores[rng.random(scores.size) < .999] -= 5
    codes = np.tile(quantize(unit(rng.normal(size=(50, 64)))).T, (1, 8000)).copy()
    query = unit(rng.normal(size=64))
    monkeypatch.setattr(codes_page.os, 'cpu_count', lambda: processors)
    assert highest(scores, 400)[0].tolist() == in_order(scores)[:400]
    places, cosines = highest_of_codes(codes, query, 9000)
    first = cosines[0]
    best = places[0]
    assert places[:8000].tolist() == (best + 50*np.arange(8000)).tolist() and (cosines[:8000] == first).all()


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.integers(1, 1900), st.integers(2, 5))
def test_among_equal_pixels_the_first_ones_stay(seed, count, kinds):
    "A heap that is full of equal scores drops the last of them first when a higher one comes."
    rng = np.random.default_rng(seed)
    which, query = rng.integers(kinds, size=2000), unit(rng.normal(size=64))
    codes = np.ascontiguousarray(quantize(unit(rng.normal(size=(kinds, 64)))).T[:, which])
    scores = highest_of_codes(np.ascontiguousarray(codes), query, 2000)
    by_place = np.empty(2000, np.float32)
    by_place[scores[0]] = scores[1]
    assert highest_of_codes(codes, query, count)[0].tolist() == in_order(by_place)[:count]


def test_codes_are_searched_without_a_copy():
    "The codes are 51 MB; Python's own count sees every array of numpy."
    codes = np.tile(quantize(unit(np.random.default_rng(0).normal(size=(1000, 64)))).T, (1, 800)).copy()
    query = unit(np.ones(64))
    highest_of_codes(codes, query, 10)                       # compiled before it is watched
    tracemalloc.start()
    try: highest_of_codes(codes, query, 100)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert codes.nbytes == 51_200_000 and peak < 2_000_000


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.integers(1, 400))
def test_most_similar_is_the_order_of_the_map(seed, count):
    "Straight from codes, by the map, and by the formula."
    field, _ = some_field(17, 23, seed)
    query = unit(np.random.default_rng(seed).normal(size=64))
    cosines, rows, columns = most_similar(field, query, count)
    scores = field.aef.similarity(query).values.ravel()
    wanted = in_order(scores)[:count]
    assert (rows*23 + columns).tolist() == wanted and cosines.tolist() == scores[wanted].tolist()
    exact = field.aef.vectors().reshape(-1, 64)[wanted].astype(float) @ query.astype(float)
    np.testing.assert_allclose(cosines, exact, atol=1e-6)


# ---- apart

def greedy(scores, count, apart_m, pixel_m):
    "The rule, pixel by pixel."
    kept = []
    for place in in_order(scores.ravel()):
        here = np.array(divmod(place, scores.shape[1]))*pixel_m
        if all(np.hypot(*(here - one)) >= apart_m - 1e-9 for one in kept): kept.append(here)
        if len(kept) == count: break
    return [tuple(np.rint(one/pixel_m).astype(int).tolist()) for one in kept]


@settings(max_examples=60)
@given(st.integers(0, 2**31), st.integers(1, 25), st.sampled_from([0, 5, 10, 30, 42.5, 500]))
def test_places_apart_are_greedy(seed, count, apart_m):
    rng = np.random.default_rng(seed)
    scores = rng.integers(rng.integers(1, 500), size=rng.integers(1, 150, 2)).astype(np.float32)
    scores[rng.random(scores.shape) < rng.choice([0, .3, 1], p=[.5, .4, .1])] = np.nan
    pixel_m = np.array([10., rng.choice([5., 10., 13.])])
    places, values = highest_apart(scores, count, apart_m, tuple(pixel_m))
    found = [divmod(place, scores.shape[1]) for place in places.tolist()]
    assert found == greedy(scores, count, apart_m, pixel_m)
    assert values.tolist() == [scores[one].item() for one in found]


# ---- directions and thresholds

@settings(max_examples=40)
@given(st.integers(0, 2**31), st.integers(1, 30), st.integers(0, 30))
def test_the_direction_is_that_of_its_definition(seed, ours, theirs):
    "The mean ranks as the mean cosine does; the ridge is the solution of a weighted regression to ±1."
    rng = np.random.default_rng(seed)
    like, unlike = unit(rng.normal(size=(ours, 64)) + 1), unit(rng.normal(size=(theirs, 64)))
    pixels = unit(rng.normal(size=(50, 64)))
    mean = search_direction(like, unlike, 'mean').astype(float)
    worth = (pixels @ like.T).mean(1) - ((pixels @ unlike.T).mean(1) if theirs else 0)
    np.testing.assert_allclose(np.corrcoef(worth, pixels @ mean)[0, 1], 1, atol=1e-5)
    if not theirs: return
    x = np.concatenate([like, unlike]).astype(float)
    weights = np.repeat([1/ours, 1/theirs], [ours, theirs])/2
    target, columns = np.repeat([1., -1.], [ours, theirs]), np.c_[x, np.ones(len(x))]
    penalty = np.diag([1/64]*64 + [0.])
    solved = np.linalg.solve(columns.T*weights @ columns + penalty, columns.T*weights @ target)[:64]
    np.testing.assert_allclose(search_direction(like, unlike), solved/np.linalg.norm(solved), atol=2e-5)


def test_held_out_scores_never_see_their_own_example():
    "Changing an example changes nothing about how the others in its part are scored by the rest."
    rng = np.random.default_rng(0)
    like, unlike = unit(rng.normal(size=(10, 64))), unit(rng.normal(size=(6, 64)))
    ours, theirs = held_out_scores(like, unlike)
    for index in range(10):
        alone = search_direction(np.delete(like, index, 0), unlike)
        np.testing.assert_allclose(ours[index], like[index] @ alone, atol=1e-6)
    for index in range(6):
        alone = search_direction(like, np.delete(unlike, index, 0))
        np.testing.assert_allclose(theirs[index], unlike[index] @ alone, atol=1e-6)


@settings(max_examples=60)
@given(st.integers(0, 2**31), st.integers(0, 40))
def test_a_threshold_lets_through_what_it_says(seed, known):
    rng = np.random.default_rng(seed)
    scores = rng.integers(100, size=(20, 30))/np.float32(100)
    scores[rng.random(scores.shape) < .2] = np.nan
    ours = rng.integers(100, size=known)/np.float32(100)
    found = threshold_at(scores, ours, ours[:0])
    there = scores[np.isfinite(scores)]
    assert found.area == pytest.approx((there >= found.score).mean())
    if known >= 5:
        assert (ours >= found.score).mean() >= .9
        higher = ours[ours > found.score]
        assert not len(higher) or (ours >= higher.min()).mean() < .9       # the highest that finds so many
    else: assert (there > found.score).sum() < max(1, int(.01*there.size)) <= (there >= found.score).sum()


# ---- places of a field

@settings(max_examples=15)
@given(st.integers(0, 1000), st.sampled_from(['codes', 'unit']), st.sampled_from([0, 25, 90]))
def test_places_are_on_data_above_the_threshold_and_apart(seed, state, apart_m):
    field, kinds = some_field(40, 50, seed, state)
    vectors = field.aef.vectors()
    like = [vectors[tuple(one)] for one in np.argwhere((kinds == 2) & np.isfinite(vectors[..., 0]))[::40]]
    found = search(field, like, count=12, apart_m=apart_m)
    rows, columns = found.places.row.to_numpy(), found.places.column.to_numpy()
    assert np.isfinite(vectors[rows, columns]).all()
    assert (found.places.score >= found.threshold.score).all()
    numbers, sizes = patches_above(found.scores.values, found.threshold.score)
    down, across = pixel_metres(field.aef.grid)
    assert (found.places.patch == numbers[rows, columns]).all()
    np.testing.assert_allclose(found.places.area_m2, sizes[numbers[rows, columns]]*down*across)
    means = [found.scores.values[numbers == one].mean() for one in found.places.patch]
    np.testing.assert_allclose(found.places.mean_score, means, rtol=1e-5)
    assert [*zip(rows.tolist(), columns.tolist())] == greedy(
        np.where(found.hits().values, found.scores.values, np.nan), 12, apart_m, np.array([down, across]))
    again = field.aef.at((found.places.lon.to_numpy(), found.places.lat.to_numpy()))
    np.testing.assert_allclose(again @ found.direction, found.places.score, atol=1e-5)


def test_patches_are_the_connected_hits():
    "Against a flood fill."
    rng = np.random.default_rng(0)
    scores = rng.random((30, 40)).astype(np.float32)
    scores[rng.random(scores.shape) < .1] = np.nan
    numbers, sizes = patches_above(scores, .6)
    left, patches = set(map(tuple, np.argwhere(scores >= .6).tolist())), []
    while left:
        stack, patch = [left.pop()], set()
        while stack:
            y, x = stack.pop()
            patch.add((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            stack += near
        patches.append(patch)
    assert {frozenset(map(tuple, np.argwhere(numbers == one).tolist())) for one in range(1, len(sizes))} == \
        set(map(frozenset, patches))


@pytest.mark.parametrize('like, unlike, options, words', [
    ((9., 45.), (), {}, 'none of them on data'), ((3.001, 51.0995), (9., 45.), {}, 'none of them on data'),
    (np.ones(64), (), {}, 'unit vectors within'), (np.ones(64, np.int8), (), {}, 'must be \\(lon, lat\\)'),
    ([], (), {}, 'one example or more'), ('maize', (), {}, 'Pass model='), (3.5, (), {}, 'text, or a list'),
    (np.ones((4, 4), bool), (), {}, 'as the field is'), (np.full(64, .125), (), {'how': 'svm'}, 'one of'),
    (np.full(64, .125), np.full(64, .125), {}, 'the same on average'),
    (np.full(64, .125), (), {'count': 0}, 'whole number'), (np.full(64, .125), (), {'apart_m': -1}, 'metres'),
    (np.full(64, .125), (), {'apart_m': np.nan}, 'metres'),
    (np.full(64, .125), (), {'threshold': np.nan}, 'cosine'),
    (np.full(64, np.nan), (), {}, 'none of them on data')])
def test_bad_input_is_one_sentence(like, unlike, options, words):
    field, _ = some_field(30, 30)
    with pytest.raises(AlphaEarthError, match=words) as error: search(field, like, unlike, **options)
    assert '\n' not in str(error.value) and len(str(error.value)) < 300


def test_another_model_and_damaged_fields_are_refused():
    field, _ = some_field(30, 30)
    foreign = field[:, 5, 5].assign_attrs(model='another')
    with pytest.raises(AlphaEarthError, match='the model'): search(field, foreign)
    with pytest.raises(AlphaEarthError, match='codes of unit vectors'): search(field//2, np.full(64, .125))
    with pytest.raises(AlphaEarthError, match='without data'):
        search(field.copy(data=np.full_like(field.values, -128)), np.full(64, .125))
