"""The synthetic Earth as every source of the table sees it: bits that must not move, laws that must hold."""
import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies

from alphaearth_nb import sources
from alphaearth_nb.core import AlphaEarthError, ConfigError
from alphaearth_nb.frames import FrameSequence
from alphaearth_nb.model import AlphaEarth
from alphaearth_nb.orbits import TRACKS
from alphaearth_nb.readers import ARRAYS, make_frames
from alphaearth_nb.settings import ModelConfig, from_json, to_json
from alphaearth_nb.source_types import Band, Source
from alphaearth_nb.sources import SOURCES, add_source, source, standardize, statistics, to_classes
from alphaearth_nb.standardized import standardize_source
from alphaearth_nb.synthetic import GROWN, SyntheticWorld, synthetic_place
from alphaearth_nb.target_values import TRUTHS
from alphaearth_nb.terrain import relief
from alphaearth_nb.training import train

SMALL = {'size_px': (24, 32), 'start': '2018-01-01', 'days': 200}
TARGETS = tuple(name for name, row in SOURCES.items() if row.role == 'target')
FOUR = {'sentinel1': source('sentinel1').paper_bands}
seeds = strategies.integers(0, 10**6)
few = settings(max_examples=6, deadline=None)


# ---- bits of the frames that were there before any target was

# of synthetic_place(1, (16, 24), start='2018-03-01', days=40), drawn before this page grew targets: what is
# whole (times, masks, labels) as a hash, what is rounded as mean and deviation
WHOLE = '1c2f79cc585aba221563a4d94c999d4b'
ROUNDED = {'sentinel2': (0.203257884, 0.146082134, 5.89916912),
           'sentinel1': (-13.8025133, 5.07468296, -75.7328351),
           'landsat': (39.0026508, 95.10362, 258.660847)}


def digest(frames:FrameSequence) -> str:
    "Hash of all that has no rounding."
    arrays = [getattr(part, key) for part in frames.values() for key in ARRAYS if key != 'values']
    whole = b''.join(map(np.ndarray.tobytes, [*arrays, frames.labels.class_id.values]))
    return hashlib.sha256(whole).hexdigest()[:32]


def test_the_three_satellites_see_what_they_always_saw():
    "Same seed, same frames as before there were hills; another processor may round the last bit another way."
    frames = synthetic_place(1, (16, 24), start='2018-03-01', days=40)
    assert frames.sources == ('sentinel2', 'sentinel1', 'landsat') and digest(frames) == WHOLE
    for name, numbers in ROUNDED.items():
        values = frames[name].values.astype(np.float64)
        assert not frames[name].metadata
        found = values.mean(), values.std(), values.ravel()[::997].sum()
        np.testing.assert_allclose(found, numbers, rtol=1e-6)


@few
@given(seeds)
def test_who_else_looks_makes_no_difference(seed):
    "To the last bit, on this machine: inputs alone, and among all sources."
    alone, among = synthetic_place(seed, **SMALL), synthetic_place(seed, **SMALL, sources=GROWN)
    for name in alone:
        for key in ARRAYS: assert getattr(alone[name], key).tobytes() == getattr(among[name], key).tobytes()
    again = synthetic_place(seed, **SMALL, sources=GROWN[::-1])
    for name in among: np.testing.assert_array_equal(among[name].values, again[name].values)


# ---- laws

