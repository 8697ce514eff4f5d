"""Rules that split tables of points, other tables that are joined, and what is never scored quietly."""
import html
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphaearth_nb.codes import quantize
from alphaearth_nb.core import AlphaEarthError, FieldError, LabelError
from alphaearth_nb.evaluation import evaluate
from alphaearth_nb.evaluation_tables import read_labels, read_table, with_split
from alphaearth_nb.intervals import paired
from alphaearth_nb.paper_scores import ranks
from alphaearth_nb.periods import Period
from alphaearth_nb.table_features import features_of, joined, sample_array
from alphaearth_nb.table_splits import block_numbers, deal_rows, likeness_km

few = settings(max_examples=25, deadline=None, derandomize=True, database=None)
quick = dict(folds=6, beside=False)


def squares(rows:int=900, side:int=4, seed:int=0) -> tuple[pd.DataFrame, np.ndarray]:
    "Points 3 km apart whose class is that of their square of 12 km; and the number of the square."
    index, rng = np.arange(rows), np.random.default_rng(seed)
    column, row = index % 30, index//30
    square = np.unique(column//side*100 + row//side, return_inverse=True)[1]
    crop = (rng.permutation(square.max() + 1) % 3)[square]
    return pd.DataFrame({'x': 5 + .04*column, 'y': 50 + .0254*row, 'label': crop, 'farm': column//6}), square


# ---- squares and groups

@few
@given(st.integers(0, 999), st.floats(5, 60), st.integers(2, 6))
def test_no_square_is_on_both_sides(seed, side_km, deals):
    "Whole squares, classes on both sides, and random rows in the same numbers of each class."
    frame, _ = squares(seed=seed)
    points, labels = frame[['x', 'y']].to_numpy(), frame.label.to_numpy()
    try: found = deal_rows('blocked', labels, points, block_km=side_km, deals=deals, seed=seed)
    except LabelError: return
    number = block_numbers(points, side_km, seed)
    assert len(found.ruled) == len(found.random) == deals and found.units <= len(set(number))
    for ruled, chance in zip(found.ruled, found.random):
        assert not set(number[ruled.train]) & set(number[ruled.test])
        assert ((ruled.train | ruled.test) == (chance.train | chance.test)).all()
        for side in ('train', 'test'):
            counts = [np.bincount(labels[getattr(one, side)], minlength=3) for one in (ruled, chance)]
            assert (counts[0] == counts[1]).all()


def test_squares_follow_from_how_far_labels_are_alike():
    "Classes of squares of 24 km are alike to about that; the deal says so, and how many rows are near."
    frame, _ = squares(side=8)
    points = frame[['x', 'y']].to_numpy()
    assert 14 < likeness_km(points, frame.label) < 40
    narrow = likeness_km(points, squares(side=2)[0].label)
    assert 3 < narrow < 14
    found = deal_rows('blocked', squares(side=2)[0].label, points)
    assert 'alike up to' in found.notes[0] and 'of a training row' in found.notes[-1]


def test_likeness_does_not_depend_on_names_or_units():
    frame, _ = squares()
    points, label = frame[['x', 'y']].to_numpy(), frame.label.to_numpy()
    named = np.array(['wheat', 'a', 'maize'])[label]
    assert likeness_km(points, label) == pytest.approx(likeness_km(points, named))
    number = label*1.
    scaled, plain = (likeness_km(points, each, True) for each in (5*number - 2, number))
    assert scaled == pytest.approx(plain, rel=.02)


def test_a_class_in_one_square_is_named_and_left_out():
    frame, _ = squares()
    number = block_numbers(frame[['x', 'y']].to_numpy(), 20)
    frame['label'] = np.where(number == number[0], 'vineyard', frame.label.astype(str))
    values = np.random.default_rng(0).normal(size=(900, 3))
    found = evaluate(values, frame, split='blocked', block_km=20, **quick)
    assert any('vineyard (' in note for note in found.notes) and found.classes == 3
    with pytest.raises(LabelError, match='squares of each class'):
        evaluate(np.ones((900, 2)), frame, split='blocked', block_km=5000, **quick)


@pytest.mark.parametrize('rule', ['groups:farm', 'leave-out:farm'])
def test_groups_are_whole(rule):
    frame, _ = squares()
    found = deal_rows(rule, frame.label, column=lambda name: frame[name].to_numpy(), deals=4)
    for split in found.ruled: assert not set(frame.farm[split.train]) & set(frame.farm[split.test])
    held = [sorted(set(frame.farm[split.test])) for split in found.ruled]
    if rule[0] == 'l': assert held == [[0], [1], [2], [3], [4]]
    else: assert len(held) == 4 and all(2 <= len(one) <= 3 for one in held)


def test_years_come_from_the_valid_periods():
    frame, _ = squares()
    year = 2018 + np.arange(900) % 3
    periods = [Period.year(int(one)) for one in year]
    frame = frame.assign(valid_time_start_ms=[one.start_ms for one in periods],
                         valid_time_end_ms=[one.end_ms for one in periods])
    rng = np.random.default_rng(0)
    found = evaluate(rng.normal(size=(900, 4)), frame, split='leave-out:year', **quick)
    assert [one.rows for one in found.ruled] == [(600, 300)]*3 and found.units == 3


# ---- what is said of both rules

@pytest.fixture(scope='module')
def both():
    "A set that knows the class and one that knows the square, under squares and at random."
    frame, square = squares()
    rng = np.random.default_rng(1)
    sets = {'crop': np.eye(3)[frame.label] + rng.normal(size=(900, 3)),
            'square': rng.normal(size=(square.max() + 1, 16))[square] + .3*rng.normal(size=(900, 16))}
    return evaluate(sets, frame, split='blocked', block_km=18, deals=8, **quick)


def test_random_rows_flatter_what_knows_the_square(both):
    "The gap is found where there is one, and the sentence names both numbers and the reason."
    assert both.gap('square', 'max', 'knn1').low > .15 and abs(both.gap('crop').mean) < .06
    said = both.explain('square', 'max', 'knn1')
    assert '% with random rows' in said and 'comes from neighbours on both sides, not from knowing' in said
    assert 'still the one to quote' in both.explain('crop')


def test_the_largest_trial_that_was_scored_is_explained():
    "A comparison without the trial 'max' can be shown as well."
    frame, _ = squares()
    words = quick | dict(trials=('1', '10'))
    found = evaluate({'a': GOOD}, frame, split='blocked', block_km=20, deals=3, **words)
    assert repr(found) == found.explain('a') == found.explain('a', '10') != found.explain('a', 1)
    assert html.escape(repr(found)) in found._repr_html_()


def test_numbers_of_the_table_are_those_of_the_deals(both):
    "Means, corrected intervals, gaps and the distance to the best, computed anew."
    for row in both.table().itertuples():
        key = row.features, row.trial, row.predictor
        deals = np.array([one.scored[row.features][key[1:]].mean for one in both.ruled])
        chance = np.array([one.scored[row.features][key[1:]].mean for one in both.random])
        whole = paired(deals, 0*deals, both.ratio, both.units)
        assert (row.score, row.low, row.high) == pytest.approx((whole.mean, whole.low, whole.high))
        gap = paired(chance, deals, both.ratio, both.units)
        known = gap.mean, gap.low, gap.detectable
        assert (row.gap, row.gap_low, row.gap_detectable) == pytest.approx(known)
        assert row.random == pytest.approx(chance.mean()) and row.deals == 8


def test_sets_whose_intervals_overlap_share_a_rank(both):
    for _, mine in both.table().groupby(['trial', 'predictor']):
        for one in mine.itertuples():
            for other in mine.itertuples():
                if one.rank < other.rank: assert one.low > other.high
    assert 'smallest detectable' in both._repr_html_() and 'at random' in both._repr_html_()


def test_the_same_folds_and_rows_for_both_names():
    frame, _ = squares()
    values = np.random.default_rng(0).normal(size=(900, 4))
    one, other = (evaluate(values, frame, split=rule, block_km=20, deals=3, **quick)
                  for rule in ('random', 'blocked'))
    pd.testing.assert_frame_equal(one.table(), other.table())


# ---- other tables, joined

@few
@given(st.integers(0, 999), st.sampled_from(['key', 'place']))
def test_joined_rows_are_those_of_the_label(seed, how):
    "Whatever the order and however many rows are missing; NaN where there is no partner."
    frame, _ = squares(200)
    frame['number'], rng = rng_ids(seed, 200), np.random.default_rng(seed)
    values = rng.normal(size=(200, 3))
    other = frame[['x', 'y', 'number']].assign(a=values[:, 0], b=values[:, 1], c=values[:, 2])
    kept = rng.random(200) < .8
    other = other[kept].sample(frac=1, random_state=seed)
    asked = joined(other, ['a', 'b', 'c'], **({'key': 'number'} if how == 'key' else {'tolerance_m': 50}))
    found = features_of(asked, with_split(read_labels(frame), np.arange(200) % 2 > 0))
    assert np.allclose(found[kept], values[kept]) and np.isnan(found[~kept]).all()


def rng_ids(seed:int, rows:int) -> np.ndarray:
    "Numbers of rows, in no order."
    return np.random.default_rng(seed).permutation(10*rows)[:rows]


def test_tolerance_is_a_distance_in_metres():
    frame, _ = squares(60)
    away = frame[['x', 'y']].assign(x=frame.x + 100/111_195/np.cos(np.radians(frame.y)), a=1.)
    table = read_table(frame.assign(split=np.where(np.arange(60) % 2, 'train', 'test')))
    assert np.isfinite(features_of(joined(away, ['a'], tolerance_m=101), table)).all()
    with pytest.raises(FieldError, match='NaN at all 60'):
        features_of(joined(away, ['a'], tolerance_m=99), table)


def test_fields_join_as_arrays_and_files():
    "A field in memory, unit or codes, and an array of others, at the pixels that hold the points."
    import xarray as xr
    from odc.geo.xr import xr_coords

    from alphaearth_nb.fields import make_field
    from alphaearth_nb.grids import utm_grid, window
    grid = window(utm_grid((5., 51., 5.02, 51.02)), 0, 0, 30, 30)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(30, 30, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    field = make_field(vectors, grid, Period.year(2019))
    lon, lat = grid.footprint(4326).centroid.coords[0]
    lon, lat = lon + .001*rng.uniform(-1, 1, 20), lat + .0005*rng.uniform(-1, 1, 20)
    expected = field.aef.at((lon, lat))
    assert np.allclose(sample_array(field, lon, lat), expected)
    assert np.allclose(sample_array(field.aef.codes(), lon, lat), expected, atol=.02)
    plain = xr.DataArray(np.moveaxis(vectors, -1, 0)[:5], dims=('band', 'y', 'x'),
                         coords=xr_coords(grid, dims=('y', 'x')))
    assert np.allclose(sample_array(plain, lon, lat), expected[:, :5])


# ---- bad input: one sentence, nothing scored quietly

TABLE = squares()[0].assign(split=np.where(np.arange(900) % 3, 'test', 'train'))
GOOD = np.random.default_rng(0).normal(size=(900, 64))
HOLES = np.where(np.arange(900)[:, None] < 9, np.nan, GOOD)
CODES = quantize((GOOD/np.linalg.norm(GOOD, axis=1, keepdims=True)).astype(np.float32))
TWICE = pd.concat([TABLE, TABLE.query("split == 'train'").head(5).assign(split='test')])
YEARS = TABLE.assign(**{f'valid_time_{end}_ms': [getattr(Period.year(2019 + i % 2), f'{end}_ms')
                                                 for i in range(900)] for end in ('start', 'end')})
BAD = {
    'labels without pixels': (HOLES, TABLE, {}),
    'NaN at all 900 labels': (GOOD*np.nan, TABLE, {}),
    'raw codes': (CODES, TABLE, {}),
    'one class': (GOOD, TABLE.assign(label=1), {}),
    'one class by a rule': (GOOD, TABLE.assign(label=1), {'split': 'blocked', 'block_km': 20}),
    'leaking: 5 test rows': (np.concatenate([GOOD, GOOD[:5]]), TWICE, {}),
    'without label': (GOOD, TABLE.drop(columns='label'), {}),
    'without split': (GOOD, TABLE.drop(columns='split'), {}),
    'x alone': (GOOD, TABLE.drop(columns='y'), {}),
    'squares stand beside': (GOOD, TABLE.drop(columns=['x', 'y']), {'split': 'random'}),
    'a column of the table': (GOOD, TABLE, {'split': 'leave-out:region'}),
    'one year for the raster': ('field.tif', YEARS, {}),
    "without \\['B1'\\]": (['B1'], TABLE, {}),
    'joined to the labels': (TABLE, TABLE, {}),
    'on one side of the split only': (GOOD, TABLE.assign(label=TABLE.label + (TABLE.split == 'test')), {}),
    'rows without a value': (GOOD, TABLE.assign(label=np.where(np.arange(900) == 3, np.nan, 1.)), {})}
SENTENCES = {'one class': 'alone', 'one class by a rule': 'squares of each class'}


@pytest.mark.parametrize('fault', BAD)
def test_what_cannot_be_scored_is_refused_in_a_sentence(fault, monkeypatch):
    features, table, more = BAD[fault]
    if isinstance(features, str):
        monkeypatch.setattr('alphaearth_nb.table_features.sample_raster', lambda *_, **__: (GOOD, ''))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        with pytest.raises(AlphaEarthError, match=SENTENCES.get(fault, fault)) as error:
            evaluate(features, table, **quick, **more)
    assert '\n' not in str(error.value) and len(str(error.value)) < 400


def test_points_on_both_sides_are_named_under_rules_as_well():
    "Squares hold them together; groups do not, and are refused; random rows say how many there are."
    frame, _ = squares()
    again = frame.sample(180, random_state=0).assign(farm=lambda one: one.farm + 5)
    frame = pd.concat([frame, again], ignore_index=True)
    values = np.random.default_rng(0).normal(size=(1080, 3))
    found = evaluate(values, frame, split='blocked', block_km=20, deals=3, **quick)
    assert any('At random,' in note and 'trained with' in note for note in found.notes)
    with pytest.raises(LabelError, match='leaking'):
        evaluate(values, frame, split='groups:farm', deals=3, **quick)
    noted = evaluate(values, frame, split='groups:farm', deals=3, shared='note', **quick)
    assert any('points that are trained with' in note for part in noted.ruled for note in part.notes)
    dropped = evaluate(values, frame, split='groups:farm', deals=3, shared='drop', **quick)
    assert all(one.rows[1] < other.rows[1] for one, other in zip(dropped.ruled, noted.ruled))
    assert not any('points that are trained with' in note for part in dropped.ruled for note in part.notes
                   if 'left out' not in note)


def test_arrays_lose_the_rows_that_the_table_loses():
    "What the refusal of a leak advises works with arrays and units of all rows, as with those that are left."
    rng, count = np.random.default_rng(0), 400
    frame = pd.DataFrame({'x': rng.uniform(3, 4, count), 'y': rng.uniform(50, 51, count),
                          'label': np.arange(count) % 2, 'split': np.repeat(['train', 'test'], 200)})
    frame.loc[200:204, ['x', 'y']] = frame.loc[0:4, ['x', 'y']].to_numpy()
    values, farms = np.eye(2)[frame.label] + rng.normal(size=(count, 2)), np.arange(count)//4
    left = np.r_[:200, 205:count]
    whole, short = (evaluate({'a': values[rows]}, frame, shared='drop', units=farms[rows], **quick)
                    for rows in (np.arange(count), left))
    assert whole.rows == (200, 195) and whole.table().equals(short.table())


def test_rows_without_features_are_left_out_of_all_deals():
    frame, _ = squares()
    sets = {'a': GOOD, 'b': HOLES}
    found = evaluate(sets, frame, split='blocked', block_km=20, deals=3, missing='drop', **quick)
    assert found.notes[0] == '9 rows were left out for all sets: no features in b.'
    assert all(sum(part.rows) <= 891 for part in found.ruled)


def test_every_comparison_has_its_smallest_detectable_difference():
    "In the table, in the list of pairs and on the card; a set behind by less than that is not known worse."
    rng = np.random.default_rng(3)
    sets = {name: np.eye(3)[TABLE.label] + width*rng.normal(size=(900, 3)) for name, width in
            (('a', 1.), ('b', 1.02), ('c', 4.))}
    found = evaluate(sets, TABLE, **quick)
    pairs, table = found.comparisons(), found.table()
    assert len(pairs) == 3*9 and (pairs.detectable >= 0).all() and (table.behind >= 0).all()
    for row in pairs.itertuples():
        assert row.told == (abs(row.mean) > row.detectable)
    assert 'smallest detectable' in found._repr_html_()
    top = table[(table.trial == 'max') & (table.predictor == 'linear')].set_index('features')
    assert top.behind.c > top.detectable.c and list(top['rank']) == ranks(
        [found.scored[name]['max', 'linear'] for name in sets])
