"""Baselines against other ways to the same numbers; gaps, seeds, several places; and a real place."""
import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal
from sklearn.decomposition import PCA

from alphaearth_nb.baselines import annual_median, seasonal_medians, z_scores
from alphaearth_nb.core import FrameError
from alphaearth_nb.more_baselines import (
    BASELINES, interpolate_series, pixel_codes, place_baselines, position_code, random_convolutions,
    regular_series, series_components,
)
from alphaearth_nb.places import open_frames
from alphaearth_nb.synthetic import synthetic_place

few = settings(max_examples=25, deadline=None, derandomize=True, database=None)


@pytest.fixture(scope='module')
def place(): return synthetic_place(size_px=20, days=420)


def holed(place, share:float=.5, seed:int=0):
    "The place with pixels of Sentinel-2 that were never clear, and one band of them all that was never seen."
    part, rng = place['sentinel2'], np.random.default_rng(seed)
    never = rng.random(part.values.shape[-2:]) < share
    values = np.where(never, np.nan, part.values).astype(np.float32)
    clear = part.valid_pixels & ~never
    return dataclasses.replace(place, frames={**place, 'sentinel2': dataclasses.replace(
        part, values=values, valid_pixels=clear)}), never


# ---- position

@few
@given(st.floats(-180, 180), st.floats(-90, 90), st.floats(-180, 180), st.floats(-90, 90))
def test_codes_of_position_are_points_of_two_circles(lon, lat, other_lon, other_lat):
    "Lengths are 1, and the distance of two codes is that of two chords."
    one, other = position_code([lon, other_lon], [lat, other_lat])
    assert np.allclose([one[:2]@one[:2], one[2:]@one[2:]], 1)
    chords = [2 - 2*np.cos(np.radians(a - b)) for a, b in ((lon, other_lon), (lat, other_lat))]
    assert ((one - other)**2).sum() == pytest.approx(sum(chords), abs=1e-9)


def test_codes_of_pixels_are_those_of_their_centres(place):
    from alphaearth_nb.grids import pixels_of_points
    codes = pixel_codes(place)
    lon, lat = np.degrees(np.arctan2(codes[..., 0], codes[..., 1])), np.degrees(np.arcsin(codes[..., 2]))
    rows, columns = pixels_of_points(place.grid, lon.ravel(), lat.ravel())
    expected = np.indices((20, 20)).reshape(2, -1)
    assert (rows == expected[0]).all() and (columns == expected[1]).all()


# ---- random convolutions

def test_random_convolutions_against_scipy(place):
    "Whitening by a pseudo-inverse root, correlation by scipy, pooling by a box: the same features."
    picture = seasonal_medians(place, '2018')
    found = random_convolutions(place, '2018', features=12, seed=3)
    flat = picture.reshape(-1, picture.shape[-1])
    left, sizes, axes = np.linalg.svd(flat.T@flat/len(flat))
    white = picture@(left@np.diag((sizes + .01)**-.5)@left.T)
    chosen = np.random.default_rng(3).choice(400, 6, replace=False)
    wide = np.pad(white, ((1, 1), (1, 1), (0, 0)), 'edge')
    features = []
    for sign in (1, -1):
        for place_ in chosen:
            row, column = divmod(place_, 20)
            patch = wide[row:row + 3, column:column + 3]
            patch = patch/np.linalg.norm(patch)
            answer = sum(signal.correlate2d(wide[..., band], patch[..., band], 'valid')
                         for band in range(patch.shape[-1]))
            lit = np.pad(np.maximum(sign*answer - 1, 0), 2, 'edge')
            features.append(signal.convolve2d(lit, np.ones((5, 5))/25, 'valid'))
    assert np.allclose(found, z_scores(np.stack(features, -1)), atol=1e-8)


def test_random_convolutions_are_the_same_for_the_same_seed(place):
    one, same, other = (random_convolutions(place, '2018', 16, seed=seed) for seed in (0, 0, 1))
    assert (one == same).all() and one.shape != other.shape or (one != other).any()


# ---- series

@few
@given(st.integers(0, 999), st.integers(1, 25), st.integers(1, 30))
def test_interpolation_is_that_of_numpy(seed, n, pixels):
    rng = np.random.default_rng(seed)
    times = np.sort(rng.choice(1000, n, replace=False))
    values = np.where(rng.random((n, pixels)) < .5, np.nan, rng.normal(size=(n, pixels)))
    calendar = np.sort(rng.uniform(-100, 1100, 12))
    found = interpolate_series(times, values, calendar)
    for series, mine in zip(values.T, found.T):
        seen = np.isfinite(series)
        if not seen.any(): assert np.isnan(mine).all()
        else: assert np.allclose(mine, np.interp(calendar, times[seen], series[seen]))


