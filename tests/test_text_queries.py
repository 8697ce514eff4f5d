"""Words asked of a field, and what their scores are worth: refusals, laws of the numbers, and chance."""
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alphaearth_nb.calibration import (
    MOST_SCALE, calibrate, calibration_error, fit_scale, reliability, softmax, true_ranks,
)
from alphaearth_nb.core import AlphaEarthError, FieldError, LabelError
from alphaearth_nb.fields import make_field
from alphaearth_nb.grids import grid_from_centres, lonlat_transformer
from alphaearth_nb.model import AlphaEarth
from alphaearth_nb.queries import find, fit_text_head, text_directions
from alphaearth_nb.settings import preset

SIDE, SEASON = 48, '2018-04-01/2018-10-01'
NAMES = {1: 'maize', 2: 'wheat', 3: 'forest'}
CONFIG = replace(preset('tiny'), text_encoder='words', text_width=384)
SEEDS, SIZES = st.integers(0, 2**31), st.integers(1, 60)


def patches(seed:int=0) -> np.ndarray:
    "Classes 1 to 3 (h, w) in squares of 8 pixels, 0 between them."
    rng = np.random.default_rng(seed)
    cells = np.repeat(np.repeat(rng.permuted(np.arange(36)%3 + 1).reshape(6, 6), 8, 0), 8, 1)
    cells[::8], cells[:, ::8] = 0, 0
    return cells


def field_of(classes:np.ndarray, noise:float=.05, seed:int=0) -> object:
    "Field in which each class has a direction of its own, with noise in each component."
    rng = np.random.default_rng(99)
    directions = np.concatenate([np.zeros((1, 64)), rng.normal(size=(3, 64))])/8
    vectors = directions[classes] + noise*np.random.default_rng(seed).normal(size=(SIDE, SIDE, 64))
    vectors[0] = np.nan
    x, y = 520_005 + 10.*np.arange(SIDE), 6_090_475 - 10.*np.arange(SIDE)
    unit = vectors/np.linalg.norm(vectors, axis=-1, keepdims=True)
    return make_field(unit.astype(np.float32), grid_from_centres(x, y, 'EPSG:32631'), SEASON, model='tiny')


def captions_of(classes:np.ndarray, field:object, seed:int=0, ways:tuple=('a field of {}', '{}, in summer')):
    "A sentence for each of 200 labelled pixels."
    rng = np.random.default_rng(seed)
    rows, columns = np.unravel_index(rng.choice(np.flatnonzero(classes), 200), classes.shape)
    lon, lat = lonlat_transformer(field.aef.grid).transform(field.x.values[columns], field.y.values[rows])
    texts = [ways[rng.integers(len(ways))].format(NAMES[classes[at]]) for at in zip(rows, columns)]
    return pd.DataFrame({'text': texts, 'lon': lon, 'lat': lat})


def labels_of(field:object, classes:np.ndarray) -> object:
    return field.isel(band=0, drop=True).copy(data=classes).assign_attrs(class_names=NAMES)


@pytest.fixture(scope='module')
def asked():
    "A model whose text head knows the classes of `field_of`, and a field it has not seen."
    torch.manual_seed(0)
    model, classes = AlphaEarth(CONFIG), patches(0)
    field = field_of(classes)
    losses = fit_text_head(model, [field], [captions_of(classes, field)], steps=60)
    assert losses[-1] < losses[0] - 1
    return model, field_of(patches(1), seed=1), patches(1)


# ---- asking

def test_words_find_their_classes(asked):
    model, field, classes = asked
    best = find(model, field, [f'a field of {name}' for name in NAMES.values()]).values.argmax(0) + 1
    inside = (classes > 0) & (np.arange(SIDE) > 0)[:, None]
    assert (best == classes)[inside].mean() > .95


def test_scores_are_cosines_on_the_pixels_of_the_field(asked):
    model, field, _ = asked
    score = find(model, field, 'maize, in summer')
    assert score.dims == ('y', 'x') and score.dtype == np.float32 and abs(score).max() <= 1 + 1e-6
    assert score.attrs['text_encoder'] == 'words' and str(score.text.values) == 'maize, in summer'
    for name in ('x', 'y'): np.testing.assert_array_equal(score[name], field[name])
    np.testing.assert_array_equal(np.isnan(score.values), np.isnan(field.values).any(0))
    direction = text_directions(model, ['maize, in summer'], SEASON)[0]
    np.testing.assert_allclose(score.values, np.einsum('bhw,b->hw', field.values, direction), atol=1e-5)
    np.testing.assert_allclose(find(model, field.aef.codes(), 'maize, in summer'), score, atol=.02)
    np.testing.assert_array_equal(find(model, field.transpose('y', 'x', 'band'), 'maize, in summer'), score)


def test_the_answer_does_not_depend_on_who_else_is_asked(asked):
    model, field, _ = asked
    together = find(model, field, ['maize', 'forest', 'maize'])
    for at, text in enumerate(['maize', 'forest', 'maize']):
        np.testing.assert_allclose(together[at].values, find(model, field, text).values, atol=1e-6)


@pytest.mark.parametrize('attrs,words', [
    ({'dataset': 'GOOGLE/SATELLITE_EMBEDDING/V1/ANNUAL', 'model': 'tiny'}, 'GOOGLE'),
    ({'model': 'small'}, 'small'), ({'model': ''}, "''"), ({'weights': 'abcdef012345'}, 'abcdef012345')])
