"""Labels that say nothing come out at chance: shuffled over features that are real, in 200 worlds.

A tenth of the worlds is tried here; `make torture` tries all (AE_TORTURE=1). Of 200 intervals of 95 %, 180 to
198 should hold chance; of 20, 17 to 20 (fewer than 17 happen once in 400 times where 95 % do).
"""
import os

import numpy as np
import pandas as pd
import pytest

from alphaearth_nb.evaluation import evaluate
from alphaearth_nb.paper_protocol import make_task, score_task

WORLDS = 200 if os.environ.get('AE_TORTURE') else 20
LEAST, MOST = (180, 198) if WORLDS == 200 else (17, 20)


def features(rows:int, seed:int=1, width:int=12) -> np.ndarray:
    "Unit vectors in clumps, as embeddings are; they know nothing of the labels."
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(9, width))[rng.integers(0, 9, rows)] + .6*rng.normal(size=(rows, width))
    return vectors/np.linalg.norm(vectors, axis=1, keepdims=True)


CASES = {'equal classes': np.repeat(np.arange(3), 160),
         'unequal classes': np.repeat(np.arange(4), (40, 80, 120, 240)),
         'two classes': np.repeat(['stable', 'changed'], (300, 180))}


@pytest.mark.parametrize('case', CASES)
def test_shuffled_labels_are_at_chance(case):
    """Every trial and every predictor, on a table of 480 rows; those beside the paper, which take long, once.

    With few folds the interval is too wide, because it adds the variance of their mean: 199 of 200 with 40.
    """
    x, labels, held = features(480), CASES[case], {}
    split = np.where(np.arange(480) % 3, 'test', 'train')
    chance, beside = 1/len(set(labels)), case == 'equal classes'
    for world in range(WORLDS):
        rng = np.random.default_rng([7, world])
        frame = pd.DataFrame({'label': rng.permutation(labels), 'split': rng.permutation(split)})
        found = evaluate(x, frame, trials=['10', 'max'], folds=120, seed=world, beside=beside)
        for row in found.table(beside=True).itertuples():
            key = row.trial, row.predictor
            held[key] = held.get(key, 0) + (row.low <= chance <= row.high)
    assert len(held) == (8 if beside else 6), held
    assert all(LEAST <= count <= MOST for count in held.values()), held


def test_shuffled_numbers_explain_nothing():
    "R² of numbers that say nothing is not told from zero upwards: its interval begins below it."
    above = {}
    for world in range(WORLDS):
        rng = np.random.default_rng([8, world])
        x, y = features(300, world), rng.normal(size=300)
        found = score_task(make_task(y[:120], y[120:], numbers=True, folds=8, seed=world), x[:120], x[120:])
        for key, one in found.items(): above[key] = above.get(key, 0) + (one.interval[0] > 0)
    assert max(above.values()) <= max(1, .025*WORLDS), above


def test_two_sets_that_say_nothing_are_not_told_apart():
    "The paired interval holds zero as often as it says; and so do those of deals by a rule, or more often."
    held, ruled, index = {}, {}, np.arange(480)
    places = pd.DataFrame({'x': 5 + .05*(index % 24), 'y': 50 + .03*(index//24)})
    for world in range(WORLDS):
        rng = np.random.default_rng([9, world])
        label = rng.permutation(np.repeat([0, 1], 240))
        sets = {'a': features(480, 2*world), 'b': features(480, 2*world + 1)}
        frame = places.assign(label=label, split=np.where(index % 2, 'test', 'train'))
        for row in evaluate(sets, frame, folds=10, beside=False, seed=world).comparisons().itertuples():
            held[row.trial, row.predictor] = held.get((row.trial, row.predictor), 0) + (not row.told)
        if world % 10: continue
        found = evaluate(sets, frame, split='blocked', block_km=20, deals=4, trials=['10'], folds=4,
                         beside=False)
        for predictor in ('knn1', 'linear'):
            one = found.paired('a', 'b', '10', predictor)
            ruled[predictor] = ruled.get(predictor, 0) + (one.low <= 0 <= one.high)
    assert all(LEAST <= count <= max(MOST, WORLDS) for count in held.values()), held
    assert all(count >= .85*WORLDS/10 for count in ruled.values()), ruled