def test_components_are_those_of_scikit_learn(place):
    whole = z_scores(regular_series(place, '2018')).reshape(400, -1)
    theirs = PCA(10, svd_solver='full').fit(whole)
    found = series_components(place, '2018', components=10).reshape(400, 10)
    assert np.allclose(abs(found), abs(theirs.transform(whole)), atol=1e-8)
    weights = np.linalg.lstsq(whole, found, rcond=None)[0]
    assert (weights[abs(weights).argmax(0), range(10)] > 0).all()         # the sign is settled


def test_far_pixels_stay_far(place):
    "With all components the distance of two pixels is the distance of their series."
    whole = z_scores(regular_series(place.select(sources='sentinel1'), '2018', 60.)).reshape(400, -1)
    found = series_components(place.select(sources='sentinel1'), '2018', step_days=60.).reshape(400, -1)
    assert np.allclose(((found[3] - found[9])**2).sum(), ((whole[3] - whole[9])**2).sum())


# ---- gaps, several places

@pytest.mark.parametrize('name', [name for name in BASELINES if name != 'xyz'])
def test_pixels_that_were_never_clear_get_the_mean(place, name):
    "All features are finite; pixels without optical data lie at the mean of their optical features."
    frames, never = holed(place)
    found = place_baselines(frames, '2018', [name], features=32)[name]
    assert np.isfinite(found).all() and (found.reshape(400, -1).std(0) > 0).all()
    if name in ('median', 'seasons', 'harmonics'):
        width = {'median': 10, 'seasons': 10, 'harmonics': 70}[name]
        assert np.allclose(found[never][:, :width], 0)


def test_the_same_place_twice_is_the_same_place(place):
    "Two copies on one scale are the one alone, whatever their order."
    alone = place_baselines(place, '2018', ['median', 'seasons', 'harmonics', 'series', 'xy'])
    for name, (one, other) in place_baselines([place, place], '2018', [*alone]).items():
        assert np.allclose(one, other) and np.allclose(one, alone[name], atol=1e-6)


def test_places_of_other_brightness_stay_so(place):
    "A place that is brighter by a tenth is so after scaling; both together have mean 0 and variance 1."
    part = place['sentinel2']
    brighter = dataclasses.replace(part, values=part.values + np.float32(.1))
    other = dataclasses.replace(place, frames={**place, 'sentinel2': brighter})
    for name in ('median', 'seasons'):
        one, two = place_baselines([place, other], '2018', [name])[name]
        assert (two[..., :10].mean((0, 1)) - one[..., :10].mean((0, 1)) > .3).all()
        assert np.allclose(np.concatenate([one, two]).std((0, 1)), 1)


def test_each_place_has_its_own_period(place):
    later = dataclasses.replace(place, frames={name: dataclasses.replace(
        part, times=part.times + 365*86_400_000) for name, part in place.items()})
    pair = place_baselines([place, later], ['2018', '2019'], ['median', 'series', 'harmonics'])
    for one, other in pair.values(): assert np.allclose(one, other, atol=1e-6)


def test_what_is_missing_is_said(place):
    with pytest.raises(FrameError, match='leave xyz out'): place_baselines(place, '2018', ['xyz'])
    with pytest.raises(FrameError, match='one with a clear frame'): place_baselines(place, '1999', ['series'])
    with pytest.raises(FrameError, match='the same at all places'):
        place_baselines([place, place.select(sources='sentinel1')], '2018', ['seasons'])
    assert 'xyz' not in place_baselines(place, '2018', None, features=4)


def test_unscaled_features_keep_their_gaps(place):
    frames, never = holed(place)
    raw = annual_median(frames, '2018', scaled=False)
    assert np.isnan(raw[never][:, :10]).all() and np.isfinite(raw[~never]).all()
    assert np.allclose(z_scores(raw), annual_median(frames, '2018'))


# ---- a real place

def test_all_baselines_of_a_real_place(flanders):
    "Crops of Flanders are told by each better than by chance, on half of the parcels' pixels."
    from sklearn.neighbors import KNeighborsClassifier
    frames = open_frames(flanders)
    crop = frames.labels.class_id.values
    found = place_baselines(frames, '2018', features=128)
    assert set(found) == set(BASELINES) - {'xyz'}
    known, rng = crop > 0, np.random.default_rng(0)
    train = rng.random(known.sum()) < .5
    for name, values in found.items():
        assert np.isfinite(values).all() and values.shape[:2] == crop.shape
        x, y = values[known], crop[known]
        assert KNeighborsClassifier(3).fit(x[train], y[train]).score(x[~train], y[~train]) > .5, name
