"""(a) Dynamic World classes from released embeddings, at points of Iowa and San Francisco Bay.

Splits were fixed before any score was seen: ten deals of squares of 10 km into halves, without test points
nearer than 1.28 km (the paper's spacing) to one to train with; the same numbers of points of each class dealt
at random; and each region held out whole. Points within about 10 m of one to train with are never tested.
"""
import numpy as np
import pandas as pd
from evaluations_common import BANDS, blocks, ends, far_from, here, over_splits, percent, scored, table

from alphaearth_nb.codes import dequantize
from alphaearth_nb.evaluation import evaluate
from alphaearth_nb.evaluation_tables import SPACING_M, near_points, shared_points
from alphaearth_nb.intervals import paired
from alphaearth_nb.splits import Split, Splits, group_splits, random_splits

FILE, SIDE_KM, DEALS = 'aef_s1_dw_2024_iowa_sf.parquet', 10, 10
REGIONS = {'iowa_ag': 'Iowa', 'sf_bay_urban': 'the Bay'}
SAME = ('1', 'knn3')                             # as '1', 'knn1': where there is one label, three vote as one
SETS, POINT = ('released', 'coordinates'), ['longitude', 'latitude']
RULES = {'random': 'random points', 'blocked': 'squares of 10 km',
         'sf_bay_urban': 'trained in Iowa, tested at the Bay',
         'iowa_ag': 'trained at the Bay, tested in Iowa'}
CLASSES = ['water', 'trees', 'grass', 'flooded_vegetation', 'crops', 'shrub_and_scrub', 'built', 'bare',
           'snow_and_ice']
SHOWN = {'1 knn1': '1 label, nearest', '10 knn3': '10, three nearest', 'max knn3': 'all, three nearest',
         'max linear': 'all, linear', 'max logistic': 'all, logistic', 'max forest': 'all, forest'}


def opened() -> tuple[pd.DataFrame, dict[str, np.ndarray], pd.DataFrame, np.ndarray]:
    "All columns, features, labels at points, and the square of each point."
    rows = pd.read_parquet(here(FILE))
    points = rows[POINT].to_numpy()
    labels = pd.DataFrame({'x': points[:, 0], 'y': points[:, 1], 'label': rows['dw_label']})
    squares = np.empty(len(rows), object)
    for region in REGIONS:
        mine = (rows['region'] == region).to_numpy()
        squares[mine] = [f'{region} {name}' for name in blocks(points[mine], SIDE_KM)]
    features = {'released': dequantize(rows[BANDS].to_numpy()), 'coordinates': points}
    return rows, features, labels, squares.astype(str)


def blocked(labels:pd.DataFrame, squares:np.ndarray, deals:int=DEALS) -> Splits:
    "Halves of the squares, without test points near those to train with."
    points, made = labels[['x', 'y']].to_numpy(), []
    classes = labels['label'].to_numpy() + 1
    for split in group_splits(squares, classes, splits=deals):
        test = split.test.copy()
        test[test] = far_from(points[test], points[split.train], SPACING_M/1000)
        made.append(Split(train=split.train, test=test, ratio=split.ratio))
    return Splits(made, f'squares of {SIDE_KM} km')


def judged(features:dict, labels:pd.DataFrame, split:Split, squares:np.ndarray) -> dict:
    "The paper's protocol on one split: {set: {trial predictor: Scored}}."
    shared = shared_points(labels[['x', 'y']].to_numpy(), split.train)      # the rule of shared='drop'
    used = (split.train | split.test) & ~shared
    found = evaluate({name: values[used] for name, values in features.items()}, labels[used],
                     split=split.train[used], units=squares[used], name='dynamic world')
    return {name: {' '.join(key): one for key, one in {**found.scored[name], **found.beside[name]}.items()
                   if key != SAME} for name in features}


