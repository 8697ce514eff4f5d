"""The studies on real data: pages that say what was measured, and rules that keep what they promise."""
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def studies(monkeypatch): monkeypatch.syspath_prepend(str(ROOT/'tests'/'studies'))


@pytest.fixture
def told() -> dict:
    import evaluations
    return evaluations.told()


@pytest.fixture
def cells() -> list[str]:
    import evaluations
    book = json.loads(evaluations.NOTEBOOK.read_text(encoding='utf-8'))
    return [''.join(cell['source']) for cell in book['cells']]


def test_every_study_was_made(told):
    import evaluations
    assert sorted(told) == sorted(evaluations.STUDIES)


def test_the_page_of_all_scores_says_what_was_measured(told):
    "Page and figures come from one command; a number changed in one of them only is seen here."
    import evaluations
    written = evaluations.PAGE.read_text(encoding='utf-8')
    assert evaluations.page(told) == written, 'run: python tests/studies/evaluations.py page'


@pytest.mark.parametrize('study', 'abcde')
def test_the_table_of_the_page_says_what_was_measured(told, cells, study):
    import evaluations
    table = evaluations.tables(told)[study][0]
    assert cells.count(table) == 1, 'run: python tests/studies/evaluations.py page'
    assert any(f'python tests/studies/evaluations.py {study}' in cell for cell in cells), 'no command'


def test_a_changed_number_is_put_back(told, cells, tmp_path):
    "Tables are found by their head; what stands around them stays, and a table without a place is named."
    import evaluations
    path, tables = tmp_path/'page.ipynb', evaluations.tables(told)
    wrong = tables['a'][0].replace('random points | ', 'random points | 99')
    book = {'cells': [{'cell_type': 'markdown', 'source': text} for text in ('Words.', wrong)]}
    path.write_text(json.dumps(book), encoding='utf-8')
    assert evaluations.put_tables(told, path) == ['b', 'c', 'd', 'e']
    found = [cell['source'] for cell in json.loads(path.read_text(encoding='utf-8'))['cells']]
    assert found == ['Words.', tables['a'][0]]


@pytest.mark.parametrize('study', 'abcde')
def test_a_study_without_its_data_stops_with_the_reason(study, monkeypatch, tmp_path):
    import evaluations
    import evaluations_common
    monkeypatch.setattr(evaluations_common, 'DATA', tmp_path)
    with pytest.raises(SystemExit, match='is not here; it is no part of the repository'):
        evaluations.module(study).measure(tmp_path)


# ---- rules

def scattered(count:int=900, seed:int=0) -> tuple[np.ndarray, pd.DataFrame]:
    "Points of a degree, a fifth of them a few metres from another, and three classes."
    rng = np.random.default_rng(seed)
    points = rng.random((count, 2)) + [-95.9, 41.5]
    points[::5] = points[1::5] + rng.normal(0, 2e-5, (len(points[::5]), 2))
    return points, pd.DataFrame({'x': points[:, 0], 'y': points[:, 1], 'label': rng.integers(0, 3, count)})


def apart_km(one:np.ndarray, other:np.ndarray) -> np.ndarray:
    "Distances (n, m) by the haversine formula, another way than the studies take."
    (lon, lat), (east, north) = (np.radians(each).T for each in (one, other))
    half = np.sin((lat[:, None] - north)/2)**2
    half = half + np.cos(lat)[:, None]*np.cos(north)*np.sin((lon[:, None] - east)/2)**2
    return 2*6371.009*np.arcsin(np.sqrt(half))


def test_blocked_points_keep_their_distance():
    "No square is on both sides, and no test point lies within the paper's spacing of one to train with."
    from evaluations_classes import blocked
    from evaluations_common import blocks
    points, labels = scattered()
    squares = blocks(points, 10)
    for split in blocked(labels, squares, 4):
        assert split.train.any() and split.test.any() and not (split.train & split.test).any()
        assert not set(squares[split.train]) & set(squares[split.test])
        assert apart_km(points[split.test], points[split.train]).min() >= 1.28 - 1e-6


def test_squares_are_as_large_as_they_say():
    from evaluations_common import blocks
    points, _ = scattered()
    squares = blocks(points, 10)
    largest = max(apart_km(points[squares == one], points[squares == one]).max() for one in set(squares))
    assert 8 < largest <= 10*np.sqrt(2)*1.01


def test_halves_of_a_metro_are_judged_alike_by_both_rules():
    "The same tracts are tested, as many train, and the metro trains by one rule only."
    from evaluations_tracts import halves
    metro = np.repeat(['one', 'two', 'three'], [40, 25, 11])
    for name in ('one', 'two', 'three'):
        sides = halves(metro, name, np.random.default_rng(0))
        assert (sum(side['test'].astype(int) for side in sides) == (metro == name)).all()
        for side in sides:
            assert side['random'].sum() == side['out'].sum() == (metro != name).sum()
            assert not (side['test'] & (side['random'] | side['out'])).any()
            assert not (metro[side['out']] == name).any() and (metro[side['random']] == name).any()


