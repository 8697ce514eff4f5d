"""(c) What tracts of eight US metropolitan areas are like, from the mean of the released embeddings in each.

Half of the tracts of a metro are tested, then the other half; the linear function (with an intercept) is
learned from the other seven metros, or from as many tracts drawn at random from all that are not tested, so
that both are judged on the very same tracts. The mean of unit vectors is shorter than one; it is taken as
it is, as its length says how alike a tract is within, and scaled to unit length beside that. R² is that of
each metro about its own mean; the table has the median of eight metros, and in brackets the least and the
largest.
"""
import numpy as np
import pandas as pd
from evaluations_common import BANDS, here, table, words

from alphaearth_nb.evaluation import evaluate
from alphaearth_nb.intervals import paired

FILE = 'aef_us_tracts_2020_8msa.parquet'
TARGETS = {'population': 'residents', 'median_family_income': 'median family income',
           'impervious_mean': 'impervious share', 'developed_pct': 'developed share',
           'forest_pct': 'forest share', 'water_pct': 'water share', 'tcc_mean': 'tree canopy',
           'ndvi_mean': 'NDVI', 'elev_mean': 'elevation', 'slope_mean': 'slope'}
PEOPLE, PREDICTORS = ('population', 'median_family_income'), ('linear', 'knn3')
MEASURED = [name for name in TARGETS if name not in PEOPLE]
SETS = {'released': 'tract means', 'unit': 'scaled to unit length', 'measured': 'eight measured columns'}
RULES, LOWEST = ('random', 'out'), -10


def opened() -> pd.DataFrame:
    "Tracts that have labels."
    rows = pd.read_parquet(here(FILE))
    return rows[rows['elev_mean'].notna()].reset_index(drop=True)


def features_of(rows:pd.DataFrame, target:str) -> dict[str, np.ndarray]:
    "Sets of features; what is measured about the land, only for what is asked about people."
    means = rows[BANDS].to_numpy(float)
    found = {'released': means, 'unit': means/np.linalg.norm(means, axis=1, keepdims=True)}
    if target in PEOPLE:
        land = rows[MEASURED].to_numpy(float)
        found['measured'] = (land - land.mean(0))/land.std(0)
    return found


def halves(metro:np.ndarray, one:str, rng:np.random.Generator) -> list[dict]:
    "For each half of a metro: who trains by either rule, and who is tested."
    mine, found = rng.permutation(np.flatnonzero(metro == one)), []
    everyone = np.arange(len(metro))
    for half in np.array_split(mine, 2):
        test = np.isin(everyone, half)
        drawn = rng.choice(everyone[~test], int((metro != one).sum()), replace=False)
        found.append({'test': test, 'out': metro != one, 'random': np.isin(everyone, drawn)})
    return found


def one_side(given:dict, label:np.ndarray, train:np.ndarray, test:np.ndarray) -> dict:
    "R² and mean absolute error, {(set, predictor): pair}."
    used = train | test
    scored = evaluate({name: values[used] for name, values in given.items()},
                      pd.DataFrame({'label': label[used]}), split=train[used], kind='numbers',
                      trials=('max',), intercept=True, beside=False).scored
    return {(name, kind): (each['max', kind].mean, float(each['max', kind].beside.mean()))
            for name, each in scored.items() for kind in PREDICTORS}


def one_target(rows:pd.DataFrame, target:str, seed:int=0) -> dict:
    "R² and mean absolute error, {'set predictor': {rule: {metro: pair}}}."
    rows = rows[rows[target].notna()].reset_index(drop=True)
    metro, label = rows['msa'].to_numpy(), rows[target].to_numpy(float)
    given, rng, found = features_of(rows, target), np.random.default_rng(seed), {}
    for one in sorted(set(metro)):
        sides = halves(metro, one, rng)
        for rule in RULES:
            both = [one_side(given, label, side[rule], side['test']) for side in sides]
            for key in both[0]:
                pair = np.mean([each[key] for each in both], 0).tolist()
                found.setdefault(' '.join(key), {}).setdefault(rule, {})[one] = pair
    return found


def checks(rows:pd.DataFrame, whole:int) -> dict:
    "What was looked at before any score."
    length = np.linalg.norm(rows[BANDS], axis=1)
    shares = [name for name in rows if name.endswith('_pct')]
    total = rows[shares].sum(axis=1)
    return {'tracts': whole, 'of these without labels, left out': whole - len(rows),
            'the same embedding twice': int(rows.duplicated(BANDS).sum()),
            'tracts of each metro': rows['msa'].value_counts().to_dict(),
            'without residents, kept': int((rows['population'] == 0).sum()),
            'median income unknown, left out there': int(rows['median_family_income'].isna().sum()),
            'median income at the highest that is told': int((rows['median_family_income'] >= 250_000).sum()),
            'shortest, middle and longest mean': [float(q) for q in np.quantile(length, [0, .5, 1])],
            'shares that are 0 everywhere': [name for name in shares if (rows[name] == 0).all()],
            'least and largest sum of the shares': [float(total.min()), float(total.max())]}


def measure(work:object=None) -> dict:
    "All numbers of the study."
    rows, whole = opened(), len(pd.read_parquet(here(FILE), columns=['msa']))
    return {'scores': {target: one_target(rows, target) for target in TARGETS}, 'data': checks(rows, whole)}


def spread(metros:dict) -> str:
    "Median R² of the metros with the least and the largest; what is far below zero is only said to be so."
    values = [one[0] for one in metros.values()]
    return ' '.join([_number(np.median(values)), f'[{_number(min(values))}, {_number(max(values))}]'])


def _number(value:float) -> str:
    return f'< −{-LOWEST}' if value < LOWEST else f'{value:.2f}'.replace('-', '−')


def dearer(rules:dict) -> dict:
    "Error in a metro held out over the error with it, with a 95 % interval over metros that share training."
    out, known = ([np.log(one[1]) for one in rules[rule].values()] for rule in ('out', 'random'))
    one = paired(out, known, 1/(len(out) - 1))
    return {key: float(np.exp(value)) for key, value in
            (('value', one.mean), ('low', one.low), ('high', one.high))}


def tables(found:dict) -> list[str]:
    "The table of the page, and all scores."
    short, long = [], []
    for target, said in TARGETS.items():
        scores = found['scores'][target]
        rules = scores['released linear']
        land = spread(scores['measured linear']['out']) if 'measured linear' in scores else '–'
        short.append([said, spread(rules['random']), spread(rules['out']), words(dearer(rules)), land])
        for key, each in scores.items():
            name, kind = key.split()
            both = [spread(each[rule]) for rule in RULES]
            long.append([said, SETS[name], kind, *both, words(dearer(each))])
    head = ['of a tract', 'R², labels from all metros', 'R², metro held out', 'error held out / not']
    return [table([*head, 'R², held out, from eight measured columns'], short),
            table([head[0], 'features', 'predictor', *head[1:]], long)]
