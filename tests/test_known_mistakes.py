"""Mistakes that earlier open implementations made, as properties of the whole model.

Each passed a test of shapes and finite numbers. The pages have lessons for the parts; here they are put
together: untrained weights, made loud so that every operator takes part.
"""
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alphaearth_nb.batches import SAME_OVERPASS_DAYS, draw_batch, prepare
from alphaearth_nb.encoder import SourceBatch
from alphaearth_nb.frames import FrameSequence
from alphaearth_nb.model import AlphaEarth, pad_to_cells
from alphaearth_nb.periods import CODE_PERIODS_DAYS, DAY_MS
from alphaearth_nb.settings import ModelConfig, STPConfig, TrainingConfig
from alphaearth_nb.synthetic import synthetic_place
from alphaearth_nb.training import step_generator, step_loss
from alphaearth_nb.vmf import sample_tangent

SMALL = ModelConfig(name='mistakes', decoder_width=16, summary_width=32, summary_queries=2,
    bands={'sentinel2': ('B02', 'B04', 'B08'), 'sentinel1': ('VV', 'VH')},
    stp=STPConfig(blocks=2, space_width=32, time_width=16, precision_width=16, heads=2))
TRAINING = TrainingConfig(windows=4, window_px=16, frames=8, targets=2, support_days=(60, 150), uniformity=1.,
                          reconstruction=0., consistency=0., pixel_share=.5)
SPRING = torch.tensor([[[17_600., 17_630.]]], dtype=torch.float64)  # days since 1970
ROUNDING = 2e-5


@pytest.fixture(scope='module')
def model() -> AlphaEarth:
    "A small model in which every operator matters, also those that start silent."
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AlphaEarth(SMALL).eval()
        with torch.no_grad():
            for parameter in model.parameters(): parameter.add_(torch.randn_like(parameter)*.1)
    return model


@pytest.fixture(scope='module')
def frames() -> FrameSequence: return synthetic_place(size_px=48, days=200, start='2018-01-01')


def made(h:int=32, w:int=32, n:int=6, seed:int=0) -> dict[str, SourceBatch]:
    "Frames of two sources on irregular days, all present."
    generator = torch.Generator().manual_seed(seed)
    def part(count:int, bands:int) -> SourceBatch:
        days = 17_500 + 200*torch.rand(1, count, generator=generator, dtype=torch.float64).sort()[0]
        return SourceBatch(torch.randn(1, count, bands, h, w, generator=generator), days,
                           torch.ones(1, count).bool(), torch.ones(1, count, bands).bool())
    return {'sentinel2': part(n, 3), 'sentinel1': part(n - 2, 2)}


@torch.no_grad()
def embedded(model:AlphaEarth, batch:dict[str, SourceBatch], period:torch.Tensor=SPRING) -> torch.Tensor:
    "Embeddings (h, w, 64)."
    return model.summarize(model.encode(batch), period)[0, 0]


def changed(batch:dict[str, SourceBatch], name:str, **changes) -> dict[str, SourceBatch]:
    return {**batch, name: replace(batch[name], **changes)}


def picked(part:SourceBatch, order:list[int]) -> SourceBatch:
    "Frames in another order, or with some of them twice."
    return SourceBatch(part.values[:, order], part.days[:, order], part.present[:, order],
                       part.bands_present[:, order])


# ---- what is missing

@pytest.mark.parametrize('content', [0., 1e6, -3., math.nan, math.inf])
def test_absent_frames_say_nothing(model, content):
    "Padding was read as data; one NaN frame made every embedding NaN. To the bit, whatever stands there."
    batch = made()
    part = batch['sentinel2']
    without = {**batch, 'sentinel2': picked(part, [0, 1, 3, 4])}
    present, values, days = part.present.clone(), part.values.clone(), part.days.clone()
    present[:, [2, 5]], values[:, [2, 5]] = False, content
    if math.isfinite(content): days[:, 5] = content
    padded = changed(batch, 'sentinel2', present=present, values=values, days=days)
    assert torch.equal(embedded(model, padded), embedded(model, without))
    assert not torch.allclose(embedded(model, padded), embedded(model, batch), atol=1e-3)


