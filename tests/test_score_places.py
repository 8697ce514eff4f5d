"""Splits, scores and intervals against the script that made the published tables, to the digit."""
import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from alphaearth_nb.baselines import annual_median, coordinates, harmonics, seasonal_medians
from alphaearth_nb.parcels import parcels
from alphaearth_nb.places import enlarge, open_frames
from alphaearth_nb.probes import score_features
from alphaearth_nb.sources import source
from alphaearth_nb.splits import block_splits, parcel_splits, split_seed

SHARED = Path(__file__).parents[1].parent/'shared'
SCRIPT, PLACE = SHARED/'tools/score_places.py', SHARED/'data/wc_flanders2018'
SPLITS, DRAWS, SIDE = 6, 3, 64
YEAR = '2018'   # the window that the script takes for this place
BASELINES = {'xy': lambda frames: coordinates(frames),
             'comp': lambda frames: annual_median(frames, YEAR),
             'seas': lambda frames: seasonal_medians(frames, YEAR),
             'harm': lambda frames: harmonics(frames, YEAR)}
PREDICTORS = {'kNN1': 'knn1', 'kNN3': 'knn3', 'ridge0': 'ridge', 'logreg': 'logistic'}
THREADS = ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS')


@pytest.fixture(scope='module')
def crops() -> np.ndarray:
    "The crop labels of the place in Flanders, as they are stored."
    if not SCRIPT.exists() or not PLACE.is_dir():
        pytest.skip(f'{SCRIPT.name} and the place {PLACE.name} are not beside this checkout (../shared)')
    with xr.open_dataset(next(PLACE.glob('OUTPUT_POLY*')), mask_and_scale=False) as labels:
        return labels.CT.values.astype(int)


@pytest.fixture(scope='module')
def frames(crops) -> dict:
    "The place as this project opens it, and with all radar values that the script takes."
    opened = open_frames(PLACE)
    with xr.open_dataset(next(PLACE.glob('S1_GRD*')), mask_and_scale=False) as radar:
        stored = np.stack([radar[band].values*1e-4 for band in ('VV', 'VH')], 1)
    radar = dataclasses.replace(opened['sentinel1'], values=enlarge(stored),
                                valid_pixels=np.ones_like(opened['sentinel1'].valid_pixels))
    every = dataclasses.replace(opened, frames={**opened, 'sentinel1': radar})
    return {'opened': opened, 'every': every, 'radar': stored}


