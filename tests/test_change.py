"""Laws of change: promised shares of false alarms come true on fields of known change; copies have none."""
import numpy as np
import pytest
from drawn_years import GRID, field, ground, turn, unit, years
from hypothesis import given, settings
from hypothesis import strategies as st

from alphaearth_nb.background import Law, false_alarms, fit_background
from alphaearth_nb.changes import change, stable_rotation
from alphaearth_nb.inspection import pixels_lonlat
from alphaearth_nb.periods import to_ms
from alphaearth_nb.signals import true_values
from alphaearth_nb.synthetic import SyntheticWorld

few = settings(max_examples=15)


@pytest.fixture(scope='module')
def drawn(): return years(0)


@pytest.fixture(scope='module')
def found(drawn): return change({2017: drawn[0][2017], 2024: drawn[0][2024]})


# ---- the promise

def noise_of(kind, rng, count):
    "Halves of squared lengths of noise (n,), in directions alike or not, at pixels alike or not."
    strength = {'alike': np.full(63, .02), 'steep': .05*np.exp(-np.arange(63)/8),
                'uneven': .05*np.exp(-np.arange(63)/10)}[kind]
    level = np.exp(.25*rng.normal(size=(count, 1))) if kind == 'uneven' else 1
    return rng.normal(size=(count, 63))*strength*level


@pytest.mark.parametrize('share', [.05, .35])
@pytest.mark.parametrize('kind', ['alike', 'steep', 'uneven'])
def test_promised_share_of_false_alarms_comes_true(kind, share):
    "Its mean over places lies within three standard errors of the promise, or below where noise is uneven."
    realised = {.2: [], .05: []}
    for seed in range(8):
        rng, stable = np.random.default_rng(seed), 15_000
        count = int(stable*share/(1 - share))
        moved = noise_of(kind, rng, stable + count)
        moved[stable:] += rng.normal(size=(count, 63))/8*.5*rng.uniform(.3, 1.5, (count, 1))
        distance = np.square(moved).sum(1)/2
        calls = false_alarms(distance, fit_background(distance))
        for rate, shares in realised.items():
            called = distance >= calls.threshold(rate)
            shares.append(called[:stable].sum()/max(1, called.sum()))
    for rate, shares in realised.items():
        mean, error = np.mean(shares), np.std(shares, ddof=1)/np.sqrt(len(shares))
        assert mean < rate + 3*error + .1*rate, (rate, shares)
        if kind == 'alike': assert mean > rate - 3*error - .15*rate, (rate, shares)


def test_two_quiet_years_show_a_tail_that_no_law_has():
    rng = np.random.default_rng(0)
    level = np.where(rng.random(20_000) < .2, 3., 1.)
    year = lambda factor: factor*level*np.square(noise_of('alike', rng, 20_000)).sum(1)/2
    distance, quiet = np.concatenate([year(1.), rng.uniform(.3, .6, 1000)]), year(1.7)
    alone, helped = (false_alarms(distance, fit_background(distance, one)) for one in (None, quiet))
    false = [(distance[:20_000] >= one.threshold(.05)).sum()/(distance >= one.threshold(.05)).sum()
             for one in (alone, helped)]
    assert false[0] > .3 and .02 < false[1] < .09


@pytest.mark.parametrize('seed', range(2))
def test_planted_change_is_found_with_the_promised_false_alarms(seed):
    fields, truth = years(10 + seed)
    called = change(fields).called(.1).values
    assert called[truth].mean() > .98
    assert .05 < (~truth[called]).mean() < .16


@few
@given(st.floats(-.4, .4), st.floats(.1, .5), st.floats(.02, .98))
def test_law_and_its_quantiles(power, spread, share):
    law = Law(unit=.01, power=power, middle=-.2, spread=spread)
    assert np.isclose(law.below(law.quantile(share)), share, atol=1e-6)


@few
@given(st.integers(0, 2**31), st.floats(.02, .3))
def test_thresholds_rise_as_promises_get_stricter(seed, part):
    rng = np.random.default_rng(seed)
    distance = np.concatenate([rng.gamma(8, .002, 3000), rng.uniform(.05, .4, int(3000*part))])
    calls = false_alarms(distance, fit_background(distance))
    thresholds = [calls.threshold(rate) for rate in (.5, .2, .05, .01)]
    assert thresholds == sorted(thresholds)
    assert (np.diff(calls.false) <= 0).all() and (np.diff(calls.beyond) <= 0).all()
    direct = [(distance >= knot).mean() for knot in calls.knots[::300]]
    assert np.allclose(direct, calls.beyond[::300])


# ---- what is no change

@pytest.mark.parametrize('state', ['unit', 'codes'])
def test_a_rotated_copy_has_not_changed(state):
    place = ground(3)
    pair = {2017: field(place, '2017'), 2024: field(place@turn(5, .05), '2024')}
    if state == 'codes': pair = {year: one.aef.codes() for year, one in pair.items()}
    found = change(pair)
    assert found.called(.05).mean() < 1e-3 and found.facts['left'] < .01*found.facts['drift']


def test_noise_alone_is_no_change():
    fields, _ = years(4, part=0.)
    assert change(fields).called(.05).mean() < 1e-3


def test_raw_distance_would_have_called_the_drift(drawn):
    pair = {year: drawn[0][year] for year in (2017, 2024)}
    turned, raw = change(pair), change(pair, align=False)
    assert np.nanmedian(raw.distance) > 1.5*np.nanmedian(turned.distance)
    assert turned.facts['drift'] == pytest.approx(raw.facts['left'])