@pytest.mark.parametrize('content', [0., 1e6, math.nan])
def test_absent_bands_say_nothing(model, content):
    batch = made()
    there, values = batch['sentinel1'].bands_present.clone(), batch['sentinel1'].values.clone()
    there[:, :, 1] = False
    plain = embedded(model, changed(batch, 'sentinel1', bands_present=there, values=values))
    values = values.clone()
    values[:, :, 1] = content
    assert torch.equal(embedded(model, changed(batch, 'sentinel1', bands_present=there,
                                                    values=values)), plain)
    assert not torch.allclose(plain, embedded(model, batch), atol=1e-3)


def test_nothing_present_is_finite(model):
    batch = {name: replace(part, present=torch.zeros_like(part.present)) for name, part in made().items()}
    vectors = embedded(model, batch)
    assert vectors.isfinite().all()
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(32, 32))


# ---- time

@settings(max_examples=8)
@given(st.permutations(range(6)))
def test_the_order_of_frames_is_no_information(model, order):
    batch = made()
    moved = embedded(model, {**batch, 'sentinel2': picked(batch['sentinel2'], order)})
    torch.testing.assert_close(moved, embedded(model, batch), atol=ROUNDING, rtol=0)


def test_the_order_of_sources_is_no_information(model):
    batch = made()
    turned = dict(reversed(batch.items()))
    torch.testing.assert_close(embedded(model, turned), embedded(model, batch), atol=ROUNDING, rtol=0)


def test_sources_keep_their_own_times(model):
    "Only the first source's times were used."
    batch = made()
    later = changed(batch, 'sentinel1', days=batch['sentinel1'].days + 40)
    assert (embedded(model, later) - embedded(model, batch)).abs().mean() > 1e-3


def test_time_is_no_hash(model):
    "An hour's shift moved embeddings to a cosine of 0.23. Near times are alike, and more so than far ones."
    batch = made()
    here = embedded(model, batch)
    def moved(days:float) -> float:
        parts = {name: replace(part, days=part.days + days) for name, part in batch.items()}
        return (embedded(model, parts, SPRING + days)*here).sum(-1).mean().item()
    cosines = [moved(days) for days in (1/24, 1, 10, 90)]
    assert cosines[0] > .9999 and cosines[1] > .99
    assert all(near > far for near, far in itertools.pairwise(cosines))


def test_time_returns_after_whole_waves(model):
    "Every wave of the code fits into the longest one, so a shift by that changes rounding only."
    longest, batch = max(CODE_PERIODS_DAYS), made()
    later = {name: replace(part, days=part.days + longest) for name, part in batch.items()}
    torch.testing.assert_close(embedded(model, later, SPRING + longest), embedded(model, batch),
                               atol=1e-4, rtol=0)


def test_the_valid_period_matters(model):
    "Another year gave a cosine of 0.999; here another season gives another embedding."
    batch = made()
    assert (embedded(model, batch)*embedded(model, batch, SPRING - 90)).sum(-1).mean() < .99


# ---- space

def test_the_summary_is_local(model):
    "Space and time were scrambled before pooling. A change at one position moves the 2 x 2 pixels there."
    with torch.no_grad():
        encoded = model.encode(made())
        plain = model.summarize(encoded, SPRING)[0, 0]
        value = encoded.memory.value.clone()                          # (b, h·w, heads, n, d/heads)
        value[:, 5*16 + 3, :, 2] += 1
        moved = model.summarize(encoded._replace(memory=encoded.memory._replace(value=value)), SPRING)[0, 0]
    rows, columns = (plain != moved).any(-1).nonzero(as_tuple=True)
    assert set(rows.tolist()) == {10, 11} and set(columns.tolist()) == {6, 7}