@few
@given(seeds, strategies.booleans())
def test_frames_obey_the_table(seed, changes):
    "Ranges, codes, masks, metadata, dates; and the same again after a round through a file's arrays."
    world = SyntheticWorld(seed, **SMALL, sources=GROWN, bands=FOUR, change='2018-04-01' if changes else None)
    for name, part in world.frames().items():
        row, known = source(name), np.isfinite(part.values)
        for i, band in enumerate(part.bands):
            low, high = row.band(band).valid_range
            inside = part.values[:, i][known[:, i]]
            assert inside.size == 0 or (low <= inside.min() and inside.max() <= high), (name, band)
        assert part.values.dtype == np.float32 and world.period.contains(part.times).all()
        seen = known if part.valid_pixels.shape[1] > 1 else known.any(1, keepdims=True)
        assert not (part.valid_pixels & ~seen).any()
        assert (part.bands_present == known.any((2, 3))).all() and part.present.all()
        if name in (*TARGETS, 'sentinel1'): assert tuple(part.metadata) == row.metadata, name
        if row.classes: assert (to_classes(part.values[known], name) >= 0).all()
        if row.steady: assert part.times.tolist() == [(world.period.start_ms + world.period.end_ms)//2]


@few
@given(seeds)
def test_physics_holds(seed):
    world = SyntheticWorld(seed, **SMALL, sources=('gedi', 'glo30', 'era5land', 'palsar2', 'sentinel2'))
    frames = world.frames()
    if 'gedi' in frames:
        heights = np.moveaxis(frames['gedi'].values, 1, -1)[frames['gedi'].valid_pixels[:, 0]]
        assert (np.diff(heights, axis=1) >= 0).all() and heights[:, 0].max() < 6 < 60 > heights[:, 100].max()
    elevation, sine, cosine, east, north = frames['glo30'].values[0]
    inner = relief(elevation, 10)                                    # without the outermost pixels
    np.testing.assert_allclose(inner[1], sine[1:-1, 1:-1], atol=2e-4)
    facing = np.isfinite(inner[3]) & (sine[1:-1, 1:-1] > .01)
    np.testing.assert_allclose(inner[3][facing], east[1:-1, 1:-1][facing], atol=.02)
    np.testing.assert_allclose(sine**2 + cosine**2, 1, atol=1e-5)
    climate = frames['era5land']
    assert (climate.values == climate.values[:, :, :1, :1]).all()                 # one number for the place
    named = dict(zip(climate.bands, climate.values[:, :, 0, 0].T))
    for name in ('temperature_2m', 'dewpoint_temperature_2m', 'surface_pressure'):
        assert (named[f'{name}_min'] <= named[name]).all() and (named[name] <= named[f'{name}_max']).all()
    for end in ('', '_min', '_max'):
        assert (named[f'dewpoint_temperature_2m{end}'] <= named[f'temperature_2m{end}']).all()
    assert (named['total_precipitation_min'] <= named['total_precipitation_max']).all()
    assert (named['total_precipitation_max'] <= named['total_precipitation_sum'] + 1e-9).all()


def test_a_radar_scene_may_lack_a_polarisation():
    "Of PALSAR-2's under 12 % and over 3 % hold HH alone; HV is then absent, and HH and LIN are not."
    lacking = []
    for seed in range(12):
        part = synthetic_place(seed, 16, start='2015-01-01', days=1000, sources=('palsar2',))['palsar2']
        assert part.bands_present[:, [0, 2]].all() and np.isnan(part.values[~part.bands_present]).all()
        lacking.append((~part.bands_present[:, 1]).mean())
    assert .03 < np.mean(lacking) < .12


@few
@given(seeds)
def test_sentinel1_records_one_or_two_of_four(seed):
    world = SyntheticWorld(seed, 16, start='2018-01-01', days=120, sources=('sentinel1',), bands=FOUR)
    part = world.frames()['sentinel1']
    plain = synthetic_place(seed, 16, start='2018-01-01', days=120)['sentinel1']
    there = part.bands_present
    assert there[:, 4].all() and set(there[:, :4].sum(1)) <= {1, 2}
    both = there[:, 0] & there[:, 1]
    np.testing.assert_array_equal(part.values[both, :2], plain.values[both])
    assert not (there[:, 0] & there[:, 2]).any()                       # waves are sent standing or lying
    assert .5 < part.values[:, 4].min() and part.values[:, 4].max() < .8


# ---- the same landscape for all

@pytest.mark.parametrize('name', TARGETS)
def test_a_frame_is_the_truth_and_its_noise(name):
    world = SyntheticWorld(4, 48, start='2018-01-01', days=365, sources=(name,))
    part = world.frames()[name]
    for i, band in list(enumerate(part.bands))[::25]:
        true = np.stack([world.value(name, band, int(ms)) for ms in part.times])
        seen, known = part.values[:, i], np.isfinite(part.values[:, i]) & np.isfinite(true)
        if source(name).classes: assert (seen == true)[known].mean() > .75       # cells of 30 m, and mistakes
        else: assert abs(np.median((seen - true)[known])) < {'dB': .7, 'm': 1., 'cm': 1.}.get(
            source(name).band(band).unit, .02), band


def test_a_change_reaches_every_source():
    "A wood that is felled grows no echo, no height and another name; the elevation was measured before."
    world = SyntheticWorld(0, 48, start='2018-01-01', days=365, change='2018-06-01')
    felled = (world.class_at('2018-05-31') == 4) & (world.class_at('2018-06-02') == 3)
    assert felled.any()
    def at(name:str, band:str, when:str) -> np.ndarray: return world.value(name, band, when)[felled]
    before, after = '2018-05-20', '2018-06-20'
    assert np.median(at('palsar2', 'HV', before) - at('palsar2', 'HV', after)) > 2
    assert np.median(at('gedi', 'RH98', before) - at('gedi', 'RH98', after)) > 8
    assert set(at('nlcd', 'landcover', '2017-06-01')) <= {41., 42., 43.}
    assert set(at('nlcd', 'landcover', after)) == {52.}
    np.testing.assert_array_equal(*(at('glo30', 'elevation', when) for when in (before, after)))
    table = world.captions()
    clear = table[np.isin(table.use, ['clearing'])]
    assert len(clear) and (clear.start >= '2018-06-01').all()


def test_a_place_of_all_sources_survives_the_disk(tmp_path):
    frames = synthetic_place(3, 32, start='2018-01-01', days=120, sources=GROWN, bands=FOUR)
    frames.to_zarr(tmp_path/'all.zarr')
    again = FrameSequence.from_zarr(tmp_path/'all.zarr')
    assert again.sources == frames.sources
    for name in frames:
        for key in ARRAYS:
            np.testing.assert_array_equal(getattr(again[name], key), getattr(frames[name], key))
        assert again[name].metadata.keys() == frames[name].metadata.keys()
    assert 'GEDI' in frames._repr_html_()


# ---- statistics

@pytest.mark.parametrize('name', [name for name in TARGETS if not source(name).classes])
def test_standardised_values_are_of_a_common_size(name):
    "Over a dozen places: means within 3, deviations neither 0 nor many, and hardly anything clipped."
    parts = [synthetic_place(seed, 32, start='2018-01-01', days=365, sources=(name,)) for seed in range(12)]
    parts = [frames[name] for frames in parts if name in frames]
    values = np.concatenate([standardize(part.values, name, part.bands) for part in parts])
    for i, band in enumerate(source(name).band_names):
        known = values[:, i][np.isfinite(values[:, i])]
        if band == 'total_precipitation_min': continue       # 0 in every month that has a day without rain
        assert abs(known.mean()) < 3 and .02 < known.std() < 3, (band, known.mean(), known.std())
        assert (np.abs(known) >= 6).mean() < .02, band


# ---- a model that is asked for all of it

def test_a_tiny_model_learns_from_every_source():
    "Some steps with all targets: every loss finite, parameters too."
    place = synthetic_place(2, 48, start='2018-01-01', days=300, sources=GROWN)
    torch.manual_seed(0)
    model = AlphaEarth.preset('tiny', targets=TARGETS)
    run = train(model, [place], steps=4, windows=2, window_px=16, frames=6, log_every=1, checkpoint_every=0,
                quiet=True)
    losses = run.losses()
    there = {name.removeprefix('reconstruction/') for name in losses if name.startswith('reconstruction/')}
    assert there >= set(GROWN)
    assert np.isfinite(losses.filter(like='total').to_numpy()).all()
    for name in there & set(GROWN): assert np.isfinite(losses[f'reconstruction/{name}']).any(), name
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


# ---- what cannot be asked for

@pytest.mark.parametrize('options, words', [
    ({'sources': ('smap',)}, 'some of'), ({'bands': {'smap': ('moisture',)}}, 'a mapping from some of'),
    ({'bands': {'sentinel1': ()}}, 'some of'), ({'bands': {'gedi': ('RH101',)}}, 'RH101')])
def test_what_is_not_grown_is_refused(options, words):
    with pytest.raises(ValueError, match=words): synthetic_place(0, **SMALL, **options)


def test_every_source_is_grown():
    assert set(GROWN) == set(SOURCES) and set(TRUTHS) == set(TARGETS) and set(TRACKS) < set(GROWN)


# ---- a source that somebody adds

@pytest.fixture
def snow():
    "A source that is taken out of the table again."
    depth = Band(name='depth', title='snow depth', unit='m', resolution_m=1000, valid_range=(0, 20))
    yield add_source(Source(name='snow', title='Snow', role='target', bands=(depth,), products={},
                            paper_bands=('depth',), colours=('depth',)*3), {'depth': (.4, .2)})
    SOURCES.pop('snow'), sources._ADDED.pop('snow')


def test_an_added_source_is_like_any_other(snow, tmp_path):
    "Framed, stored, standardised; and opened where it was not added, the model says what to do."
    place = synthetic_place(1, 32, start='2018-01-01', days=60)
    depth = np.full((2, 1, 32, 32), .6, np.float32)
    depth[0, 0, :5] = np.nan
    part = make_frames('snow', ('depth',), depth, place['landsat'].times[:2])
    frames = FrameSequence({**place, 'snow': part}, place.grid)
    frames.to_zarr(tmp_path/'place.zarr')
    again = FrameSequence.from_zarr(tmp_path/'place.zarr')['snow']
    np.testing.assert_array_equal(again.values, depth)
    assert 'Snow' in frames._repr_html_() and again.valid_pixels.sum() == depth.size - 5*32
    model = AlphaEarth.preset('tiny', targets=['snow'])
    config = model.config
    part = standardize_source(frames, 'snow', config)
    np.testing.assert_allclose(part.values[1], 1, atol=1e-5)
    text = to_json(config)
    assert from_json(ModelConfig, text) == config
    model.save(tmp_path/'model.safetensors')
    SOURCES.pop('snow')
    try:
        path = tmp_path/'model.safetensors'
        for opened in (lambda: AlphaEarth.load(path), lambda: from_json(ModelConfig, text)):
            with pytest.raises(AlphaEarthError, match='add_source'): opened()
    finally: SOURCES['snow'] = snow


def test_a_source_that_was_added_may_be_changed_and_others_not(snow):
    assert statistics()['snow'] == {'depth': (.4, .2)}
    add_source(replace(snow, title='Snow cover'), {'depth': (.5, .2)})
    assert source('snow').title == 'Snow cover' and statistics()['snow']['depth'] == (.5, .2)
    for wrong, told in ((replace(snow, colours=('cover',)), {'depth': (0, 1)}),
                        (replace(snow, role='label'), {'depth': (0, 1)}), (snow, {'depth': (0, np.nan)}),
                        (snow, {}), (snow, {'depth': (0, 1), 'cover': (0, 1)}), (source('gedi'), {})):
        with pytest.raises(ConfigError): add_source(wrong, told)
    assert source('snow').title == 'Snow cover' and statistics()['snow']['depth'] == (.5, .2)
