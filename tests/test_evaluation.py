"""The paper's evaluation against independent ones: folds, neighbours, least norm, scores, spreads."""
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression
from sklearn.metrics import balanced_accuracy_score, f1_score, mean_absolute_error, r2_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from alphaearth_nb.core import LabelError, ShapeError
from alphaearth_nb.evaluation import evaluate
from alphaearth_nb.paper_change import THRESHOLDS, change_distance, threshold_score
from alphaearth_nb.paper_protocol import least_norm, make_task, nearest_three, score_task
from alphaearth_nb.paper_scores import (
    Scored, balanced_scores, chance_rescaled_error, difference, draw_folds, fold_count, ranks, resampled_rows,
)

few = settings(max_examples=25, deadline=None, derandomize=True, database=None)


# ---- folds

@few
@given(st.lists(st.integers(1, 40), min_size=2, max_size=6), st.sampled_from([1, 10, None]),
       st.integers(0, 99))
def test_folds_are_drawn_as_the_paper_draws_them(sizes, shots, seed):
    "Equal numbers of each class, no row twice, as often as c′ says; once where nothing is left to chance."
    classes = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    folds = draw_folds(classes, shots, seed)
    each = [min(sizes)]*len(sizes) if shots is None else [min(shots, size) for size in sizes]
    assert len(folds) == (1 if each == sizes else fold_count(min(each)))
    for fold in folds[:20]:
        assert (np.diff(fold) > 0).all()
        assert np.bincount(classes[fold]).tolist() == each
    again = draw_folds(classes, shots, seed)
    assert (folds == again).all()
    assert [fold_count(least) for least in (1, 10, 49, 68, 75)] == [1000, 500, 310, 281, 273]


def test_folds_differ_from_seed_to_seed_and_trial_to_trial():
    classes = np.repeat([0, 1], 50)
    one, other = (draw_folds(classes, 10, seed) for seed in (0, 1))
    assert len({tuple(fold) for fold in one}) > 400 and (one != other).any()


# ---- neighbours

def slow_neighbours(x, y, test, three, rule):
    "Sort by distance, then by row; the vote of three, of three classes the nearest; or their mean."
    found = []
    for row in test:
        order = sorted(range(len(x)), key=lambda j: (((x[j] - row)**2).sum(), j))[:3 if three else 1]
        said = [y[j] for j in order]
        if rule == 'mean': found.append(np.mean(said))
        else: found.append(said[1] if len(said) == 3 and said[1] == said[2] else said[0])
    return np.array(found)


@few
@given(st.integers(0, 999), st.integers(2, 30), st.integers(1, 5), st.integers(1, 4))
def test_neighbours_with_ties(seed, n, d, levels):
    "Whole numbers, so that equal distances are equal to the last bit: both ways of looking give the list's."
    rng = np.random.default_rng(seed)
    x, test = (rng.integers(0, levels + 1, (size, d)).astype(float) for size in (n, 12))
    y, truth = (rng.integers(0, 3, size) for size in (n, 12))
    size = int(rng.integers(1, n + 1))
    folds = np.sort(rng.random((4, n)).argsort(1)[:, :size], 1)
    near = nearest_three(test, x, [folds])[0]
    for f, fold in enumerate(folds):
        far = ((test[:, None] - x[fold])**2).sum(-1)
        expected = fold[far.argsort(1, kind='stable')[:, :3]]
        assert (near[:, f, :expected.shape[1]] == expected).all()
        assert (near[:, f, expected.shape[1]:] == -1).all()


@pytest.mark.parametrize('shots', ['1', '10', 'max'])
@pytest.mark.parametrize('rule', ['vote', 'mean'])
def test_scores_of_neighbours_the_slow_way(shots, rule):
    rng = np.random.default_rng(7)
    x, test = (rng.integers(0, 3, (size, 4)).astype(float) for size in (45, 60))
    y, truth = np.repeat([0, 1, 2], (20, 14, 11)), rng.permutation(np.repeat([0, 1, 2], (33, 18, 9)))
    if rule == 'mean': y, truth = rng.normal(size=45), rng.normal(size=60)
    task = make_task(y, truth, numbers=rule == 'mean', folds=6)
    found = score_task(task, x, test)
    for i, fold in enumerate(task.trials[shots]):
        for name in ('knn1', 'knn3'):
            said = slow_neighbours(x[fold], y[fold], test, name == 'knn3' and len(fold) > 2, rule)
            one = found[shots, name]
            if rule == 'mean':
                assert one.scores[i] == pytest.approx(r2_score(truth, said), abs=1e-9)
                assert one.beside[i] == pytest.approx(mean_absolute_error(truth, said), abs=1e-9)
            else:
                assert one.scores[i] == pytest.approx(balanced_accuracy_score(truth, said), abs=1e-9)
                assert one.beside[i] == pytest.approx(f1_score(truth, said, average='macro'), abs=1e-9)


