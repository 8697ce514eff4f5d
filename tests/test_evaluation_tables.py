"""Tables of the paper's exact form, made from real data; and what must not be scored."""
import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphaearth_nb.codes import BANDS, dequantize
from alphaearth_nb.core import AlphaEarthError, FieldError, LabelError, PlaceNotFound
from alphaearth_nb.evaluation import evaluate
from alphaearth_nb.evaluation_tables import (
    PAPER_TABLES, TIMES, WHEN, apart, paper_columns, read_table, shared_points,
)
from alphaearth_nb.periods import Period
from alphaearth_nb.table_download import download_tables, paper_table, tables_folder
from alphaearth_nb.table_features import features_of, sample_raster

few = settings(max_examples=25, deadline=None, derandomize=True, database=None)


def periods(year:int|np.ndarray, change:bool=False) -> dict:
    "Valid and support periods of whole years, in milliseconds, as the paper's tables have them."
    def ends(of) -> dict:
        begins = [np.array([f'{one}-01-01' for one in np.atleast_1d(years)], 'datetime64[ms]')
                  for years in (of, np.asarray(of) + 1)]
        starts, stops = (one.astype(int) for one in begins)
        return {name: (stops if name.endswith('end') else starts) for name in TIMES}
    if not change: return {f'{name}_ms': found for name, found in ends(year).items()}
    return {f'{name}_{when}_ms': found for when, off in zip(WHEN, (0, 1))
            for name, found in ends(year + off).items()}


