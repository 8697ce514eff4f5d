"""Splits keep apart what they promise; intervals hold the truth as often as they say."""
from pathlib import Path

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

from alphaearth_nb.baselines import leak_check, score_both
from alphaearth_nb.core import LabelError
from alphaearth_nb.intervals import block_bootstrap, needed, paired
from alphaearth_nb.parcels import autocorrelation_range, parcels
from alphaearth_nb.probes import score_features
from alphaearth_nb.splits import (
    block_size, block_splits, group_splits, parcel_splits, random_splits, year_splits,
)

CANADA = Path(__file__).parents[1].parent/'shared/data/can2017_s1s2era5_pixels_dev.parquet'
seeds = settings(max_examples=25, deadline=None, derandomize=True, database=None)


def patches(seed:int, size:int=64, classes:int=2, width:float=3.) -> np.ndarray:
    "A map of irregular patches: the largest of some smooth fields names the class."
    noise = np.random.default_rng(seed).normal(size=(classes, size, size))
    smooth = ndimage.gaussian_filter(noise, (0, width, width), mode='wrap')
    return smooth.argmax(0) + 1


# ---- the corrected interval

def overlapping(units:int, share:float, splits:int, worlds:int, seed:int=0) -> np.ndarray:
    "Scores (worlds, splits) of splits that judge on a random share of the same units; the truth is 0."
    rng = np.random.default_rng(seed)
    favour, judged = rng.normal(size=(worlds, units)), round(units*share)
    scores = np.empty((worlds, splits))
    for j in range(splits):
        chosen = rng.random((worlds, units)).argpartition(judged - 1, 1)[:, :judged]
        scores[:, j] = np.take_along_axis(favour, chosen, 1).mean(1)
    return scores


def held(scores:np.ndarray, ratio:float, units:int|None) -> float:
    "Share of worlds whose interval from `paired` holds the truth, 0."
    found = [paired(row, np.zeros(len(row)), ratio, units) for row in scores]
    return float(np.mean([one.low <= 0 <= one.high for one in found]))


@pytest.mark.parametrize('splits', [10, 20, 50])
@pytest.mark.parametrize('share', [.25, .5])
@pytest.mark.parametrize('units', [8, 12, 24])
def test_corrected_intervals_hold_the_truth(units, share, splits):
    "At least 93 % with the number of units told; uncorrected far less, and the less the more splits."
    judged = round(units*share)
    scores = overlapping(units, share, splits, worlds=1500)
    corrected, naive = (held(scores, ratio, units) for ratio in (judged/(units - judged), 0))
    assert corrected >= .93 - 1.5*np.sqrt(.05*.95/1500)
    assert naive < {10: .82, 20: .72, 50: .55}[splits]


def test_corrected_intervals_hold_the_truth_of_published_tables():
    "Without the number of units, as `score_places` has it: 93 % from two dozen parcels, less below."
    enough, few = (held(overlapping(units, .5, 20, worlds=2000), 1, None) for units in (24, 4))
    assert enough >= .93 and few < .9


@seeds
@given(st.integers(0, 999), st.integers(6, 40), st.floats(.2, .5), st.integers(5, 40))
def test_the_correction_is_the_formula(seed, units, share, splits):
    "sd² · (1/J + test/train), whatever the overlap, and never less than the uncorrected error."
    judged = round(units*share)
    scores = overlapping(units, share, splits, 1, seed)[0]
    found = paired(scores, np.zeros(splits), judged/(units - judged), units)
    expected = scores.var(ddof=1)*(1/splits + judged/(units - judged))
    assert found.se**2 == pytest.approx(expected)
    assert found.detectable == pytest.approx(stats.t.ppf(.975, min(units, splits) - 1)*np.sqrt(expected))
    assert found.se >= paired(scores, np.zeros(splits), 0).se


def test_plans_come_true():
    "With the units that a plan asks for, a difference is shown about as often as it says."
    rng = np.random.default_rng(1)
    sd = .1*np.sqrt(1/12)                               # of half splits of 12 units with a spread of .1
    wave = np.array([-1., 1.]*10)
    pilot = paired(sd*wave/wave.std(ddof=1), np.zeros(20), 1)
    for difference, power in ((.04, .8), (.05, .9)):
        plan = needed(difference, pilot, units=12, power=power)
        scores = .1*overlapping(plan.units, .5, 20, 600, seed=3) + difference
        shown = np.mean([paired(row, np.zeros(20), 1).low > 0 for row in scores])
        assert abs(shown - power) < .07
    assert needed(.03, pilot, units=12).splits is None
    more = needed(.12, pilot, units=12).splits
    assert 2 <= more <= 20


# ---- the bootstrap over units