def test_neighbours_against_scikit_learn_where_nothing_ties():
    rng = np.random.default_rng(3)
    x, test = rng.normal(size=(300, 20)), rng.normal(size=(250, 20))
    y, truth = np.arange(300) % 2, rng.permutation(250) % 2
    task = make_task(y, truth, folds=4)
    numbers = make_task(x[:, 0], test[:, 0], numbers=True, folds=4)
    found, values = score_task(task, x, test), score_task(numbers, x, test)
    for trial in ('10', 'max'):
        for k in (1, 3):
            for i, fold in enumerate(task.trials[trial]):
                theirs = KNeighborsClassifier(k).fit(x[fold], y[fold]).predict(test)
                score = balanced_accuracy_score(truth, theirs)
                assert found[trial, f'knn{k}'].scores[i] == pytest.approx(score)
            for i, fold in enumerate(numbers.trials[trial]):
                theirs = KNeighborsRegressor(k).fit(x[fold], x[fold, 0]).predict(test)
                assert values[trial, f'knn{k}'].scores[i] == pytest.approx(r2_score(test[:, 0], theirs))


# ---- linear

@few
@given(st.integers(0, 999), st.integers(1, 40), st.integers(1, 12),
       st.sampled_from(['full', 'twice', 'flat', 'thin']))