def test_rotation_is_not_moved_by_what_changed():
    place, other = ground(7).reshape(-1, 64), ground(8).reshape(-1, 64)
    rng, part = np.random.default_rng(0), np.arange(len(place)) < .3*len(place)
    old = unit(place + .02*rng.normal(size=place.shape))
    new = unit(np.where(part[:, None], other, place)@turn(1) + .02*rng.normal(size=place.shape))
    found = stable_rotation(old, new)
    away = 1 - np.einsum('nc,nc->n', place@found, place@turn(1))
    assert away[~part].max() < 2e-3
    assert np.allclose(found@found.T, np.eye(64))


# ---- symmetries

def test_time_runs_either_way(found, drawn):
    "The same two years, one called the other, lie as far apart."
    back = change({2017: field(drawn[0][2024].aef.vectors(), '2017'),
                   2024: field(drawn[0][2017].aef.vectors(), '2024')})
    assert np.allclose(back.distance, found.distance, atol=1e-5)


def test_years_are_sorted_and_may_be_chosen(drawn):
    fields = drawn[0]
    mixed = change({year: fields[year] for year in (2024, 2017, 2018)}, between=(2018, 2017), quiet=False)
    assert mixed.between == ('2017', '2018') and list(mixed.fields) == ['2017', '2018', '2024']
    assert mixed.called(.05).mean() < 1e-3


def test_codes_say_what_unit_vectors_say(found, drawn):
    codes = change({year: drawn[0][year].aef.codes() for year in (2017, 2024)})
    assert (codes.called(.05) == found.called(.05)).mean() > .98


def test_pixels_without_data_are_never_called_nor_counted(drawn):
    vectors = drawn[0][2024].aef.vectors().copy()
    vectors[20:30, 20:40] = np.nan
    found = change({2017: drawn[0][2017], 2024: field(vectors, '2024')})
    assert np.isnan(found.distance[20:30, 20:40]).all() and np.isnan(found.p()[25, 25])
    assert not found.called(.5)[20:30, 20:40].any()
    assert found.calls.pixels == 64*80 - 200


def test_map_is_the_same_from_dask(found, drawn):
    pair = {year: drawn[0][year].chunk(y=20) for year in (2017, 2024)}
    assert np.allclose(change(pair).distance, found.distance, atol=1e-6)


# ---- the synthetic Earth

def test_change_of_the_synthetic_earth_is_found_at_its_date():
    "Reflectance of six dates a year, put onto the sphere; the parcels change at New Year 2021."
    world = SyntheticWorld(3, (64, 80), start='2019-01-01', days=1096, change='2021-01-01')
    lands = {2019: world.land, 2020: world.land, 2021: world.land_after}
    rng, seen = np.random.default_rng(0), {}
    for year, land in lands.items():
        days = to_ms([f'{year}-{month:02d}-15' for month in (2, 4, 5, 7, 9, 11)])
        values = true_values(land, 'sentinel2', ('B02', 'B04', 'B08', 'B11'), days)   # (n, c, h, w)
        seen[year] = values.reshape(24, -1).T
    centre, spread = seen[2019].mean(0), seen[2019].std(0)
    mixing = rng.normal(size=(24, 64))
    fields = {}
    for year, values in seen.items():
        vectors = 2 + ((values - centre)/spread)@mixing/5 + .4*rng.normal(size=(64*80, 64))
        fields[year] = field(unit(vectors).reshape(64, 80, 64), str(year))
    truth = world.class_at('2021-06-01') != world.class_at('2020-06-01')
    found, alone = change(fields), change(fields, quiet=False)
    called = found.called(.1).values
    assert truth.any() and called[truth].mean() > .25 and (~truth[called]).mean() < .15
    # the weather of a year moves some classes more than others, which two years cannot tell from change
    assert (~truth[alone.called(.1).values]).mean() > .3 and 'stable year would tell' in alone.notes[0]
    spot = np.argwhere(truth & called)[0]
    lon, lat = pixels_lonlat(GRID, spot[:1], spot[1:])
    path = found.trajectory(lon[0], lat[0])
    assert path[2]['p'] < .05 and path[2]['cosine'] < path[1]['cosine']


def test_the_background_is_no_lucky_pair_of_years():
    "Two years happen to be calm everywhere; the others have pixels that always move more, changed or not."
    rng, place = np.random.default_rng(0), ground(0)
    restless = np.exp(.6*rng.normal(size=(*GRID.shape, 1)))
    strength = {year: .02*(1 if year in (2019, 2020) else restless) for year in range(2017, 2023)}
    seen = {year: unit(place + part*rng.normal(size=place.shape)) for year, part in strength.items()}
    truth = np.zeros(GRID.shape, bool)
    truth[5:15, 10:40] = True
    seen[2022][truth] = ground(7)[truth]
    fields = {year: field(vectors, str(year)) for year, vectors in seen.items()}
    chosen, lucky = (change(fields, (2021, 2022), quiet=quiet) for quiet in (None, (2019, 2020)))
    assert chosen.facts['quiet'] not in (('2019', '2020'), ('2021', '2022'))
    false = [(~truth[one.called(.05).values]).mean() for one in (chosen, lucky)]
    assert false[0] <= .07 and false[1] > .5 and chosen.called(.05).values[truth].mean() > .9