def test_bootstrap_holds_the_truth_where_errors_are_spatially_correlated():
    "Errors of a smooth random field: blocks several times its range hold the truth, pixels do not."
    worlds, size, reach = 120, 160, 2.
    rows, cols = np.indices((size, size))
    blocks, single = rows//32*100 + cols//32, np.arange(size*size)   # the range is 7 px, 3.46 times reach
    truth, count = np.ones((size, size), int), {'blocks': 0, 'pixels': 0}
    for seed in range(worlds):
        rng = np.random.default_rng(seed)
        field = ndimage.gaussian_filter(rng.normal(size=(size + 40, size + 40)), reach)[20:-20, 20:-20]
        wrong = field*2*np.sqrt(np.pi)*reach > stats.norm.ppf(.8)    # variance 1, so 20 % are wrong
        for name, units in {'blocks': blocks, **({} if seed % 10 else {'pixels': single})}.items():
            found = block_bootstrap(truth, truth + wrong, units, draws=200 if name == 'blocks' else 60)
            count[name] += found.low <= .8 <= found.high
    assert count['blocks']/worlds >= .9 and count['pixels']/(worlds/10) <= .5


@pytest.mark.parametrize('units, least', [(4, .94), (12, .92), (40, .91)])
def test_bootstrap_holds_the_truth_with_few_parcels(units, least):
    "Parcels of one class each, of very different sizes, some nearly all right and some nearly all wrong."
    rng, count, worlds = np.random.default_rng(units), 0, 300
    for _ in range(worlds):
        sizes = rng.integers(5, 60, 2*units)
        of_parcel = np.repeat(np.arange(2*units), sizes)
        right = rng.random(len(of_parcel)) < rng.beta(2, 1, 2*units)[of_parcel]
        truth = of_parcel % 2 + 1
        found = block_bootstrap(truth, np.where(right, truth, 3 - truth), of_parcel, draws=300)
        count += found.low <= 2/3 <= found.high
    assert count/worlds >= least


# ---- what splits keep apart

@seeds
@given(st.integers(0, 999), st.integers(1, 3))
def test_no_parcel_is_on_both_sides(seed, classes):
    found = parcels(patches(seed, classes=classes + 1))
    if len(found.members()) < 2: return
    for split in parcel_splits(found, 4, seed):
        train, test = (set(found.ids[side].tolist()) for side in (split.train, split.test))
        assert train and test and not train & test and 0 not in train | test
        assert set(found.class_id[split.train]) == set(found.class_id[split.test]) == set(found.members())


@seeds
@given(st.integers(0, 999), st.integers(6, 16), st.integers(2, 4), st.booleans())
def test_no_group_is_on_both_sides(seed, groups, classes, named):
    "Every group whole, every class that counts on both sides, and who is left out is named."
    rng = np.random.default_rng(seed)
    group = rng.integers(-1, groups, 400)
    at_home = rng.integers(1, classes + 1, groups + 1)[group]      # most labels of a group are of one class
    labels = np.where(rng.random(400) < .05, rng.integers(0, classes + 1, 400), at_home)
    if named: group = np.where(group < 0, '', np.char.add('cell ', group.astype(str)))
    try: splits = group_splits(group, labels, 4, seed)
    except LabelError: return event('too few groups')
    missing = {'', -1, '-1'}
    used = set(labels[splits[0].train].tolist())
    for split in splits:
        train, test = (set(group[side].tolist()) for side in (split.train, split.test))
        assert train and test and not train & test and not missing & (train | test)
        assert set(labels[split.train]) == set(labels[split.test]) == used and 0 not in used
        assert split.ratio == pytest.approx(len(test)/len(train))
    for one in used:
        for split in splits:
            for side in (split.train, split.test): assert (labels[side] == one).sum() >= 4
    left_out = set(labels[labels > 0].tolist()) - used
    assert all(any(f'class {one} ' in note for note in splits.notes) for one in left_out)


@seeds
@given(st.integers(0, 999), st.integers(2, 8))
def test_no_year_is_on_both_sides(seed, years):
    "Each year judges once, alone, and learns in all other splits."
    rng = np.random.default_rng(seed)
    year, labels = 2017 + rng.integers(0, years, 400), rng.integers(1, 3, 400)
    splits = year_splits(year, labels)
    assert [set(year[split.test].tolist()) for split in splits] == [{2017 + i} for i in range(years)]
    for split in splits: assert (split.train ^ split.test).all()   # each label on one side


@seeds
@given(st.integers(0, 999), st.integers(0, 5), st.integers(8, 14))
def test_the_buffer_is_kept(seed, buffer_px, side_px):
    "No judged pixel within the buffer of one that is learnt from, diagonals included."
    for split in block_splits(parcels(patches(seed)), 3, seed, side_px, buffer_px):
        away = ndimage.distance_transform_cdt(~split.train, 'chessboard')
        assert split.train.any() and away[split.test].min() > buffer_px


@seeds
@given(st.integers(0, 999))
def test_random_pixels_are_the_same_pixels(seed):
    found = parcels(patches(seed, classes=3))
    if len(found.members()) < 2: return
    honest = parcel_splits(found, 3, seed)
    for one, other in zip(random_splits(found, honest, seed), honest):
        assert ((one.train | one.test) == (other.train | other.test)).all()
        assert not (one.train & one.test).any()
        for side in ('train', 'test'):
            counts = [np.bincount(found.class_id[getattr(split, side)]) for split in (one, other)]
            assert counts[0].tolist() == counts[1].tolist()