def test_fields_of_other_models_are_refused(asked, attrs, words):
    model, field, classes = asked
    stranger, labels = field.assign_attrs(attrs), labels_of(field, classes)
    for ask in (lambda: find(model, stranger, 'maize'),
                lambda: fit_text_head(model, [stranger], [captions_of(classes, field)], steps=1),
                lambda: calibrate(model, stranger, {'maize': 'maize', 'wheat': 'wheat'}, labels)):
        with pytest.raises(FieldError, match=words): ask()


def test_a_head_that_never_learned_and_a_model_without_one_are_refused(asked):
    _, field, _ = asked
    for model, words in ((AlphaEarth(CONFIG), 'fit_text_head'), (AlphaEarth.preset('tiny'), 'text_encoder')):
        with pytest.raises(AlphaEarthError, match=words): find(model, field, 'maize')


def test_captions_off_the_data_are_left_out_and_too_few_are_refused(asked):
    model, field, classes = asked
    table = captions_of(classes, field)
    with pytest.raises(LabelError, match='two or more'):
        fit_text_head(model, [field], [table.assign(lon=table.lon + 1)], steps=1)
    with pytest.raises(LabelError, match='one table for each'): fit_text_head(model, [field], [], steps=1)


# ---- laws of the numbers

def drawn(seed:int, n:int, k:int=4) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (n, k)), rng.integers(k, size=n), rng


@given(SEEDS, SIZES)
def test_ranks_follow_the_order_and_nothing_else(seed, n):
    scores, truth, rng = drawn(seed, n)
    ranks, order = true_ranks(scores, truth), rng.permutation(4)
    np.testing.assert_array_equal(ranks, true_ranks(np.exp(3*scores), truth))
    np.testing.assert_array_equal(ranks, true_ranks(scores[:, order], np.argsort(order)[truth]))
    np.testing.assert_array_equal(ranks + true_ranks(-scores, truth), np.full(n, 5))
    np.testing.assert_array_equal(true_ranks(np.zeros((n, 4)), truth), np.full(n, 2.5))


@given(SEEDS, st.integers(2, 60))
def test_the_fitted_scale_is_the_likeliest(seed, n):
    scores, truth, rng = drawn(seed, n)
    weights = rng.uniform(.1, 1, n)
    def cost(scale): return -weights@np.log(softmax(scores, scale)[np.arange(n), truth] + 1e-300)
    best = fit_scale(scores, truth, weights)
    assert 0 <= best <= MOST_SCALE
    others = [other for other in (0, best*.9, best*1.1 + .01) if other <= MOST_SCALE]
    assert all(cost(best) <= cost(other) + 1e-6 for other in others)
    np.testing.assert_allclose(softmax(scores, best).sum(1), 1)
    if 0 < best < 100: assert abs(fit_scale(scores/2, truth, weights) - 2*best) < 1e-3*best + 1e-4


@given(SEEDS, st.integers(1, 80), st.integers(1, 20))
def test_bins_hold_everything_once(seed, n, bins):
    rng = np.random.default_rng(seed)
    said, right, weights = rng.uniform(size=n), rng.random(n) < .5, rng.uniform(.1, 1, n)
    said[0] = 1
    table = reliability(said, right, weights, bins)
    assert sum(one.pixels for one in table) == n and abs(sum(one.share for one in table) - 1) < 1e-9
    assert all(one.low - 1e-9 <= one.said <= one.high + 1e-9 for one in table)
    assert abs(sum(one.share*one.right for one in table) - np.average(right, weights=weights)) < 1e-9
    assert calibration_error(reliability(np.ones(n), np.ones(n, bool), weights, bins)) == 0
    assert calibration_error(reliability(np.ones(n), np.zeros(n, bool), weights, bins)) == 1


# ---- a legend on trial

def test_scores_that_know_are_told_from_scores_that_do_not(asked):
    model, field, classes = asked
    questions = {name: [f'a field of {name}', name] for name in NAMES.values()}
    labels = labels_of(field, classes)
    found = calibrate(model, field, questions, labels)
    assert found.hit.low > .9 and found.rank.high < 1.2 and np.median(found.error) < .05
    assert found.chance == {'hit': 1/3, 'rank': 2} and set(found.recall) == set(questions)
    again = calibrate(model, field, questions, labels)
    assert (again.error, str(again)) == (found.error, str(found))
    likely = found.probabilities(model, field)
    np.testing.assert_allclose(likely.sum('class').values[1:], 1, atol=1e-5)
    assert np.isnan(likely.values[:, 0]).all()
    noise = field_of(np.zeros((SIDE, SIDE), int), noise=1., seed=5)
    blind = calibrate(model, noise, questions, labels)
    assert abs(blind.hit.value - 1/3) < .08 and abs(blind.rank.value - 2) < .15
    assert blind.scale < found.scale/5 and np.median(blind.error) < .1 < np.median(blind.error_before)


def test_classes_without_a_question_are_named(asked):
    model, field, classes = asked
    labels = labels_of(field, classes)
    found = calibrate(model, field, {'maize': 'maize', 'wheat': 'wheat', 'harbour': 'a harbour'}, labels)
    assert any('forest' in note for note in found.notes) and found.chance['hit'] == 1/3
    assert set(found.recall) == {'maize', 'wheat'}