def plain(rows:int=120, seed:int=0) -> pd.DataFrame:
    "A table of the paper's form: points far apart, three classes, one year."
    index, rng = np.arange(rows), np.random.default_rng(seed)
    times = {name: np.repeat(values, rows) for name, values in periods(2020).items()}
    return pd.DataFrame({'x': 5 + .05*(index % 12), 'y': 50 + .03*(index//12), 'label': index % 3,
                         'label_name': np.array(['a', 'b', 'c'])[index % 3], **times,
                         'split': np.where(rng.permutation(rows) < rows//3, 'train', 'test'), 'shard': 0})


# ---- made from real data

@pytest.fixture(scope='module')
def dynamic_world(shared_data) -> pd.DataFrame:
    "Dynamic World classes and released embeddings at 1,440 points, in the columns of the paper's tables."
    path = shared_data/'aef_s1_dw_2024_iowa_sf.parquet'
    if not path.exists(): pytest.skip(f'{path.name} is not beside this checkout (../shared)')
    data = pd.read_parquet(path).reset_index(drop=True)
    rng, order = np.random.default_rng(0), data.groupby(['region', 'dw_label']).cumcount()
    shuffled = rng.permutation(len(data))
    rank = pd.Series(shuffled).groupby([data.region, data.dw_label]).rank()
    frame = pd.DataFrame({'x': data.longitude, 'y': data.latitude, 'label': data.dw_label,
                          'label_name': data.dw_label.map('class {}'.format), 'shard': order % 4,
                          **{name: np.repeat(values, len(data)) for name, values in periods(2024).items()},
                          'split': np.where(rank.to_numpy() <= 20, 'train', 'test')})
    return pd.concat([frame, data[[*BANDS, 'trees', 'region', 'S1_VV', 'S1_VH']]], axis=1)


def test_a_real_table_of_classes(dynamic_world, tmp_path):
    "Written as CSV and Parquet, read strictly, scored: the embeddings know the classes better than radar."
    path = tmp_path/'dynamic_world.csv'
    dynamic_world.to_csv(path, index=False)
    table = read_table(path, strict=True, shared='drop')
    assert table.kind == 'classes' and len(set(table.labels)) == 9
    assert np.bincount(table.labels[table.train]).tolist() == [40]*9
    assert any('within 1.28 km' in note for note in table.notes)      # these points are not spaced
    vectors = dequantize(table.frame[[*BANDS]].to_numpy(np.int8))
    found = evaluate({'aef': vectors, 'radar': ['S1_VV', 'S1_VH']}, table, folds=20, beside=False)
    pair = found.paired('aef', 'radar', 'max', 'knn3')
    assert pair.told and not pair.overlap and pair.mean > .05
    assert found.notes[:len(table.notes)] == table.notes
    with pytest.raises(FieldError, match='raw codes, -'): features_of([*BANDS], table)


def test_a_real_table_of_numbers(dynamic_world, tmp_path):
    "Probability of trees; the split leaves a region out."
    frame = dynamic_world.assign(label=dynamic_world.trees)
    frame.to_parquet(tmp_path/'trees.parquet')
    table = read_table(tmp_path/'trees.parquet', split=(frame.region == 'iowa_ag').to_numpy())
    vectors = dequantize(frame[[*BANDS]].to_numpy(np.int8))
    found = evaluate(vectors, table, folds=20, intercept=True, beside=False)
    assert found.metric == 'R²' and found.rows == (720, 720)
    last = found.table().set_index(['trial', 'predictor']).loc[('max', 'linear')]
    assert last.spread == 'test rows' and last.folds == 1 and np.isfinite(last.score)


def test_a_real_table_of_change(shared_data, tmp_path):
    "Released embeddings of the same points in two years: the same area, or another one in its place."
    path = shared_data/'aef_china_8areas_2017_2024_int8.npz'
    if not path.exists(): pytest.skip(f'{path.name} is not beside this checkout (../shared)')
    with np.load(path) as data:
        areas = sorted({name.partition('__')[0] for name in data})
        before, after, other = (dequantize(data[f'{area}__{year}'])[:200] for area, year in
                                ((areas[0], 2019), (areas[0], 2020), (areas[1], 2020)))
    rows = min(map(len, (before, after, other)))
    index = np.arange(rows)
    swapped = index % 2 == 1                                # half of the points are those of another area
    frame = pd.DataFrame({'x': 100 + .05*(index % 20), 'y': 30 + .05*(index//20), 'label_before': 1,
                          'label_after': 1 + swapped, 'split': np.where(index % 5 < 2, 'train', 'test'),
                          **{name: np.repeat(values, rows) for name, values in periods(2019, True).items()}})
    assert set(paper_columns(change=True)) <= set(frame)
    frame.to_csv(tmp_path/'moved.csv', index=False)
    table = read_table(tmp_path/'moved.csv', strict=True)
    assert table.kind == 'change' and table.labels.sum() == swapped.sum()
    pair = before[:rows], np.where(swapped[:, None], other[:rows], after[:rows])
    found = evaluate({'aef': pair}, table, folds=20, beside=False)
    assert found.change['aef'].optimistic >= found.change['aef'].honest > .6
    assert found.table().score.max() > .8
    def ask(lon, lat, period): return pair[period.start_ms > Period.year(2019).start_ms]
    by_function = evaluate({'aef': ask}, table, folds=20, beside=False)
    assert by_function.table().score.tolist() == found.table().score.tolist()


# ---- leaks

@few
@given(st.integers(0, 999), st.integers(0, 30))
def test_every_shared_point_is_counted(seed, count):
    "However many training points come again as test rows, the sentence has their number."
    frame = plain(seed=seed)
    again = frame[frame.split == 'train'].head(count).assign(split='test')
    both = pd.concat([frame, again]).sample(frac=1, random_state=seed)
    if count:
        with pytest.raises(LabelError, match=f'leaking: {count} test rows'): read_table(both)
    table = read_table(both, shared='drop')
    assert len(table) == 120 and not shared_points(table.points, table.train).any()
    assert apart(table) is table
    assert table.train.sum() == (both.split == 'train').sum()          # no training row is lost


def test_a_split_that_is_handed_over_is_kept():
    frame = plain()
    train = np.arange(120) % 4 == 0
    for split in (train, np.where(train, 'train', 'test')):
        table = read_table(frame.drop(columns='split'), split=split)
        assert (table.train == train).all()


# ---- what is refused, in one sentence

TWICE = plain().assign(label=lambda one: one.label.where(one.split == 'train', 0))
FAULTS = {
    'missing columns': (plain().drop(columns='label'), 'without label'),
    'one class': (plain().assign(label=3), '3 alone'),
    'a class on one side': (TWICE, 'on one side of the split only'),
    'other splits': (plain().assign(split='validation'), "'train' or 'test'"),
    'no value': (plain().assign(label=np.nan), 'rows without a value'),
    'metres': (plain().assign(x=5e5), 'off the globe'),
    'empty': (plain().head(0), 'rows of the table is 0'),
}


@pytest.mark.parametrize('name', FAULTS)
def test_tables_that_are_refused(name):
    frame, words = FAULTS[name]
    with pytest.raises(LabelError, match=words) as error: evaluate(np.ones((len(frame), 2)), frame)
    assert str(error.value).count('\n') == 0


def test_features_that_are_refused():
    frame, rng = plain(), np.random.default_rng(0)
    good = rng.normal(size=(120, 64))
    codes = rng.integers(-127, 128, (120, 64)).astype(np.int8)
    holes = np.where(np.arange(120)[:, None] % 10 == 0, np.nan, good)
    bad = {'raw codes': codes, r'numbers \(120, d\)': good[:7], 'labels without pixels': holes,
           'NaN at all 120 labels': np.full((120, 2), np.nan)}
    for words, values in bad.items():
        with pytest.raises(AlphaEarthError, match=words): evaluate({'good': good, 'bad': values}, frame)
    found = evaluate({'good': good, 'bad': holes}, frame, missing='drop', folds=3, beside=False)
    assert sum(found.rows) == 108 and '12' not in found.notes[0].split()[0]
    assert 'no features in bad' in found.notes[0]


def test_infinite_features_are_no_features():
    values = np.ones((120, 3)) + np.arange(120)[:, None] % 3
    values[5] = np.inf
    with pytest.raises(LabelError, match="{'features': 1}"): evaluate(values, plain())


def test_labels_of_several_years_and_one_raster(tmp_path):
    "A raster shows one year; a function is asked once a period, with the points of that period only."
    import rasterio
    frame = plain()
    years = np.where(np.arange(120) % 2, 2019, 2020)
    frame = frame.assign(**periods(years))
    with rasterio.open(tmp_path/'one.tif', 'w', driver='GTiff', height=20, width=20, count=2, dtype='float32',
                       crs='EPSG:4326', transform=rasterio.transform.from_origin(4.9, 51, .1, .1)) as out:
        out.write(np.random.default_rng(0).normal(size=(2, 20, 20)).astype(np.float32))
    table = read_table(frame)
    with pytest.raises(LabelError, match='2019: 60, 2020: 60'): features_of(tmp_path/'one.tif', table)
    asked = {}
    def ask(lon, lat, period):
        asked[str(period)] = len(lon)
        return sample_raster(tmp_path/'one.tif', lon, lat)[0]
    found = features_of(ask, table)
    assert asked == {'2019-01-01/2020-01-01': 60, '2020-01-01/2021-01-01': 60}
    assert (found == sample_raster(tmp_path/'one.tif', frame.x, frame.y)[0]).all()


def test_bilinear_sampling_is_linear(tmp_path):
    "On a plane, the mean of the four pixels around a point is the plane there; at the edge there is none."
    import rasterio
    rows, columns = np.mgrid[:8, :9]
    with rasterio.open(tmp_path/'plane.tif', 'w', driver='GTiff', height=8, width=9, count=1, dtype='float64',
                       crs='EPSG:4326', transform=rasterio.transform.from_origin(5, 52, .1, .1)) as out:
        out.write((2.*columns - 3*rows)[None])
    lon, lat = np.random.default_rng(1).uniform([5.06, 51.26], [5.84, 51.94], (50, 2)).T
    found, _ = sample_raster(tmp_path/'plane.tif', lon, lat, bilinear=True)
    assert np.allclose(found[:, 0], 2*((lon - 5)*10 - .5) - 3*((52 - lat)*10 - .5))
    assert np.isnan(sample_raster(tmp_path/'plane.tif', [5.01], [51.5], bilinear=True)[0]).all()


# ---- the paper's archive

class Reply:
    "What a server answers, without a server."
    def __init__(self, content): self.content = content
    def raise_for_status(self): pass
    def json(self): return self.content


def test_archives_of_another_sum_are_not_kept(tmp_path, monkeypatch):
    "The sum that the record names decides; or the SHA-256 that the caller knows."
    import hashlib

    import pooch
    import requests
    monkeypatch.setenv('AE_CACHE_DIR', str(tmp_path/'cache'))
    with zipfile.ZipFile(tmp_path/'evaluation.zip', 'w') as file:
        for name in PAPER_TABLES: file.writestr(f'a/{name}.csv', plain().to_csv(index=False))
        file.writestr('../../outside.csv', 'x')
    content = (tmp_path/'evaluation.zip').read_bytes()
    named = {'key': 'evaluation.zip', 'checksum': 'md5:' + hashlib.md5(content).hexdigest(),
             'links': {'self': 'https://host/evaluation.zip'}}
    monkeypatch.setattr(requests, 'get', lambda url, timeout: Reply({'files': [named]}))
    def fetch(url, out, pup): Path(out).write_bytes(content)
    monkeypatch.setattr(pooch, 'HTTPDownloader', lambda **_: fetch)
    with pytest.raises(PlaceNotFound, match='another sum'): download_tables(digest='0'*64)
    assert not tables_folder().exists()
    folder = download_tables(digest=hashlib.sha256(content).hexdigest())
    assert {path.stem for path in folder.glob('*.csv')} == set(PAPER_TABLES)
    assert json.loads((folder/'sums.json').read_text())['archive'] == hashlib.sha256(content).hexdigest()
    assert not list(tmp_path.glob('**/outside.csv')) and not list(folder.parent.glob('*part*'))
    assert 'the paper says 1800 and 24710' in paper_table('lcmap_lc').notes[0]


def test_the_list_of_tables_is_that_of_the_specification():
    "Rows and classes add up where the paper's tables are balanced; every contradiction is written down."
    balanced = {name: one for name, one in PAPER_TABLES.items() if one.shots >= 150}
    assert len(balanced) == 12 and all(one.shots*one.classes == one.train for one in balanced.values())
    assert sum(one.kind == 'change' for one in PAPER_TABLES.values()) == 2
    numbers = [name for name, one in PAPER_TABLES.items() if one.kind == 'numbers']
    assert numbers == ['openet_ensemble', 'aster_ged']
    assert all(len(one.edges) == 11 for one in PAPER_TABLES.values() if one.kind == 'numbers')
