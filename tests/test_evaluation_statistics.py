"""Statistics of the evaluation against scikit-learn and brute force: ties, constants, duplicates, gaps."""
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, f1_score, r2_score

from alphaearth_nb.evaluation import evaluate
from alphaearth_nb.paper_protocol import make_task, score_task
from alphaearth_nb.paper_scores import (
    balanced_scores, chance_rescaled_error, difference, macro_f1, number_bins, r_squared, ranks,
    resampled_rows,
)

few = settings(max_examples=40, deadline=None, derandomize=True, database=None)


@few
@given(st.integers(0, 9999), st.integers(2, 6), st.integers(0, 4))
def test_scores_of_classes_are_those_of_scikit_learn(seed, classes, constant):
    "Balanced accuracy and macro-F1, of predictors that never name a class and of those that name one only."
    rng = np.random.default_rng(seed)
    truth = np.concatenate([np.arange(classes), rng.integers(0, classes, 40)])
    called = np.full_like(truth, constant % classes) if constant else rng.integers(0, classes, len(truth))
    right = called == truth
    assert balanced_scores(right, truth)[0] == pytest.approx(balanced_accuracy_score(truth, called), abs=1e-6)
    hits = np.bincount(truth, right, classes)
    ours = macro_f1(hits, np.bincount(called, minlength=classes), np.bincount(truth))
    assert ours == pytest.approx(f1_score(truth, called, average='macro'))
    error = chance_rescaled_error(balanced_accuracy_score(truth, called), classes)
    adjusted = balanced_accuracy_score(truth, called, adjusted=True)
    assert error == pytest.approx(min(1, 1 - adjusted))


@few
@given(st.integers(0, 9999), st.sampled_from(['any', 'constant', 'ties', 'far']))
def test_weighted_r_squared_is_that_of_scikit_learn(seed, how):
    "Also where the mean is a million times the spread, and where many numbers are equal."
    rng = np.random.default_rng(seed)
    truth, found = rng.normal(size=(2, 60))
    if how == 'constant': found = np.full(60, found[0])
    if how == 'ties': truth, found = np.round(truth), np.round(found)
    if how == 'far': truth, found = truth + 1e6, found + 1e6
    weights = resampled_rows(60, 5, seed)
    for row, score in zip(weights, r_squared((truth - found)**2, truth, weights)):
        assert score == pytest.approx(r2_score(truth, found, sample_weight=row), rel=1e-6, abs=1e-6)
    assert r_squared((truth - found)**2, truth)[0] == pytest.approx(r2_score(truth, found), abs=1e-6)


@few
@given(st.integers(0, 9999), st.integers(10, 200), st.booleans())
def test_bins_have_equally_many_numbers(seed, rows, tied):
    "Sizes differ by one at most, ties or not, and no number of a bin exceeds one of the next."
    numbers = np.random.default_rng(seed).lognormal(size=rows)
    if tied: numbers = np.round(numbers)
    bins = number_bins(numbers)
    assert set(bins) == set(range(10)) and np.ptp(np.bincount(bins)) <= 1
    assert all(numbers[bins == one].max() <= numbers[bins == one + 1].min() for one in range(9))


def test_bins_of_the_paper_are_closed_at_their_lower_ends():
    edges = [0., 20, 40, 60]
    numbers = np.array([-5, 0, 19.9, 20, 40, 59, 60, 99])
    assert number_bins(numbers, edges).tolist() == [0, 0, 0, 1, 2, 2, 2, 2]


def test_two_scores_cancel_what_is_hard_for_both():
    "The interval of a difference is that of the differences, fold by fold and resample by resample."
    from scipy import stats
    rng = np.random.default_rng(0)
    y, truth = np.arange(90) % 3, np.arange(150) % 3
    shared = [rng.normal(size=(len(each), 4)) + np.eye(3, 4)[each] for each in (y, truth)]
    task = make_task(y, truth, folds=20)
    a, b = (score_task(task, *(each + noise*rng.normal(size=each.shape) for each in shared))
            for noise in (.1, .3))
    for key in a:
        one = difference(a[key], b[key])
        off, drawn = a[key].scores - b[key].scores, a[key].draws - b[key].draws
        folds = off.var(ddof=1)/len(off) if len(off) > 1 else 0
        half = stats.t.ppf(.975, 99)*np.sqrt(drawn.var(ddof=1) + folds)
        ends = off.mean() - half, off.mean() + half, half
        assert (one.low, one.high, one.detectable) == pytest.approx(ends)
        assert one.detectable < (np.diff(a[key].interval) + np.diff(b[key].interval))[0]/2