def test_least_norm_is_the_pseudo_inverse(seed, m, d, how):
    "Fewer rows than components, rows twice, a component that is constant, components that repeat each other."
    rng = np.random.default_rng(seed)
    x, t = rng.normal(size=(2, m, d)), rng.normal(size=(2, m, 3))
    if how == 'twice': x[:, m//2:] = x[:, :1]
    if how == 'flat': x[..., 0] = 0
    if how == 'thin': x[..., -1] = x[..., 0]
    ours = least_norm(x, t)
    for mine, rows, wanted in zip(ours, x, t):
        theirs = np.linalg.pinv(rows)@wanted
        assert np.allclose(mine, theirs, atol=1e-8)
        assert np.linalg.norm(mine) <= np.linalg.norm(theirs) + 1e-9


@pytest.mark.parametrize('intercept', [False, True])
def test_one_shot_of_64_components_interpolates(intercept):
    "Six rows and 64 components: the functions of least norm go through their rows, as lstsq has them."
    rng = np.random.default_rng(1)
    x, test = rng.normal(size=(120, 64)), rng.normal(size=(90, 64))
    y, truth = np.arange(120) % 6, rng.permutation(90) % 6
    task = make_task(y, truth, folds=8, intercept=intercept)
    found = score_task(task, x, test)['1', 'linear']
    for i, fold in enumerate(task.trials['1']):
        targets = np.where(y[fold][:, None] == np.arange(6), 1., -1.)
        centre = x[fold].mean(0) if intercept else 0
        level = targets.mean(0) if intercept else 0
        weights = np.linalg.lstsq(x[fold] - centre, targets - level, rcond=None)[0]
        assert np.allclose((x[fold] - centre)@weights + level, targets)
        said = ((test - centre)@weights + level).argmax(1)
        assert found.scores[i] == pytest.approx(balanced_accuracy_score(truth, said))


def test_regression_is_ordinary_least_squares():
    rng = np.random.default_rng(2)
    x, test = rng.normal(size=(250, 9)) + 1, rng.normal(size=(80, 9)) + 1
    y, truth = (rows@np.arange(9) + 3 + rng.normal(size=len(rows)) for rows in (x, test))
    for intercept in (False, True):
        found = score_task(make_task(y, truth, numbers=True, folds=1, intercept=intercept), x, test)
        one = found['max', 'linear']
        theirs = LinearRegression(fit_intercept=intercept).fit(x, y).predict(test)
        assert one.scores[0] == pytest.approx(r2_score(truth, theirs))
        assert one.beside[0] == pytest.approx(mean_absolute_error(truth, theirs))
        assert one.spread == 'test rows' and one.rows == 250


# ---- scores and spreads

@few
@given(st.integers(0, 999), st.integers(2, 6), st.integers(10, 60))
def test_resampled_scores_are_those_of_repeated_rows(seed, classes, rows):
    "Weights stand for rows that are there several times; classes that were not drawn are left out."
    rng = np.random.default_rng(seed)
    truth, said = rng.integers(0, classes, (2, rows))
    weights = resampled_rows(rows, 5, seed)
    with np.errstate(all='ignore'):
        for row, score in zip(weights, balanced_scores(said == truth, truth, weights)):
            again = truth.repeat(row), said.repeat(row)
            shares = [(again[1] == one)[again[0] == one].mean() for one in np.unique(again[0])]
            assert score == pytest.approx(np.mean(shares), abs=1e-6)


def test_spread_of_small_tables_is_over_folds_and_resamples():
    "As if every fold were scored on every resample, one after the other; of large ones over resamples."
    rng = np.random.default_rng(5)
    y, truth = np.repeat([0, 1, 2], (30, 25, 20)), rng.permutation(np.repeat([0, 1, 2], (40, 30, 20)))
    x, test = (each[:, None] + rng.normal(size=(len(each), 5)) for each in (y, truth))
    task = make_task(y, truth, folds=7)
    found = score_task(task, x, test)
    for predictor, k in (('knn1', 1), ('linear', 0)):
        scores = []
        for fold in task.trials['max']:
            if k: said = KNeighborsClassifier(1).fit(x[fold], y[fold]).predict(test)
            else:
                targets = np.where(y[fold][:, None] == np.arange(3), 1., -1.)
                said = (test@np.linalg.pinv(x[fold])@targets).argmax(1)
            scores += [balanced_accuracy_score(truth.repeat(row), said.repeat(row)) for row in task.weights]
        one = found['max', predictor]
        assert one.spread == 'folds and test rows'
        assert one.sd == pytest.approx(np.std(scores, ddof=1), rel=1e-5)
        assert one.draws.mean() == pytest.approx(np.mean(scores), rel=1e-6)
    ten = found['10', 'linear']
    assert ten.spread == 'folds' and ten.sd == pytest.approx(ten.scores.std(ddof=1))


def test_spread_of_small_tables_of_numbers():
    rng = np.random.default_rng(6)
    x, test = rng.normal(size=(87, 3)), rng.normal(size=(50, 3))
    y, truth = x[:, 0] + rng.normal(size=87), test[:, 0] + rng.normal(size=50)
    task = make_task(y, truth, numbers=True, folds=6)
    one = score_task(task, x, test)['max', 'linear']
    scores = [r2_score(truth, test@np.linalg.pinv(x[fold])@y[fold], sample_weight=row)
              for fold in task.trials['max'] for row in task.weights]
    assert len(one.scores) == 6 and one.spread == 'folds and test rows'
    assert one.sd == pytest.approx(np.std(scores, ddof=1), rel=1e-6)


def test_units_are_resampled_whole():
    "A hundred rows a field are one draw of luck: the interval is wider than that of rows."
    rng = np.random.default_rng(8)
    fields = np.arange(600)//100
    truth, y = fields % 2, np.arange(80) % 2
    x, test = y[:, None] + rng.normal(size=(80, 6)), truth[:, None] + rng.normal(size=(6, 6))[fields] \
        + .1*rng.normal(size=(600, 6))
    tasks = [make_task(y, truth, trials={'max': None}, units=units) for units in (None, fields)]
    rows, whole = (score_task(task, x, test)['max', 'linear'] for task in tasks)
    assert rows.mean == whole.mean
    assert np.diff(whole.interval) > 3*np.diff(rows.interval)


def test_paired_intervals_hold_the_truth():
    "Two sets that are equally good in truth: about 95 of 100 paired intervals hold zero."
    held, truth = 0, np.arange(240) % 2
    weights = resampled_rows(240)
    for world in range(300):
        rng = np.random.default_rng(world)
        hard = rng.random(240)
        pair = [(.8*hard + .2*rng.random(240)) < .6 for _ in range(2)]
        a, b = (Scored(trial='max', predictor='p', metric='balanced accuracy', shots=1, rows=2, sd=0.,
                       scores=balanced_scores(right, truth), beside=np.ones(1), spread='test rows',
                       draws=balanced_scores(right, truth, weights)) for right in pair)
        held += not difference(a, b).told
    assert 276 <= held <= 294


def test_ranks_of_a_chain():
    "The first overlaps the second, the second the third: one rank for all; the fourth lies apart."
    made = [Scored(trial='1', predictor='p', metric='m', shots=1, rows=2, scores=np.array([mean]), sd=0.,
                   beside=np.ones(1), draws=mean + np.tile([-.02, .02], 50), spread='test rows')
            for mean in (.9, .84, .78, .5)]
    assert ranks(made) == [1, 1, 1, 4] and ranks(made[::-1]) == [4, 1, 1, 1]
    assert chance_rescaled_error(.1, 4) == 1 and chance_rescaled_error(1., 4) == 0


# ---- chance

def test_shuffled_labels_are_at_chance():
    "The interval holds chance in 180 to 198 of 200 worlds whose labels say nothing."
    held = {}
    for world in range(200):
        rng = np.random.default_rng(world)
        x, test = rng.normal(size=(90, 6)), rng.normal(size=(240, 6))
        y, truth = rng.permutation(np.repeat([0, 1, 2], 30)), rng.permutation(np.repeat([0, 1, 2], 80))
        found = score_task(make_task(y, truth, trials={'10': 10, 'max': None}, folds=25, seed=world), x, test)
        for key, one in found.items():
            low, high = one.interval
            held[key] = held.get(key, 0) + (low <= 1/3 <= high)
    assert len(held) == 6
    assert all(180 <= count <= 198 for count in held.values()), held


def test_shuffled_rows_of_an_evaluation_are_at_chance():
    rng = np.random.default_rng(11)
    index = np.arange(300)
    frame = pd.DataFrame({'label': index % 4, 'split': np.where(index < 100, 'train', 'test')})
    found = evaluate(rng.normal(size=(300, 8)), frame, folds=50, beside=False).table()
    assert (abs(found.score - .25) < .08).all() and (found.ber_kappa > .9).all()


# ---- change

@few
@given(st.integers(0, 999))
def test_change_by_distance(seed):
    "Distances, the best threshold of either side, and balanced accuracy, computed anew."
    rng = np.random.default_rng(seed)
    before, after = rng.normal(size=(2, 80, 5))
    changed, train = rng.random(80) < .5, rng.random(80) < .5
    changed[:4], train[:4] = [True, False, True, False], [True, True, False, False]
    units = [each/np.linalg.norm(each, axis=1, keepdims=True) for each in (before, after)]
    distance = change_distance(before, after)
    assert np.allclose(distance, ((units[0] - units[1])**2).sum(1)/4)
    found = threshold_score(distance, changed, train, np.ones((3, (~train).sum()), np.uint8))
    for side, name in ((~train, 'optimistic'), (train, 'honest')):
        scores = [balanced_accuracy_score(changed[side], distance[side] > one) for one in THRESHOLDS]
        best = THRESHOLDS[int(np.argmax(np.round(scores, 6)))]
        assert getattr(found, f'{name}_threshold') == best
        judged = balanced_accuracy_score(changed[~train], distance[~train] > best)
        assert getattr(found, name) == pytest.approx(judged, abs=1e-6)


# ---- adversarial input

def test_constant_features_are_at_chance_and_finite():
    "Nothing to tell classes by: every predictor gives one class; R² is not above zero."
    y, truth = np.arange(60) % 3, np.arange(90) % 3
    found = score_task(make_task(y, truth, folds=5), np.ones((60, 4)), np.ones((90, 4)))
    assert all(np.allclose(one.scores, 1/3) and np.isfinite(one.draws).all() for one in found.values())
    zero = score_task(make_task(y, truth, folds=5), np.zeros((60, 4)), np.zeros((90, 4)))
    assert np.allclose(zero['max', 'linear'].scores, 1/3)


def test_a_test_row_that_was_trained_with_is_its_own_neighbour():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 64)), np.arange(60) % 3
    assert score_task(make_task(y, y, folds=5), x, x)['max', 'knn1'].mean == 1