def test_the_error_ratio_is_one_where_nothing_differs_and_two_where_errors_double():
    from evaluations_tracts import dearer
    known = {str(one): [.5, float(error)] for one, error in enumerate(np.linspace(1, 9, 8))}
    doubled = {name: [score, 2*error] for name, (score, error) in known.items()}
    assert dearer({'out': known, 'random': known}) == {'value': 1., 'low': 1., 'high': 1.}
    assert dearer({'out': doubled, 'random': known})['value'] == pytest.approx(2)


def test_components_are_put_together_as_one_regression_would_be():
    "The weighted mean of R² is one minus all squared errors over all squared deviations."
    from types import SimpleNamespace

    from evaluations_radar import together
    rng = np.random.default_rng(0)
    truth, said = rng.normal(size=(60, 5))*[1, 2, 3, 4, .1], rng.normal(size=(60, 5))
    off, spread = ((truth - said)**2).sum(0), ((truth - truth.mean(0))**2).sum(0)
    each = [{'linear': SimpleNamespace(mean=one, draws=np.full(3, one))} for one in 1 - off/spread]
    value, draws = together(truth, SimpleNamespace(test=np.ones(60, bool)), each)['linear']
    assert value == pytest.approx(1 - off.sum()/spread.sum()) and draws == pytest.approx([value]*3)


def test_planting_moves_a_tenth_of_one_year_and_nothing_else():
    from evaluations_years import SHORT, plant
    rng = np.random.default_rng(0)
    vectors = {year: rng.normal(size=(50, 64)) for year in ('2017', *SHORT)}
    made, which = plant(vectors)
    assert which.sum() == 5 and (made[SHORT[1]][~which] == vectors[SHORT[1]][~which]).all()
    assert (made[SHORT[1]][which] != vectors[SHORT[1]][which]).all()
    assert sorted(made[SHORT[1]][:, 0]) == sorted(vectors[SHORT[1]][:, 0])
    assert all(made[year] is vectors[year] for year in ('2017', SHORT[0]))


def test_seeds_are_averaged_split_by_split():
    "A model's row is the mean of its seeds; a baseline's row is its own."
    from evaluations_crops import TRIALS, best_of, differences
    def row(*values): return {trial: {'predictor': 'knn1', 'splits': list(values)} for trial in TRIALS}
    found = {'scores': {'seasons': row(.8, .9), 'zero 0': row(.5, .7), 'zero 1': row(.7, .7),
                        'trained 0': row(.9, 1.), 'trained 1': row(.9, .8)}, 'seeds': [0, 1], 'ratio': 1.}
    assert best_of(found, 'zero', '10') == pytest.approx([.6, .7])
    assert best_of(found, 'seasons', '10') == pytest.approx([.8, .9])
    apart = differences(found)
    assert apart['trained', 'zero', 'max'].mean == pytest.approx(.25) and len(apart) == 3*3


# ---- what the page says in words

def claims_a(found) -> list[str]:
    from evaluations_common import percent
    score = {rule: {name: {key: 100*one['value'] for key, one in each.items()} for name, each in sets.items()}
             for rule, sets in found['scores'].items()}
    ours = {rule: round(each['released']['max linear']) for rule, each in score.items()}
    random, squares = (score[rule]['coordinates']['max knn1'] for rule in ('random', 'blocked'))
    near = {rule: f'{100*one["near"]:.0f}' for rule, one in found['facts'].items()}
    assert set(near.values()) == {near['random'], '0'}
    close = sum(found['data']['points within 30 m of another'].values())
    best = {rule: max(each['released'], key=lambda key: each['released'][key]*key.startswith('max'))
            for rule, each in score.items()}
    assert best['sf_bay_urban'] == 'max linear' and best['iowa_ag'] in ('max knn1', 'max knn3')
    return [f'Coordinates alone reach {random:.0f} % on random points and {squares:.0f} % on squares',
            f'{near["random"]} % of the random test points',
            f'lose only {percent(found["gaps"]["released max linear"], 1).replace(" [", " points [")}',
            f'from {ours["blocked"]} % to {ours["sf_bay_urban"]} % and to {ours["iowa_ag"]} %',
            f'the nearest three ({score["iowa_ag"]["released"]["max knn3"]:.0f} %)',
            f'{close} points lie within 30 m',
            f'a probability of {found["data"]["mean probability of the likeliest class"]:.2f} on average']


