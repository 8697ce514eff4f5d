"""(b) Sentinel-1 medians from released embeddings, and released embeddings from Sentinel-1 medians.

Trained in one region and tested in the other, and within a region on ten deals of squares of 10 km, without
test points nearer than 1.28 km to one to train with. Linear functions have an intercept here: decibels have a
level. R² of all 64 components together is the share of their summed variance that is explained.
"""
import numpy as np
import pandas as pd
from evaluations_classes import REGIONS, blocked, opened
from evaluations_common import over_splits, table, words

from alphaearth_nb.evaluation import evaluate
from alphaearth_nb.splits import Split, Splits

RADAR, PREDICTORS = {'S1_VV': 'VV', 'S1_VH': 'VH'}, ('linear', 'knn3', 'forest')
WAYS = {('iowa_ag', 'iowa_ag'): 'within Iowa', ('sf_bay_urban', 'sf_bay_urban'): 'within the Bay',
        ('iowa_ag', 'sf_bay_urban'): 'trained in Iowa, tested at the Bay',
        ('sf_bay_urban', 'iowa_ag'): 'trained at the Bay, tested in Iowa'}
SHOWN = {'VV from embeddings': 'linear', 'VH from embeddings': 'linear', 'VV from coordinates': 'forest',
         'embeddings from VV and VH': 'linear'}


def one_number(features:np.ndarray, numbers:np.ndarray, labels:pd.DataFrame, split:Split, squares:np.ndarray,
               beside:bool) -> dict:
    "Scores of one number on one split, by predictor, with all rows to train with."
    used = split.train | split.test
    found = evaluate(features[used], labels[used].assign(label=numbers[used]), split=split.train[used],
                     kind='numbers', trials=('max',), intercept=True, units=squares[used], beside=beside)
    both = {**found.scored['features'], **found.beside.get('features', {})}
    return {name: both['max', name] for name in PREDICTORS if ('max', name) in both}


def together(numbers:np.ndarray, split:Split, each:list[dict]) -> dict:
    "R² of several numbers as the share of their summed variance, and its resamples, by predictor."
    variance = numbers[split.test].var(0)
    weights = variance/variance.sum()
    return {name: (float(weights@[one[name].mean for one in each]),
                   weights@np.array([one[name].draws for one in each])) for name in each[0]}


def resampled(value:float, draws:np.ndarray) -> dict:
    "A value with the 95 % interval that `ae.evaluate` gives to a single fold."
    from scipy import stats
    half = float(stats.t.ppf(.975, len(draws) - 1)*draws.std(ddof=1))
    return {'value': value, 'low': value - half, 'high': value + half}


def splits_of(way:tuple[str, str], rows:pd.DataFrame, labels:pd.DataFrame, squares:np.ndarray) -> Splits:
    "One split for two regions, ten within one."
    region, made = rows['region'].to_numpy(), []
    if way[0] != way[1]: return Splits([Split(train=region == way[0], test=region == way[1], ratio=1.)])
    mine = np.flatnonzero(region == way[0])
    for split in blocked(labels.iloc[mine].reset_index(drop=True), squares[mine]):
        train, test = (np.zeros(len(rows), bool) for _ in range(2))
        train[mine], test[mine] = split.train, split.test
        made.append(Split(train=train, test=test, ratio=split.ratio))
    return Splits(made)


def one_way(way:tuple[str, str], given:tuple, features:np.ndarray, numbers:np.ndarray, beside:bool) -> dict:
    "R² of some numbers from some features, one way, by predictor."
    rows, labels, squares = given
    splits, values, last = splits_of(way, rows, labels, squares), {}, {}
    for split in splits:
        each = [one_number(features, column, labels, split, squares, beside) for column in numbers.T]
        last = together(numbers, split, each)
        for name, (value, _) in last.items(): values.setdefault(name, []).append(value)
    if len(splits) == 1: return {name: resampled(*one) for name, one in last.items()}
    ratio = float(np.mean([one.ratio for one in splits]))
    return {name: over_splits(each, ratio) for name, each in values.items()}


def measure(work:object=None) -> dict:
    "All numbers of the study."
    rows, features, labels, squares = opened()
    given, radar, found = (rows, labels, squares), rows[[*RADAR]].to_numpy(), {}
    embedded, points = features['released'].astype(float), features['coordinates']
    for way, said in WAYS.items():
        for i, name in enumerate(RADAR.values()):
            one = radar[:, [i]]
            found[f'{name} from embeddings, {said}'] = one_way(way, given, embedded, one, True)
            if way[0] != way[1]: continue
            found[f'{name} from coordinates, {said}'] = one_way(way, given, points, one, True)
        found[f'embeddings from VV and VH, {said}'] = one_way(way, given, radar, embedded, False)
    spread = {f'deviation of {said} in {REGIONS[region]}, dB': float(part[name].std())
              for region, part in rows.groupby('region') for name, said in RADAR.items()}
    return {'scores': found, 'data': {'points': len(rows)} | spread}


def tables(found:dict) -> list[str]:
    "The table of the page, and all scores."
    scores = found['scores']
    short = [[said, *(words(scores.get(f'{what}, {said}', {}).get(name)) for what, name in SHOWN.items())]
             for said in WAYS.values()]
    long = [[key, *(words(each.get(name)) for name in PREDICTORS)] for key, each in scores.items()]
    heads = {'linear': 'linear', 'knn3': 'three nearest', 'forest': 'forest'}
    head = ['R²', *(f'{what}, {heads[name]}' for what, name in SHOWN.items())]
    return [table(head, short), table(['R²', *heads.values()], long)]