@few
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, .3)), min_size=1, max_size=7))
def test_ranks_are_those_of_groups_that_overlap(pairs):
    "Sets that are linked by overlaps share a rank; each group is ranked behind all that lie above it."
    class Ends:
        def __init__(self, low, high): self.interval = (low, high)
    ends = [(middle - width, middle + width) for middle, width in pairs]
    given_, group = ranks([Ends(*each) for each in ends]), list(range(len(ends)))
    for _ in ends:
        for i, one in enumerate(ends):
            for j, other in enumerate(ends):
                if one[0] <= other[1] and other[0] <= one[1]: group[j] = group[i] = min(group[i], group[j])
    for i in range(len(ends)):
        above = sum(ends[j][0] > ends[i][1] for j in range(len(ends)) if group[j] != group[i])
        assert given_[i] == 1 + above
        assert all((given_[i] == given_[j]) == (group[i] == group[j]) for j in range(len(ends)))


def table(rows:int=300, seed:int=0) -> tuple[pd.DataFrame, np.ndarray]:
    "Three classes of unequal size, and features that know them."
    rng, index = np.random.default_rng(seed), np.arange(rows)
    label = rng.choice(3, rows, p=[.2, .3, .5])
    frame = pd.DataFrame({'label': label, 'split': np.where(index % 3, 'test', 'train')})
    return frame, np.eye(3, 8)[label] + rng.normal(size=(rows, 8))


def test_predictors_beside_the_paper_are_those_of_scikit_learn():
    "Fitted on the first fold of the largest trial; logistic regression on scaled components."
    frame, x = table()
    train = (frame.split == 'train').to_numpy()
    found = evaluate(x, frame, trials=['max'], folds=3, seed=5)
    rows = make_task(frame.label[train], frame.label[~train], trials={'max': None}, seed=5).trials['max'][0]
    y, truth = frame.label[train].to_numpy(), frame.label[~train].to_numpy()
    forest = RandomForestClassifier(100, random_state=5).fit(x[train][rows], y[rows])
    centre, scale = x[train].mean(0), x[train].std(0)
    logistic = LogisticRegression(C=1., max_iter=300).fit((x[train][rows] - centre)/scale, y[rows])
    for name, said in (('forest', forest.predict(x[~train])),
                       ('logistic', logistic.predict((x[~train] - centre)/scale))):
        one = found.beside['features']['max', name]
        assert one.mean == pytest.approx(balanced_accuracy_score(truth, said), abs=1e-6)
        assert one.beside[0] == pytest.approx(f1_score(truth, said, average='macro'))


def test_forest_of_numbers_is_that_of_scikit_learn():
    frame, x = table()
    frame['label'] = x[:, 0] + .3*x[:, 1]**2
    train = (frame.split == 'train').to_numpy()
    found = evaluate(x, frame, trials=['max'], folds=2, seed=1)
    y = frame.label.to_numpy()
    rows = make_task(y[train], y[~train], True, {'max': None}, seed=1).trials['max'][0]
    forest = RandomForestRegressor(100, random_state=1).fit(x[train][rows], y[train][rows])
    theirs = r2_score(y[~train], forest.predict(x[~train]))
    assert found.beside['features']['max', 'forest'].mean == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize('how', ['duplicates', 'constant column', 'huge', 'one value'])
def test_adversarial_features_are_scored_like_the_slow_way(how):
    "Rows twice, a column that says nothing, huge numbers, all rows equal: the nearest row, by brute force."
    frame, x = table(150, 3)
    x = np.round(2*x)                              # so that equal distances are equal to the last bit
    if how == 'duplicates': x[1::2] = x[::2]
    if how == 'constant column': x[:, 2] = 7
    if how == 'huge': x = x*2.**40
    if how == 'one value': x[:] = 3
    train = (frame.split == 'train').to_numpy()
    y, truth = frame.label[train].to_numpy(), frame.label[~train].to_numpy()
    task = make_task(y, truth, folds=4)
    found = score_task(task, x[train], x[~train])
    for trial, folds in task.trials.items():
        for i, fold in enumerate(folds):
            far = ((x[~train][:, None] - x[train][fold])**2).sum(-1)
            said = y[fold][far.argsort(1, kind='stable')[:, 0]]
            assert found[trial, 'knn1'].scores[i] == pytest.approx(balanced_accuracy_score(truth, said))
    assert all(np.isfinite(one.scores).all() and np.isfinite(one.draws).all() for one in found.values())