def claims_b(found) -> list[str]:
    def linear(what, *ways): return [found['scores'][f'{what}, {way}']['linear']['value'] for way in ways]
    inside = ('within Iowa', 'within the Bay')
    across = ('trained in Iowa, tested at the Bay', 'trained at the Bay, tested in Iowa')
    within = linear('VV from embeddings', *inside) + linear('VH from embeddings', *inside)
    vv, vh = (linear(f'{name} from embeddings', *across) for name in ('VV', 'VH'))
    back, far = linear('embeddings from VV and VH', *inside), linear('embeddings from VV and VH', *across)
    assert f'{vh[0]:.2f}' == f'{vh[1]:.2f}' and max(far) < -1
    return [f'with R² of {min(within):.2f}–{max(within):.2f}', f'it gives VH with {vh[0]:.2f} both ways',
            f'and VV with {vv[0]:.2f} and {vv[1]:.2f}', f'{100*min(back):.0f}–{100*max(back):.0f} % of what',
            f'in the other region: {min(vv):.2f}–{max(vh):.2f}']


def claims_c(found) -> list[str]:
    from evaluations_tracts import MEASURED, PEOPLE, TARGETS, dearer
    scores, numbers = found['scores'], ('no', *'one two three four five six seven eight nine ten'.split())
    def middle(name, rule, features='released'):
        return np.median([one[0] for one in scores[name][f'{features} linear'][rule].values()])
    ratio = {name: dearer(scores[name]['released linear']) for name in TARGETS}
    nearest = {name: dearer(scores[name]['released knn3']) for name in TARGETS}
    told = sum(one['low'] > 1 for one in ratio.values())
    less = sum(nearest[name]['value'] < ratio[name]['value'] for name in TARGETS)
    assert min(one['value'] for one in ratio.values()) > 1
    for name in PEOPLE: assert middle(name, 'out') < middle(name, 'out', 'measured') < 0
    inside = [middle(name, 'random') for name in MEASURED]
    ends = [one['value'] for one in ratio.values()]
    return [f'median R² {middle("impervious_mean", "out"):.2f} and {middle("tcc_mean", "out"):.2f}',
            f'{numbers[told]} of the ten ratios', f'in {numbers[less]} of ten',
            '({:.2f} and {:.2f})'.format(*(middle(name, 'random') for name in PEOPLE)),
            f'R² {min(inside):.2f}–{max(inside):.2f}',
            f'is {min(ends):.1f} to {max(ends):.1f} times as large',
            f'{found["data"]["tracts"] - found["data"]["of these without labels, left out"]:,} tracts']


def claims_d(found) -> list[str]:
    from evaluations_years import summed
    total, areas = summed(found), found['areas'].values()
    share = [100*one['drift']['share']['value'] for one in areas]
    grown = [one['drift']['by_gap']['7']['value']/one['drift']['drift_aligned']['value'] for one in areas]
    seen, none = total['found'] + total['not planted'], [one for one in areas if not one['found']]
    assert len(none) == 2 and not any(one['not planted'] for one in none)
    assert not total['one year'] and not total['seven years'] and not total['called before']
    return [f'moved by {min(share):.0f}–{max(share):.0f} % of',
            f'by {min(grown):.1f} to {max(grown):.1f} times',
            f'{total["found"]} of {total["planted"]} are found, and {total["not planted"]} others',
            f'of all {seen} would be {.05*seen:.0f}:',
            f'is {100/max(share):.0f} to {100/min(share):.0f} times nearer']


def claims_e(found) -> list[str]:
    from evaluations_common import ends, percent
    from evaluations_crops import TRIALS, differences, rows_of
    apart = differences(found)
    told = {key[1:]: one for key, one in apart.items() if key[0] == 'trained' and one.p < .05}
    others = {('median', '1'), ('convolutions', '1'), ('seasons', '1')}
    assert set(told) == {(name, trial) for name in ('coordinates', 'xy') for trial in TRIALS} | others
    assert 'xyz' not in rows_of(found) and found['seeds'] == [0]
    assert min(apart['trained', 'zero', trial].detectable for trial in TRIALS) > .09 - .0005
    seeds = [[f'{100*np.mean(found["scores"][name][trial]["splits"]):.0f}' for name in ('zero 1', 'zero 2')]
             for trial in TRIALS]
    above = [100*told[name, trial].mean for name in ('coordinates', 'xy') for trial in TRIALS]
    return [f'annual median (+{100*told["median", "1"].mean:.0f})',
            f'is {min(above):.0f} to {max(above):.0f} points above position',
            f'Of {len(apart)} such comparisons',
            f'random convolutions (+{100*told["convolutions", "1"].mean:.0f})',
            f'by {percent(ends(told["seasons", "1"]))[1:].replace(" [", " points [")}',
            '{} and {} at one label, {} and {} at ten, {} and {} at up to 300'.format(*sum(seeds, []))]


@pytest.mark.parametrize('study', 'abcde')
def test_the_words_say_what_was_measured(told, cells, study):
    "Every number that the page draws from a study, found anew."
    made = {'a': claims_a, 'b': claims_b, 'c': claims_c, 'd': claims_d, 'e': claims_e}[study]
    text = ' '.join(cells)
    assert [claim for claim in made(told[study]['found']) if claim not in text] == []