@pytest.fixture(scope='module')
def script(crops):
    "The script as a module, for its features."
    spec = importlib.util.spec_from_file_location('score_places', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def features(crops, frames) -> dict[str, np.ndarray]:
    "The baselines, and a stand-in field that knows the crops a little and has a hole."
    rng = np.random.default_rng(5)
    codes = np.unique(crops, return_inverse=True)[1].ravel()
    vectors = .4*rng.normal(size=(codes.max() + 1, 24))[codes] + rng.normal(size=(SIDE*SIDE, 24))
    vectors[rng.random(SIDE*SIDE) < .01] = np.nan
    found = {name: make(frames['every']).reshape(SIDE*SIDE, -1) for name, make in BASELINES.items()}
    return found | {'standin': vectors}


@pytest.fixture(scope='module')
def published(features, tmp_path_factory) -> dict:
    "What the script says about them: {rule: results}."
    folder = tmp_path_factory.mktemp('script')
    np.save(folder/'standin.npy', features['standin'])
    command = [sys.executable, SCRIPT, PLACE, '--rule', 'both', '--features', ','.join(BASELINES),
               '--field', f'standin={folder}/standin.npy',
               '--splits', str(SPLITS), '--draws', str(DRAWS), '--json', folder/'out.json']
    environment = os.environ | dict.fromkeys(THREADS, '1')
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads((folder/'out.json').read_text())[0]


@pytest.fixture(scope='module')
def ours(crops, features) -> dict:
    "The same by this project: {rule: (splits, cards)}, and the parcels."
    from threadpoolctl import threadpool_limits
    found = parcels(crops, valid=np.isfinite(features['standin']).all(1).reshape(crops.shape))
    results = {'parcels': found}
    with threadpool_limits(1):   # sums in another order could turn a tie
        for rule, split in (('parcel', parcel_splits), ('block', block_splits)):
            seed = split_seed(PLACE.name, rule)
            splits = split(found, SPLITS, seed)
            results[rule] = splits, score_features(features, found, splits, seed, DRAWS)
    return results


@pytest.mark.parametrize('name', BASELINES)
def test_baselines_are_the_same(script, features, name):
    "Every feature of every pixel, in the script's order."
    theirs = getattr(script, f'f_{name}')(script.load_site(str(PLACE)))
    assert features[name].shape == theirs.shape
    assert np.abs(features[name] - theirs).max() < 1e-5


def test_only_impossible_radar_values_are_left_out(frames):
    "What this project drops and the script keeps is brighter or darker than the table of sources allows."
    opened, every = (frames[name]['sentinel1'] for name in ('opened', 'every'))
    dropped = ~np.isfinite(opened.values) & np.isfinite(every.values)
    assert 0 < dropped.mean() < 1e-3
    low, high = source('sentinel1').band('VV').valid_range
    outside = (frames['radar'] < low) | (frames['radar'] > high)
    assert (dropped == outside.repeat(2, -1).repeat(2, -2)).all()
    mine, theirs = (BASELINES['comp'](frames[which]) for which in ('opened', 'every'))
    assert (mine[..., :-2] == theirs[..., :-2]).all()   # the optical bands


def test_parcels_are_the_same(published, ours):
    theirs = {int(one): info for one, info in published['classes'].items()}
    assert theirs.keys() == ours['parcels'].info.keys()
    for one, info in ours['parcels'].info.items():
        assert info['parcels_px'] == theirs[one]['parcels_px']
        assert ('eroded class' in info['how']) == ('eroded mask' in theirs[one]['how'])


@pytest.mark.parametrize('rule', ['parcel', 'block'])
def test_splits_are_the_same(published, ours, rule):
    (splits, cards), theirs = ours[rule], published['rules'][rule]
    card, class_id = cards['xy'], ours['parcels'].class_id
    assert list(card.classes) == theirs['classes']
    assert (len(splits), card.distinct) == (theirs['n_splits'], theirs['unique_splits'])
    assert card.ratio == pytest.approx(theirs['ratio'], abs=1e-12)
    for one in card.classes:
        pixels = [(class_id[split.test] == one).sum() for split in splits]
        assert np.percentile(pixels, [0, 50, 100]).astype(int).tolist() == theirs['test_px'][str(one)]


@pytest.mark.parametrize('rule', ['parcel', 'block'])
@pytest.mark.parametrize('name', [*BASELINES, 'standin'])
def test_scores_are_the_same(published, ours, rule, name):
    card, theirs = ours[rule][1][name], published['rules'][rule]['scores'][name]
    for trial, row in card.scores.items():
        for their_name, our_name in PREDICTORS.items():
            np.testing.assert_allclose(row[our_name], theirs[trial][their_name], rtol=0, atol=1e-9,
                                       err_msg=f'{name}, {trial} shots, {our_name}')
        assert PREDICTORS[theirs[trial]['best']] == card.best(trial)


@pytest.mark.parametrize('name', BASELINES)
@pytest.mark.parametrize('trial', ['1', '10', 'max'])
@pytest.mark.parametrize('rule', ['parcel', 'block'])
def test_intervals_are_the_same(published, ours, rule, trial, name):
    theirs = published['rules'][rule]['paired'][trial]['standin']['vs_all'][name]
    cards = ours[rule][1]
    mine = cards['standin'].against(cards[name], trial)
    assert [mine.mean, mine.sd, mine.se, mine.p] == pytest.approx(
        [theirs['mean'], theirs['sd'], theirs['se_corrected'], theirs['p_corrected']], abs=1e-9)
    half = stats.t.ppf(.975, theirs['n'] - 1)*theirs['se_corrected']
    assert [mine.detectable, mine.low, mine.high] == pytest.approx(
        [half, theirs['mean'] - half, theirs['mean'] + half], abs=1e-9)
    assert (mine.wins, mine.ties, mine.n) == (theirs['wins'], theirs['ties'], theirs['n'])