@pytest.mark.parametrize('h, w', [(32, 32), (16, 48), (40, 23), (7, 50)])
def test_full_resolution_on_any_size(model, h, w):
    "Embeddings stayed at half resolution; sides that are no multiple of 16, and non-squares, failed."
    vectors = embedded(model, made(h, w))
    assert vectors.shape == (h, w, 64)
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(h, w))
    pairs = (vectors[:-1:2][:h//2] - vectors[1::2]).abs().amax(-1)
    assert (pairs > 1e-4).float().mean() > .99                        # neighbours within a 20 m cell differ


@pytest.mark.parametrize('cell', [32, 64])
def test_more_padding_changes_nothing(model, cell):
    batch = made(24, 39)
    with torch.no_grad():
        memory = model.remember(*model.encoder(*pad_to_cells(batch, cell)))
        wider = model.summarize(model.encode(batch)._replace(memory=memory), SPRING)[0, 0]
    torch.testing.assert_close(wider, embedded(model, batch), atol=ROUNDING, rtol=0)


def test_values_do_not_depend_on_what_else_is_in_the_picture(frames):
    "Scaling by the picture's own range made embeddings depend on the crop."
    def cut(part): return replace(part, values=part.values[..., :20, 8:40],
                                  valid_pixels=part.valid_pixels[..., :20, 8:40])
    crop = replace(frames, frames={name: cut(part) for name, part in frames.items()}, labels=None,
                   grid=frames.grid[:20, 8:40])
    for name, part in prepare(crop, SMALL).sources.items():
        whole = prepare(frames, SMALL).sources[name]
        keep = np.isin(whole.times, part.times)
        np.testing.assert_array_equal(part.values, whole.values[keep][..., :20, 8:40])


# ---- the losses

def test_uniformity_compares_rows_not_pixels(model, frames):
    "Rolling over pixels paired neighbours: four constant pictures scored .997, not what strangers have."
    batch = draw_batch([prepare(frames, SMALL)], SMALL, TRAINING, 0)
    def flat(part): return replace(part, values=part.values.nanmean((-1, -2), keepdim=True).nan_to_num()
                                   .expand_as(part.values) + torch.arange(4.)[:, None, None, None, None])
    batch = replace(batch, frames={name: flat(part) for name, part in batch.frames.items()})
    with torch.no_grad(): loss, vectors = step_loss(model, batch, TRAINING, step_generator(0, 0))
    by_hand = (vectors*vectors.roll(1, 0)).sum(-1).abs().mean()
    over_pixels = (vectors.flatten(0, -2)*vectors.flatten(0, -2).roll(1, 0)).sum(-1).abs().mean()
    torch.testing.assert_close(loss.uniformity, by_hand)
    assert (by_hand - over_pixels).abs() > .02


def test_the_noise_is_one_over_the_root_of_kappa(model):
    "It was 1/kappa, a hundredth of what it should be, or none: the 'bottleneck' gave back the mean."
    mean = embedded(model, made())
    kappa = model.config.concentration
    drawn = sample_tangent(mean, kappa, torch.Generator().manual_seed(0))
    away = torch.acos((mean*drawn).sum(-1).clamp(-1, 1))
    assert away.mean().item() == pytest.approx(math.sqrt(63/kappa), rel=.03)
    assert (drawn - mean).std().item() == pytest.approx(1/math.sqrt(kappa), rel=.05)


def test_the_noise_reaches_the_decoders(model, frames):
    "The same step with other noise has another reconstruction, and with kappa near infinity it does not."
    config = replace(TRAINING, reconstruction=1., uniformity=0., pixel_share=1.)
    batch = draw_batch([prepare(frames, SMALL)], SMALL, config, 3)
    def errors(seed:int) -> torch.Tensor:
        with torch.no_grad(): loss, _ = step_loss(model, batch, config, step_generator(seed, 0))
        return loss.reconstruction['sentinel2']
    loud = (errors(0) - errors(1)).abs()
    before, model.config = model.config, replace(model.config, concentration=1e10)
    try: quiet = (errors(0) - errors(1)).abs()
    finally: model.config = before
    assert loud > 20*quiet


@settings(max_examples=25)
@given(seed=st.integers(0, 2**31), windows=st.integers(2, 6), count=st.integers(2, 40),
       targets=st.integers(1, 5))
def test_targets_are_held_out(frames, seed, windows, count, targets):
    "The target stayed among the inputs, which is the task of copying."
    config = replace(TRAINING, seed=seed, windows=windows, frames=count, targets=targets, consistency=.1,
                     student_every=1)
    batch = draw_batch([prepare(frames, SMALL)], SMALL, config, 0)
    for name, target in batch.targets.items():
        at = target.times.double()/DAY_MS
        for part in (batch.frames[name], batch.student[name]):
            near = (at[:, :, None] - part.days[:, None]).abs()
            near = near.masked_fill(~part.present[:, None] | (target.times == 0)[:, :, None], math.inf)
            assert near.min() >= SAME_OVERPASS_DAYS
            absent = part.values.isfinite() & (part.bands_present[..., None, None] == 0)
            assert not absent.any()