def rests_on(labels:pd.DataFrame, splits:list[Split]) -> dict:
    "Points on either side, and the share of those tested that lie within the paper's spacing."
    near = []
    for split in splits:
        used = split.train | split.test
        count = near_points(labels.loc[used, ['x', 'y']].to_numpy(), split.train[used])
        near.append(count/int(split.test.sum()))
    train, test = (float(np.mean([getattr(one, side).sum() for one in splits])) for side in ('train', 'test'))
    return {'splits': len(splits), 'train': train, 'test': test, 'near': float(np.mean(near))}


def several(features:dict, labels:pd.DataFrame, splits:Splits, squares:np.ndarray) -> dict:
    "Scores of some splits: {set: {trial predictor: {'value': (splits,), 'beside': (splits,)}}}."
    each = [judged(features, labels, split, squares) for split in splits]
    return {name: {key: {'value': [one[name][key].mean for one in each],
                         'beside': [float(one[name][key].beside.mean()) for one in each]}
                   for key in each[0][name]} for name in features}


def measure(work:object=None) -> dict:
    "All numbers of the study."
    rows, features, labels, squares = opened()
    halves = blocked(labels, squares)
    rules = {'random': random_splits(labels['label'].to_numpy() + 1, halves, seed=0), 'blocked': halves}
    ratio = float(np.mean([split.ratio for split in halves]))
    raw = {rule: several(features, labels, splits, squares) for rule, splits in rules.items()}
    found = {rule: {name: {key: over_splits(one['value'], ratio) | {'beside': float(np.mean(one['beside']))}
                           for key, one in each.items()} for name, each in sets.items()}
             for rule, sets in raw.items()}
    facts = {rule: rests_on(labels, splits) for rule, splits in rules.items()}
    for region in REGIONS:
        mine = (rows['region'] == region).to_numpy()
        split = Split(train=~mine, test=mine, ratio=1.)
        one, facts[region] = judged(features, labels, split, squares), rests_on(labels, [split])
        found[region] = {name: {key: scored(score) for key, score in each.items()}
                         for name, each in one.items()}
    gaps = {f'{name} {key}': ends(paired(one['value'], raw['blocked'][name][key]['value'], ratio))
            for name, each in raw['random'].items() for key, one in each.items()}
    return {'scores': found, 'gaps': gaps, 'facts': facts, 'data': checks(rows, squares)}


def checks(rows:pd.DataFrame, squares:np.ndarray) -> dict:
    "What was looked at before any score."
    close = {}
    for region, part in rows.groupby('region'):
        points = part[POINT].to_numpy()
        alone = [far_from(points[[i]], np.delete(points, i, 0), .03).all() for i in range(len(points))]
        close[REGIONS[region]] = int(len(alone) - sum(alone))
    sizes = sorted(set(rows.groupby(['region', 'dw_label']).size().tolist()))
    return {'points': len(rows), 'values missing': int(rows.isna().sum().sum()),
            'the same point twice': int(rows.duplicated(POINT).sum()),
            'the same embedding twice': int(rows.duplicated(BANDS).sum()),
            'points of each class and region': sizes,
            'points within 30 m of another': close, 'squares of 10 km': len(set(squares)),
            'mean probability of the likeliest class': float(rows[CLASSES].max(axis=1).mean())}


def tables(found:dict) -> list[str]:
    "The table of the page, all scores, and all gaps."
    short, long = [], []
    for rule, said in RULES.items():
        both = found['scores'][rule]
        short.append([said, percent(both['coordinates']['max knn1']),
                      *(percent(both['released'][key]) for key in SHOWN),
                      f"{100*both['released']['max linear']['beside']:.0f}"])
        long += [[said, name, key, percent(one, 1), f"{100*one['beside']:.1f}"]
                 for name in SETS for key, one in both[name].items()]
    gaps = [[key, percent(one, 1), f"{100*one['detectable']:.1f}"] for key, one in found['gaps'].items()]
    head = ['split', 'coordinates, nearest', *SHOWN.values(), 'its macro-F1, linear']
    return [table(head, short),
            table(['split', 'features', 'trial and predictor', 'balanced accuracy, %', 'macro-F1, %'], long),
            table(['features, trial and predictor', 'random − blocked, points', 'smallest detectable'], gaps)]
