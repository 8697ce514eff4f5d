"""The study of the Canadian series: units, whole cells held out, and all of it once at a tenth."""
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

STUDIES = Path(__file__).parent/'studies'


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(str(STUDIES))
    import canada
    return canada


@pytest.fixture
def series(study):
    "All series, read once for the file of tests."
    pytest.importorskip('pyarrow')
    if not study.data.DATA.is_file(): pytest.skip(f'{study.data.DATA.name} is not here')
    if not hasattr(study.data, '_kept'): study.data._kept = study.data.read()
    return study.data._kept


def few(study, series, every:int=10): return series.take(np.arange(0, len(series), every))


# ---- the reader

def test_units(series):
    "Reflectance, dB, metres of rain and kelvin, at the middle of each month."
    assert series.optical.shape == (20, 9, 2129)
    assert series.radar.shape == series.weather.shape == (20, 2, 2129)
    low, high = np.nanpercentile(series.optical[5:8], (1, 99))       # June to August
    assert 0 < low < .05 and .4 < high < .9
    vv, vh = np.nanmedian(series.radar, (0, 2))
    assert -12 < vv < -8 and -20 < vh < -15                          # as fields are elsewhere
    rain, warmth = np.nanmedian(series.weather[:12], 2).T
    assert .4 < rain.sum() < 1.6 and 255 < warmth.min() < 275 and 290 < warmth.max() < 298
    assert warmth.argmax() in (6, 7) and str(series.times[6]) == '2017-07-15T12:00:00.000'


def test_no_data_stays_no_data(series):
    "65535 is no reflectance of 6.5 and no radar of 13 dB."
    assert np.nanmax(series.optical) < 2 and np.nanmax(series.radar) < 10
    assert .02 < np.isnan(series.optical[:17]).mean() < .2


def test_a_place_is_its_series(study, series):
    "16 × 16 pixels all alike, one frame a month with data; cloud is read, and is no target."
    i = int(np.flatnonzero(np.isnan(series.optical[:17, 0]).any(0))[0])
    place = study.data.place(series, i, ('era5land', 'glo30', 'cdl'))
    optical, months = place['sentinel2'], np.isfinite(series.optical[:, :, i]).any(1)
    assert optical.values.shape == (months.sum(), 9, 16, 16) and (np.ptp(optical.values, (2, 3)) == 0).all()
    np.testing.assert_array_equal(optical.values[:, :, 3, 5], series.optical[months][:, :, i])
    np.testing.assert_array_equal(optical.valid_pixels[:, 0, 0, 0], series.optical[months, 0, i] <= .2)
    assert place['glo30'].values[0, 0, 0, 0] == series.height_m[i] and len(place['era5land']) >= 17


# ---- whole cells

def test_folds_are_whole_cells(study, series):
    "Each cell is in one fold or for choosing; every class has labels to learn from outside of every fold."
    folds = study.folds_of(series)
    for cell in np.unique(series.cells): assert len(set(folds[series.cells == cell])) == 1
    assert set(series.cells[folds < 0]) == set(study.CHOOSING)
    for split in study.splits_of(series, folds):
        assert not set(series.cells[split.train]) & set(series.cells[split.test]) and split.test.any()
        assert np.bincount(series.classes[split.train])[1:].min() >= 10
    counts = [(series.classes == i).sum() for i in range(1, len(study.data.CODES) + 1)]
    cells = [len(set(series.cells[series.classes == i])) for i in range(1, len(study.data.CODES) + 1)]
    assert min(counts) >= 30 and min(cells) >= 3


def test_no_encoder_sees_a_cell_that_it_is_judged_on(study, series, tmp_path, monkeypatch):
    "What training and `learn` are given names none of the fold's series."
    import alphaearth_nb as ae
    small, seen = few(study, series), []
    monkeypatch.setattr(study.data, 'read', lambda: small)
    monkeypatch.setattr(study, 'embed_all', lambda model, series: np.zeros((len(series), 64)))
    train = ae.train
    def look(model, places, **how):
        seen.extend(place.name for place in places)
        return train(model, places, **how | {'steps': 0})
    monkeypatch.setattr(ae, 'train', look)
    study.one_encoder(tmp_path, '1_2_0')
    folds = study.folds_of(small)
    assert sorted(seen) == sorted(small.ids[folds != 2]) and (folds == 2).any()


def test_an_embedding_is_of_its_series_alone(study, series):
    "Other series may be anything; and it is what `ae.embed` makes of the place."
    import alphaearth_nb as ae
    some, model = series.take(np.arange(6)), study.new_model(0)
    before = study.embed_all(model, some)
    other = replace(some, optical=some.optical.copy(), radar=some.radar.copy())
    other.optical[..., 1:], other.radar[..., 1:] = .9, -3
    np.testing.assert_allclose(study.embed_all(model, other)[0], before[0], atol=1e-5)
    assert not np.allclose(study.embed_all(model, other)[1], before[1], atol=1e-3)
    field = ae.embed(model, study.data.place(some, 0), '2017', support='2017-01-01/2018-12-31', quiet=True)
    mean = field.aef.vectors().mean((0, 1))
    np.testing.assert_allclose(mean/np.linalg.norm(mean), before[0], atol=1e-4)