# ---- what random pixels give away

def test_random_pixels_flatter_where_features_are_autocorrelated():
    "A smooth field that knows nothing of the classes: praised by random pixels, chance under wide blocks."
    rng = np.random.default_rng(0)
    found = parcels(patches(4, size=128, width=2.5), least_px=1)
    smooth = ndimage.gaussian_filter(rng.normal(size=(128, 128, 5)), (2, 2, 0))
    reach = max(autocorrelation_range(smooth), autocorrelation_range((found.class_id == 1).astype(float)))
    honest = block_splits(found, 6, **block_size(reach, shape=(128, 128)))
    both = score_both({'smooth': smooth, 'noise': rng.normal(size=smooth.shape)}, found, honest, draws=1)
    assert both['smooth'].gap().mean > .1 and both['smooth'].gap().low > 0
    assert np.mean(both['smooth'].blocked.scores['max']['knn1']) < .56
    assert abs(both['noise'].gap().mean) < .03
    assert 'not from knowing' in str(both['smooth']) and 'not told from noise' in str(both['noise'])


def test_leak_check_rings_when_it_should():
    "Random pixels leak in every world; whole parcels in few of 20 worlds that have nothing to leak."
    alarms = {'random': 0, 'parcels': 0}
    for seed in range(20):
        crops = np.random.default_rng(seed).permutation(np.repeat([1, 2], 18)).reshape(6, 6)
        area = np.kron(crops, np.ones((8, 8), int))
        area[::8], area[:, ::8] = 0, 0
        found = parcels(area)
        alarms['parcels'] += leak_check(found, parcel_splits(found, 8, seed)).leaks
        if seed < 4: alarms['random'] += leak_check(found, random_splits(found, 4, seed)).leaks
    assert alarms['random'] == 4 and alarms['parcels'] <= 2


# ---- real cells

@pytest.fixture(scope='module')
def canada() -> dict[str, np.ndarray]:
    "Crop, cell and features of the series in Canada, one row a pixel: twelve monthly values of each band."
    pytest.importorskip('pyarrow', reason='the table is a parquet file, which pandas reads with pyarrow')
    import pandas as pd
    if not CANADA.exists(): pytest.skip(f'{CANADA.name} is not beside this checkout (../shared)')
    table = pd.read_parquet(CANADA).sort_values(['sample_id', 'timestamp'])
    bands = [name for name in table.columns if name.startswith(('S1-', 'S2-'))]
    series = table[bands].where(table[bands] != 65535).astype(float)
    first_year = series.groupby(table.sample_id).head(12).groupby(table.sample_id)
    series = first_year.transform(lambda one: one.interpolate(limit_direction='both'))
    first = table.drop_duplicates('sample_id')
    features = series.to_numpy().reshape(len(first), -1)
    spread = np.nanstd(features, 0)
    features = np.nan_to_num((features - np.nanmean(features, 0))/np.where(spread > 0, spread, 1))
    return {'crop': first.CROPTYPE_LABEL.to_numpy(), 'cell': first.h3_l3_cell.to_numpy().astype(str),
            'features': features, 'places': first[['lon', 'lat']].to_numpy()}


def test_cells_of_canada_are_held_out_whole(canada):
    "Cells of 70 km: a class in one cell is named, and random pixels score higher than whole cells."
    crop, cell = canada['crop'], canada['cell']
    honest = group_splits(cell, crop, splits=6, rule='whole h3 cells')
    for split in honest: assert not set(cell[split.train]) & set(cell[split.test])
    alone = {int(one) for one in np.unique(crop) if one and len(set(cell[crop == one])) == 1}
    assert alone and all(f'class {one} (groups: 1)' in honest.notes[0] for one in alone)
    common = np.where(np.isin(crop, [9120, 1200, 4100, 1120]), crop, 0)
    honest = group_splits(cell, common, splits=6, rule='whole h3 cells')
    both = score_both({'series': canada['features']}, common, honest, draws=2, predictors=('knn1', 'ridge'))
    assert both['series'].gap('max').mean > .02
    assert np.mean(both['series'].blocked.scores['max']['ridge']) > .5   # chance is a quarter
    assert leak_check(common, random_splits(common, honest), canada['places']).leaks


def test_each_region_in_turn(canada):
    "Leave one group out: the cells, merged into three regions by longitude."
    region = np.digitize(canada['places'][:, 0], np.quantile(canada['places'][:, 0], [1/3, 2/3]))
    common = np.where(np.isin(canada['crop'], [9120, 1200, 4100, 7920]), canada['crop'], 0)
    splits = group_splits(region, common, each=True, rule='whole regions')
    assert [set(region[split.test].tolist()) for split in splits] == [{0}, {1}, {2}]
    cards = score_features({'series': canada['features']}, common, splits, draws=1, predictors=('ridge',))
    card = cards['series']
    assert len(card.scores['max']['ridge']) == 3 and card.rule == 'whole regions'