def test_what_cannot_be_scored_is_refused():
    y = np.arange(60) % 3
    with pytest.raises(LabelError, match='two or more'): make_task(np.zeros(9, int), np.zeros(9, int))
    with pytest.raises(LabelError, match='same on both sides'): make_task(y, y % 2)
    with pytest.raises(LabelError, match='no spread'): make_task(y, y, units=np.zeros(60))
    with pytest.raises(ShapeError, match='finite'):
        holed = np.where(np.arange(60)[:, None] == 7, np.inf, 1.)
        score_task(make_task(y, y, folds=2), holed, np.ones((60, 1)))


def test_order_of_rows_and_threads_do_not_change_scores(monkeypatch):
    "Parts are added up in order; how many test rows a part has matters to no score."
    rng = np.random.default_rng(9)
    x, test = rng.normal(size=(80, 5)), rng.normal(size=(700, 5))
    y, truth = np.arange(80) % 2, np.arange(700) % 2
    task = make_task(y, truth, folds=9)
    whole = score_task(task, x, test)
    monkeypatch.setattr('alphaearth_nb.paper_protocol.AT_ONCE', 37)
    parts = score_task(task, x, test)
    for key, one in whole.items():
        assert (one.scores == parts[key].scores).all()
        assert np.allclose(one.draws, parts[key].draws, atol=1e-6) and one.sd == pytest.approx(parts[key].sd)
