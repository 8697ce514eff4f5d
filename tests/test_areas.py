"""Areas and accuracies from probability samples: the published example, an independent way, and coverage."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphaearth_nb.core import AlphaEarthError
from alphaearth_nb.area_estimates import design_areas, matrix_sample

few = settings(max_examples=40, deadline=None, derandomize=True, database=None)
COUNTS = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])   # Olofsson 2014, table 8
PIXELS = np.array([200_000, 150_000, 3_200_000, 6_450_000])


def by_the_equations(counts:np.ndarray, pixels:np.ndarray) -> dict:
    "Equations 1 to 11 of Olofsson et al. 2014, one by one, from the error matrix."
    drawn, weight = counts.sum(1), pixels/pixels.sum()
    shares = weight[:, None]*counts/drawn[:, None]
    users, producers = np.diag(counts)/drawn, np.diag(shares)/shares.sum(0)
    inner = counts/drawn[:, None]*(1 - counts/drawn[:, None])/(drawn[:, None] - 1)
    area_se = np.sqrt((weight[:, None]**2*inner).sum(0))
    users_se = np.sqrt(users*(1 - users)/(drawn - 1))
    overall_se = np.sqrt((weight**2*users*(1 - users)/(drawn - 1)).sum())
    found = (pixels[:, None]*counts/drawn[:, None]).sum(0)
    producers_se = []
    for j in range(len(counts)):
        others = [i for i in range(len(counts)) if i != j]
        own = pixels[j]**2*(1 - producers[j])**2*users[j]*(1 - users[j])/(drawn[j] - 1)
        rest = producers[j]**2*sum(pixels[i]**2*inner[i, j] for i in others)
        producers_se.append(np.sqrt(own + rest)/found[j])
    return {'share': shares.sum(0), 'share_se': area_se, 'users': users, 'users_se': users_se,
            'producers': producers, 'producers_se': np.array(producers_se), 'overall': np.diag(shares).sum(),
            'overall_se': overall_se, 'matrix': shares}


def test_the_published_example():
    "235,086 pixels of deforestation, ± 68,418; 21,158 ± 6,158 hectares."
    area = PIXELS.sum()*.09
    sizes = dict(enumerate(PIXELS))
    found = design_areas(*matrix_sample(COUNTS), sizes=sizes, total=area, unit='ha')
    lost = found.areas[0]
    assert lost.value == pytest.approx(21_158, abs=.5) and 1.96*lost.se == pytest.approx(6_158, abs=.6)
    assert lost.value/.09 == pytest.approx(235_086, abs=1)
    assert 1.96*lost.se/.09 == pytest.approx(68_418, abs=5)
    assert [round(found.users[one].value, 2) for one in range(4)] == [.88, .73, .93, .96]
    assert [round(found.producers[one].value, 2) for one in range(4)] == [.75, .85, .93, .96]
    assert round(found.overall.value, 2) == .95 and round(1.96*found.overall.se, 2) == .02
    assert found.mapped == pytest.approx(dict(enumerate(PIXELS/PIXELS.sum())))


@few
@given(st.integers(0, 9999), st.integers(2, 5))
def test_the_equations_one_by_one(seed, k):
    "Random matrices and sizes so large that the correction for finite regions vanishes."
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 20, (k, k)) + 30*np.eye(k, dtype=int) + 2
    pixels = rng.integers(1, 50, k)*1e9
    found = design_areas(*matrix_sample(counts), sizes=dict(enumerate(pixels)))
    known = by_the_equations(counts, pixels)
    for name in ('share', 'users', 'producers'):
        mine = [getattr(found, name)[one] for one in range(k)]
        assert np.allclose([one.value for one in mine], known[name])
        assert np.allclose([one.se for one in mine], known[f'{name}_se'], rtol=1e-6)
    assert found.overall.value == pytest.approx(known['overall'])
    assert found.overall.se == pytest.approx(known['overall_se'])
    assert np.allclose(found.matrix, known['matrix'])


@few
@given(st.integers(0, 9999), st.integers(20, 200))
def test_a_simple_sample_is_the_binomial_one(seed, n):
    "One stratum: shares of the sample, sqrt(p (1 − p)/(n − 1)), less where much of the region was drawn."
    rng = np.random.default_rng(seed)
    reference = rng.integers(0, 3, n)
    mapped = np.where(rng.random(n) < .8, reference, rng.integers(0, 3, n))
    found, whole = design_areas(mapped, reference), design_areas(mapped, reference, sizes=2*n)
    for one in np.unique(reference):
        p = (reference == one).mean()
        assert found.share[one].value == pytest.approx(p) == whole.share[one].value
        assert found.share[one].se == pytest.approx(np.sqrt(p*(1 - p)/(n - 1)))
        assert whole.share[one].se == pytest.approx(found.share[one].se/np.sqrt(2))
    assert sum(one.value for one in found.share.values()) == pytest.approx(1)


def test_proportional_strata_are_nearly_a_simple_sample():
    "The same estimate; an interval that is no wider."
    rng = np.random.default_rng(1)
    strata = np.repeat([0, 1, 2], (200, 300, 500))
    mapped, reference = strata, np.where(rng.random(1000) < .9, strata, rng.integers(0, 3, 1000))
    sizes = {0: 2e9, 1: 3e9, 2: 5e9}
    one, other = design_areas(mapped, reference, sizes=sizes), design_areas(mapped, reference)
    for name in range(3):
        assert one.share[name].value == pytest.approx(other.share[name].value)
        assert one.share[name].se < other.share[name].se
        assert one.producers[name].value == pytest.approx(other.producers[name].value)


def test_strata_that_are_not_the_classes_of_the_map():
    "Strata by elevation, say: weighted means of the strata, as by hand."
    rng = np.random.default_rng(2)
    strata = np.repeat(['low', 'high'], (150, 50))
    reference = np.where(rng.random(200) < np.where(strata == 'low', .7, .2), 'forest', 'open')
    mapped = np.where(rng.random(200) < .85, reference, 'open')
    found = design_areas(mapped, reference, strata, {'low': 9_000_000, 'high': 1_000_000})
    by_hand = .9*(reference[:150] == 'forest').mean() + .1*(reference[150:] == 'forest').mean()
    assert found.share['forest'].value == pytest.approx(by_hand)
    assert found.mapped['forest'] == pytest.approx(
        .9*(mapped[:150] == 'forest').mean() + .1*(mapped[150:] == 'forest').mean())


@pytest.mark.parametrize('design', ['simple', 'stratified'])
def test_intervals_hold_the_truth(design):
    """Between 93 and 97 in 100 of a thousand samples, of areas and of accuracies alike.

    With 100 places a stratum instead of 300, normal intervals of the producer's accuracy hold in 92 of 100.
    """
    rng = np.random.default_rng(0)
    truth = rng.choice(3, 40_000, p=[.2, .3, .5])
    on_map = np.where(rng.random(40_000) < .8, truth, rng.integers(0, 3, 40_000))
    share, users = (truth == 0).mean(), (truth[on_map == 0] == 0).mean()
    producers, overall = (on_map[truth == 0] == 0).mean(), (truth == on_map).mean()
    members, held = [np.flatnonzero(on_map == one) for one in range(3)], np.zeros(4)
    sizes = {one: len(rows) for one, rows in enumerate(members)}
    for world in range(1000):
        rng = np.random.default_rng([world, 5])
        drawn = rng.choice(40_000, 900, replace=False) if design == 'simple' else \
            np.concatenate([rng.choice(rows, 300, replace=False) for rows in members])
        found = design_areas(on_map[drawn], truth[drawn], sizes=40_000 if design == 'simple' else sizes)
        pairs = ((found.share[0], share), (found.users[0], users), (found.producers[0], producers),
                 (found.overall, overall))
        held += [one.low <= value <= one.high for one, value in pairs]
    assert (held >= 930).all() and (held <= 970).all(), held


BAD = {
    'Draw places from every stratum': dict(mapped=[0, 0, 1], reference=[0, 1, 1], sizes={0: 9, 1: 9, 2: 9}),
    'two places or more': dict(mapped=[0, 0, 1], reference=[0, 1, 1], sizes={0: 9, 1: 9}),
    'no more than there are pixels': dict(mapped=[0, 0, 1, 1], reference=[0, 1, 1, 1], sizes={0: 1, 1: 9}),
    'a stratified sample': dict(mapped=[0, 1], reference=[0, 1], strata=[0, 1]),
    'both \\(n,\\)': dict(mapped=[0, 1], reference=[0, 1, 1]),
    'look at it': dict(mapped=[0., np.nan], reference=[0., 1.]),
    'as mapped': dict(mapped=[0, 1], reference=[0, 1], strata=[0], sizes={0: 5})}


@pytest.mark.parametrize('words', BAD)
def test_samples_that_are_refused(words):
    with pytest.raises(AlphaEarthError, match=words) as error: design_areas(**BAD[words])
    assert str(error.value).count('\n') == 0


def test_what_cannot_be_known_is_said():
    "A class that was never met on the map has no user's accuracy; few places and no errors are named."
    found = design_areas([0, 0, 1, 1], [0, 2, 1, 1], sizes={0: 1000, 1: 1000})
    assert np.isnan(found.users[2].value) and found.producers[2].value == 0
    assert 'Fewer than 10 places' in found.notes[0]
    assert 'No error was met in what the map calls 1' in found.notes[1]
    assert 0 <= found.share[2].low and found.share[2].high <= 1