# ---- scores

def test_by_class_is_balanced_accuracy(study):
    rng = np.random.default_rng(0)
    truth, told = rng.integers(1, 5, 300), rng.integers(1, 5, 300)
    assert study.by_class(truth, told == truth) == pytest.approx(balanced_accuracy_score(truth, told))
    weights = rng.integers(0, 4, 300)
    again = np.repeat(np.arange(300), weights)
    assert study.by_class(truth, told == truth, weights) == pytest.approx(
        study.by_class(truth[again], (told == truth)[again]))


def test_differences_have_the_right_sign(study):
    "The encoder minus a worse feature set is above zero, minus itself under another name zero."
    rng = np.random.default_rng(1)
    truth, cells = rng.integers(1, 4, 600), rng.integers(0, 20, 600)
    def told(share): return {t: {'knn1': (rng.random(600) < share).astype(float)} for t in study.TRIALS}
    good = told(.8)
    rows = {row['name']: row for row in study.compare({'worse': told(.5), 'same': good, study.FIELD: good},
                                                      truth, cells)}
    assert rows['worse']['minus'][study.FIELD]['10']['low'] > .2
    assert rows['same']['minus'][study.FIELD]['10']['value'] == 0
    assert study.FIELD not in rows[study.FIELD]['minus']


def test_few_labels_beside_all(study):
    "An encoder that has seen labels is set against what others reach with all of them."
    from canada_page import fair
    rng = np.random.default_rng(2)
    truth, cells = rng.integers(1, 4, 600), rng.integers(0, 20, 600)
    def told(few, all_): return {t: {'knn1': (rng.random(600) < (all_ if t == 'max' else few)).astype(float)}
                                 for t in study.TRIALS}
    sets = {'worse': told(.1, .2), 'best': told(.1, .9), study.CROPS: told(.5, .99)}
    rows = study.compare(sets, truth, cells)
    said = {row['name']: row.get('ten_minus_all') for row in rows}
    assert said[study.CROPS] is None and said['worse']['low'] > .2 and -.5 < said['best']['value'] < -.3
    assert '*best*' in fair({'rows': rows}) and '−' in fair({'rows': rows})


def test_a_miss_is_called_a_miss(study):
    from canada_page import verdict
    def row(name, low): return {'name': name, 'score': {'10': {'value': .5}},
                                'minus': {study.FIELD: {'10': dict(value=low + .1, low=low, high=low + .2)}}}
    met = {'rows': [row('a', .01), row('b', .02)]}
    assert 'is above every' in verdict(met, study.FIELD)
    missed = verdict({'rows': [row('a', .01), row('b', -.01)]}, study.FIELD)
    assert '**not** above' in missed and '1 of 2: *b*' in missed


def test_the_page_says_what_was_measured(study):
    "Both come from one command; a number changed in one of them only is seen here."
    if not study.FIGURES.is_file(): pytest.skip('the study was not run yet')
    told = json.loads(study.FIGURES.read_text(encoding='utf-8'))
    assert study.page(told) == study.PAGE.read_text(encoding='utf-8'), 'run: canada.py --page'
    cells = json.loads(study.NOTEBOOK.read_text(encoding='utf-8'))['cells']
    assert [''.join(cell['source']) for cell in cells].count(study.brief(told)) == 1, 'run: canada.py --page'


def test_all_of_it_at_a_tenth(study, series, tmp_path, monkeypatch):
    "Train, embed, score and write: two folds, two steps, one draw; a second run trains nothing."
    small = few(study, series, 12)
    common = np.isin(small.classes, (1, 2, 3, 5, 7))
    small = replace(small, classes=np.where(common, small.classes, 0))
    for name, value in dict(FOLDS=2, SEEDS=(0,), DRAWS=1).items(): monkeypatch.setattr(study, name, value)
    monkeypatch.setattr(study.data, 'read', lambda: small)
    for recipe in study.RECIPES.values(): monkeypatch.setitem(recipe, 'steps', 2)
    monkeypatch.setitem(study.COMMON, 'windows', 4)
    assert study.jobs() == ['0_0_0', '0_1_0', '1_0_0', '1_1_0']
    for job in study.jobs(): study.one_encoder(tmp_path, job)
    told = study.score_all(small, tmp_path, draws=1) | {'tried': {}}
    names = [row['name'] for row in told['rows']]
    assert names[-3:] == [study.ZERO, study.FIELD, study.CROPS] and names[0] == 'position alone'
    for row in told['rows']:
        for one in row['score'].values(): assert 0 <= one['low'] <= one['value'] <= one['high'] <= 1
    assert '## What this does not show' in study.page(json.loads(json.dumps(told)))
