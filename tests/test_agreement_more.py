"""Laws of what completes the comparison of fields: shifts, ranks of distances, drift against spread."""
import numpy as np
import pytest
from drawn_years import field, ground, turn, unit, years
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from alphaearth_nb.agreement import compare
from alphaearth_nb.core import AlphaEarthError
from alphaearth_nb.distance_ranks import distance_rank_agreement, rank_correlation
from alphaearth_nb.stability import drift, drift_of
from alphaearth_nb.shifts import shift_agreement
from alphaearth_nb.exact_agreement import whole_agreement

few = settings(max_examples=20)
whole = st.integers(0, 6)


def waves(south=0., east=0., seed=0):
    "Unit vectors (64, 80, 64) of a place of short waves that lies further south and east, seen with noise."
    y, x = np.mgrid[:64, :80].astype(float)
    parts = [np.sin((x - east)/(2.5 + k) + k)*np.cos((y - south)/(2 + k)) for k in range(6)]
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(6, 64))
    return unit(np.stack(parts, -1)@mixing + .3*rng.normal(size=(64, 80, 64)))


# ---- shifts

@pytest.mark.parametrize('shift', [(0, 0), (3, -2), (-1, 3)])
def test_a_shift_of_a_known_number_of_pixels_is_found(shift):
    "Also in a rotated space, in codes, and with a hole."
    other = waves(*shift, seed=1)@turn(4, .5)
    other[30:34, 20:50] = np.nan
    found = shift_agreement(field(waves(), '2024'), field(other, '2024').aef.codes(), sample=900, draws=30)
    assert found.best == shift and found.shifted == (shift != (0, 0))
    assert found.surface[3, 3] <= found.surface.max() == found.by_distance[0]
    assert found.by_distance[1] < found.by_distance[0] - .02
    assert ('misregistered' in found.sentence()) == (shift != (0, 0))


def test_a_part_of_a_pixel_is_found():
    moved = field(waves(-.4, 1.3, seed=1), '2024')
    found = shift_agreement(field(waves(), '2024'), moved, reach=2, sample=900, draws=30)
    assert np.allclose(found.finer, (-.4, 1.3), atol=.25)
    assert found.south.low - .2 <= -.4 <= found.south.high + .2


def test_the_surface_is_the_mean_cosine_where_no_rotation_is_needed():
    "At the true shift, two views without noise of their own agree fully."
    still = unit(waves())
    moved = np.roll(still, (1, 2), (0, 1))
    found = shift_agreement(field(still, '2024'), field(moved, '2024'), reach=2, sample=900, draws=20)
    assert found.best == (1, 2) and found.surface.max() == pytest.approx(1, abs=1e-5)


# ---- ranks

@few
@given(st.lists(st.tuples(whole, whole, st.integers(1, 3)), min_size=4, max_size=30))
def test_rank_correlation_is_that_of_scipy(rows):
    "Ties, constants, and things that count several times."
    one, other, times = np.array(rows, float).T
    found = rank_correlation(one, other, times[None])[0]
    one, other = (np.repeat(part, times.astype(int)) for part in (one, other))
    if np.ptp(one) == 0 or np.ptp(other) == 0: assert np.isnan(found)
    else: assert found == pytest.approx(stats.spearmanr(one, other).statistic, abs=1e-9)


def test_distance_ranks_do_not_see_a_rotation_and_see_noise():
    a, options = field(waves(), '2024'), dict(pairs=4000, sample=1500, draws=30, block_px=8)
    copy = distance_rank_agreement(a, field(waves()@turn(3, .5), '2024'), **options)
    noisy = distance_rank_agreement(a, field(waves(seed=1), '2024'), **options)
    noisier = distance_rank_agreement(a, field(unit(waves(seed=1) + .1*waves(9, 9, seed=2)
                                                     + .1*np.random.default_rng(0).normal(size=(64, 80, 64))),
                                               '2024'), **options)
    assert copy.value > .9999 and copy.low > .999
    assert noisier.value < noisy.value < .995 and noisy.low < noisy.value < noisy.high


def test_interval_of_the_sampled_pairs_holds_the_value_of_all():
    a, b = field(waves(), '2024'), field(waves(seed=1), '2024')
    every = [one.aef.vectors().reshape(-1, 64)[::4] for one in (a, b)]
    upper = np.triu_indices(len(every[0]), 1)
    exact = stats.spearmanr(*(1 - (part@part.T)[upper] for part in every)).statistic
    held = [distance_rank_agreement(a, b, pairs=3000, sample=2000, draws=60, block_px=8, seed=seed)
            for seed in range(3)]
    assert sum(one.low - .01 <= exact <= one.high + .01 for one in held) >= 2


# ---- drift

def test_drift_is_the_noise_that_was_put_in():
    fields, _ = years(5, noise=.03, part=0.)
    found = drift({year: fields[year] for year in (2017, 2018)}, sample=2000, draws=40)
    expected = .03**2*63                       # less where the noise lengthens what is made a unit again
    assert found.drift_aligned.value == pytest.approx(expected, rel=.15)
    assert found.drift.value > 1.3*found.drift_aligned.value
    assert found.nearer.value > .8 and found.share.value < .5


def test_drift_by_hand():
    "Plain distances, and distances between places, against a direct computation."
    rng = np.random.default_rng(0)
    places = unit(rng.normal(size=(300, 64)))
    vectors = {year: unit(places + .05*rng.normal(size=places.shape)) for year in (1, 2, 3)}
    found = drift_of(vectors, np.arange(300), draws=20)
    pairs = [(1 - (vectors[i]*vectors[j]).sum(1)).mean() for i, j in ((1, 2), (2, 3))]
    assert found.drift.value == pytest.approx(np.mean(pairs))
    assert found.across[0, 2] == pytest.approx((1 - (vectors[1]*vectors[3]).sum(1)).mean())
    every = 1 - vectors[2]@vectors[2].T
    assert found.spread.value == pytest.approx(every[~np.eye(300, dtype=bool)].mean(), abs=.02)
    assert found.by_gap[1].value == found.drift_aligned.value and set(found.by_gap) == {1, 2}


def test_a_stranger_is_nearer_in_half_of_the_cases():
    rng = np.random.default_rng(1)
    vectors = {year: unit(rng.normal(size=(2000, 64))) for year in range(2)}
    found = drift_of(vectors, np.arange(2000)//10, draws=20)
    assert found.nearer.value == pytest.approx(.5, abs=.05) and found.found.value < .01


def test_change_raises_drift_and_time_raises_it_more():
    fields, _ = years(6, part=.3)
    found = drift(fields, sample=1500, draws=20)
    assert found.aligned[0, 2] > 1.5*found.aligned[0, 1]
    assert found.to_dict()['by_gap']['2']['value'] > found.drift.low


def test_released_years_are_nearer_to_themselves(shared_data):
    "One area of the released embeddings: the numbers of the study, roughly."
    path = shared_data/'aef_china_8areas_2017_2024_int8.npz'
    if not path.is_file(): pytest.skip(f'{path.name} is not here; it is no part of the repository')
    from alphaearth_nb.codes import dequantize
    with np.load(path) as store:
        vectors = {year: dequantize(store[f'yunnan_eco__{year}']) for year in (2017, 2018, 2019)}
    found = drift_of(vectors, np.arange(500), draws=20)
    assert found.drift_aligned.value < .7*found.drift.value and found.nearer.value > .98


# ---- all pixels

@pytest.mark.parametrize('state', ['unit', 'codes'])
def test_all_pixels_say_what_a_sample_of_all_says(state):
    "Sums of products against the pixel by pixel computation of `compare`."
    vectors = waves(seed=1)@turn(2, .5)
    vectors[3:9, 50:60] = np.nan
    a, b = (getattr(field(one, '2024').aef, state)() for one in (waves(), vectors))
    exact = whole_agreement(a, b, seed=3, block_px=9, draws=20)
    sampled = compare(a, b, sample=10_000, seed=3, block_px=9, draws=20).intervals
    for name, one in exact.items():
        assert (one.value, one.low, one.high) == pytest.approx(
            (sampled[name].value, sampled[name].low, sampled[name].high), abs=1e-6), name


# ---- bad input

FIVE = np.ones((5, 64))
BAD = {
    'a long reach': (lambda a: shift_agreement(a, a, reach=20), 'at most 8'),
    'a small place': (lambda a: shift_agreement(a[:, :20, :20], a[:, :20, :20]), 'or more'),
    'no whole number': (lambda a: shift_agreement(a, a, sample=800.5), 'a whole number'),
    'other grids': (lambda a: shift_agreement(a, a[:, 1:]), 'like that of a'),
    'no field': (lambda a: distance_rank_agreement(a, 5), 'an embedding field'),
    'two numbers': (lambda a: rank_correlation([1, 2], [2, 1]), 'three finite'),
    'one year': (lambda a: drift({2017: a}), 'two years or more'),
    'two models': (lambda a: drift({2017: a, 2018: field(ground(1), '2018', 'other')}), 'the model'),
    'other places': (lambda a: drift_of({1: FIVE, 2: FIVE[1:]}, np.arange(5)), 'same places'),
    'NaN': (lambda a: drift_of({1: FIVE*np.nan, 2: FIVE}, np.arange(5)), 'every year'),
    'one block': (lambda a: drift_of({1: FIVE, 2: FIVE}, np.zeros(5, int)), 'four blocks'),
}


@pytest.mark.parametrize('name', BAD)
def test_bad_input_is_refused_in_one_sentence(name):
    work, words = BAD[name]
    with pytest.raises(AlphaEarthError) as caught: work(field(ground(0), '2017'))
    assert words in str(caught.value) and '\n' not in str(caught.value) and str(caught.value).endswith('.')
