"""Mistakes that earlier open implementations made, as properties of what training measures and does.

A companion of test_known_mistakes.py. Every mistake lives as a patch in mutations/ that torture.py applies.
"""
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_model import (SMALL, TRAINING, WITH_STUDENT, embedded, frames, loud_model, made, model, place,
                         seeds, unit)

from alphaearth_nb import training
from alphaearth_nb.batches import Batch, draw_batch
from alphaearth_nb.codes import dequantize, quantize
from alphaearth_nb.losses import reconstruction, uniformity
from alphaearth_nb.model import AlphaEarth
from alphaearth_nb.settings import PRESETS
from alphaearth_nb.steps import step_loss
from alphaearth_nb.training import learning_rate, train
from alphaearth_nb.vmf import sample_tangent

# ---- uniformity

@settings(max_examples=20)
@given(seed=seeds, rows=st.integers(2, 9))
def test_uniformity_is_a_tenth_on_random_and_one_on_collapsed_input(seed, rows):
    "The mean absolute cosine of strangers among 64 components is sqrt(2/64π) = 0.0997."
    vectors = unit(torch.randn(rows, 20, 25, 64, generator=torch.Generator().manual_seed(seed)))
    assert uniformity(vectors).item() == pytest.approx(math.sqrt(2/math.pi/64), rel=.1)
    assert uniformity(vectors[:1, :1, :1].expand(rows, 4, 5, 64)).item() == pytest.approx(1)


@settings(max_examples=20)
@given(seed=seeds)
def test_uniformity_pairs_places_not_neighbours(seed):
    "Rolling over pixels paired neighbours: four random pictures, each constant, scored 0.997, not 0.12."
    colours = unit(torch.randn(4, 64, generator=torch.Generator().manual_seed(seed)))
    pictures = colours[:, None, None].expand(4, 16, 16, 64)
    assert uniformity(pictures).item() == pytest.approx(uniformity(colours).item(), abs=1e-6)
    assert uniformity(pictures) < .3


def test_uniformity_compares_rows_not_pixels(model, place):
    "The same in a whole step, for pictures without any detail."
    batch = draw_batch([place], SMALL, TRAINING, 0)
    def flat(part): return replace(part, values=part.values.nanmean((-1, -2), keepdim=True).nan_to_num()
                                   .expand_as(part.values) + torch.arange(4.)[:, None, None, None, None])
    batch = replace(batch, frames={name: flat(part) for name, part in batch.frames.items()})
    with torch.no_grad(): loss, vectors = step_loss(model, batch, TRAINING, 0)
    by_hand = (vectors*vectors.roll(1, 0)).sum(-1).abs().mean()
    over_pixels = (vectors.flatten(0, -2)*vectors.flatten(0, -2).roll(1, 0)).sum(-1).abs().mean()
    torch.testing.assert_close(loss.uniformity, by_hand)
    assert (by_hand - over_pixels).abs() > .02


# ---- the bottleneck

def test_the_noise_is_one_over_the_root_of_kappa(model):
    "It was 1/kappa, a hundredth of what it should be, or none: the 'bottleneck' gave back the mean."
    mean = embedded(model, made())
    kappa = model.config.concentration
    drawn = sample_tangent(mean, kappa, torch.Generator().manual_seed(0))
    away = torch.acos((mean*drawn).sum(-1).clamp(-1, 1))
    assert away.mean().item() == pytest.approx(math.sqrt(63/kappa), rel=.03)
    assert (drawn - mean).std().item() == pytest.approx(1/math.sqrt(kappa), rel=.05)


@settings(max_examples=20)
@given(seed=seeds, kappa=st.floats(300, 20_000))
def test_the_noise_is_tangential(seed, kappa):
    "It had a part along the mean, so that draws left the sphere."
    generator = torch.Generator().manual_seed(seed)
    mean = unit(torch.randn(500, 64, generator=generator, dtype=torch.float64))
    drawn = sample_tangent(mean, kappa, generator)
    torch.testing.assert_close(drawn.norm(dim=-1), torch.ones(500, dtype=torch.float64))
    assert ((mean*drawn).sum(-1) < 1).all()


def test_the_noise_reaches_the_decoders(model, place):
    "The same step with other noise has another reconstruction, and with kappa near infinity it does not."
    config = replace(TRAINING, reconstruction=1., uniformity=0., pixel_share=1.)
    batch = draw_batch([place], SMALL, config, 3)
    def errors(seed:int) -> torch.Tensor:
        with torch.no_grad(): loss, _ = step_loss(model, batch, replace(config, seed=seed), 0)
        return loss.reconstruction['sentinel2']
    loud = (errors(0) - errors(1)).abs()
    before, model.config = model.config, replace(model.config, concentration=1e10)
    try: quiet = (errors(0) - errors(1)).abs()
    finally: model.config = before
    assert loud > 20*quiet


# ---- reconstruction

@given(seed=seeds, times=st.floats(.01, 100))
def test_the_error_is_absolute(seed, times):
    "L1, as Table S2 says: twice as far is twice the error, whichever side, and few outliers do not rule."
    generator = torch.Generator().manual_seed(seed)
    target, away = (torch.randn(2, 3, 4, 5, generator=generator) for _ in range(2))
    weights = torch.ones(2, 1, 4, 5)
    error = reconstruction(target + away, target, weights)
    assert error.item() == pytest.approx(away.abs().mean().item(), rel=1e-4)
    farther = reconstruction(target - times*away, target, weights)
    assert farther.item() == pytest.approx(times*error.item(), rel=1e-3)


@given(seed=seeds, content=st.sampled_from([0., 1e6, math.nan, math.inf]))
def test_the_error_counts_only_where_there_is_data(seed, content):
    "There were no weights for pixels. What has none changes neither the error nor the gradient."
    generator = torch.Generator().manual_seed(seed)
    guess, target = (torch.randn(2, 3, 4, 5, generator=generator) for _ in range(2))
    weights = torch.rand(2, 3, 4, 5, generator=generator) < .4
    guess.requires_grad_()
    error = reconstruction(guess, target.masked_fill(~weights, content), weights)
    assert error.item() == pytest.approx((guess - target)[weights].abs().mean().item(), rel=1e-4)
    error.backward()
    assert torch.equal(guess.grad != 0, weights)


# ---- gradients

def gradients(model:AlphaEarth, batch:Batch, config) -> dict[str, torch.Tensor|None]:
    "Gradient of one step by the parameter's name."
    model.zero_grad()
    loss, _ = step_loss(model, batch, config, 0)
    loss.total.backward()
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad()
    return found


def test_the_gradient_reaches_every_parameter(place):
    "A concentration that was to be learned never got one; a detached part trains nothing before it."
    found = gradients(loud_model(), draw_batch([place], SMALL, WITH_STUDENT, 0), WITH_STUDENT)
    assert not [name for name, gradient in found.items() if gradient is None]
    assert not [name for name, gradient in found.items() if not gradient.isfinite().all()]
    assert not [name for name, gradient in found.items() if not gradient.any()]


@pytest.mark.parametrize('term', ['reconstruction', 'uniformity', 'consistency'])
def test_every_term_teaches_the_encoder(place, term):
    "No part of the loss stops at the bottleneck."
    weights = {name: float(name == term) for name in ('reconstruction', 'uniformity', 'consistency')}
    config = replace(WITH_STUDENT, **weights)
    found = gradients(loud_model(), draw_batch([place], SMALL, WITH_STUDENT, 0), config)
    for name in ('encoder.projectors.sentinel2.halve.weight', 'encoder.blocks.0.time.code.weight',
                 'encoder.blocks.0.space.attention.output.weight', 'summary.query_code.weight',
                 'direction.weight'):
        assert found[name] is not None and found[name].abs().max() > 1e-7, name


def test_consistency_teaches_both_passes(place, monkeypatch):
    "Teacher and student share one set of weights, and neither is held still."
    config = replace(WITH_STUDENT, reconstruction=0., uniformity=0.)
    batch, model, seen, encode = draw_batch([place], SMALL, config, 0), loud_model(), [], AlphaEarth.encode
    def watched(self, frames):
        encoded = encode(self, frames)
        encoded.memory.value.retain_grad()
        seen.append(encoded.memory.value)
        return encoded
    monkeypatch.setattr(AlphaEarth, 'encode', watched)
    loss, _ = step_loss(model, batch, config, 0)
    loss.total.backward()
    assert loss.consistency > 0
    teacher, student = seen[0].grad.chunk(2)  # rows of one pass
    assert teacher.any() and student.any()


def test_a_step_without_a_student_encodes_once(place, monkeypatch):
    "Two full passes were always made, in evaluation too. A student's frames are more rows of one pass."
    rows, encode, config = [], AlphaEarth.encode, replace(WITH_STUDENT, student_every=3)
    def counted(model:AlphaEarth, frames:dict):
        rows.append(len(frames['sentinel2'].present))
        return encode(model, frames)
    monkeypatch.setattr(AlphaEarth, 'encode', counted)
    for step, needed in enumerate((2, 1, 1, 2)):
        rows.clear()
        batch = draw_batch([place], SMALL, config, step)
        with torch.no_grad(): loss, _ = step_loss(loud_model(), batch, config, step)
        assert rows == [needed*config.windows] and (loss.consistency is None) == (needed == 1)


# ---- schedule, sizes, codes

@given(warmup=st.integers(0, 50), more=st.integers(1, 100))
def test_the_rate_warms_up_and_decays(warmup, more):
    config = replace(TRAINING, steps=warmup + more, warmup=warmup)
    rates = [learning_rate(step, config) for step in range(config.steps + 1)]
    assert max(rates) == pytest.approx(config.rate) and rates[-1] == 0 and min(rates[:-1]) > 0
    peak = int(np.argmax(rates))
    assert peak == warmup
    assert (np.diff(rates[:peak + 1]) > 0).all() and (np.diff(rates[peak:]) < 0).all()


def test_the_optimizer_gets_the_rate(frames, monkeypatch):
    "warmup_steps was stored and ignored."
    rates, make = [], training._optimizer
    def watched(*given) -> torch.optim.Optimizer:
        optimizer = make(*given)
        groups = optimizer.param_groups
        optimizer.register_step_pre_hook(lambda *_: rates.append([group['lr'] for group in groups]))
        return optimizer
    monkeypatch.setattr(training, '_optimizer', watched)
    config = replace(TRAINING, steps=6, warmup=3, whiten=False, precision='fp32')
    train(loud_model(), frames, config, quiet=True)
    wanted = [learning_rate(step, config) for step in range(6)]
    assert [max(groups) for groups in rates] == pytest.approx(wanted)
    assert [min(groups) for groups in rates] == pytest.approx([rate*config.encoder_rate for rate in wanted])


def test_presets_differ_in_size():
    "'small' and 'large' were the same model. The paper's has about 480 million parameters."
    with torch.device('meta'): counts = {name: AlphaEarth.preset(name).count()['all'] for name in PRESETS}
    rising = [counts[name] for name in ('tiny', 'small', 'base', 'paper')]
    assert all(2*smaller < larger for smaller, larger in itertools.pairwise(rising))
    assert counts['paper'] == pytest.approx(480e6, rel=.02)
    sizes, paper = PRESETS['paper'].stp, PRESETS['paper']
    assert (sizes.blocks, sizes.space_width, sizes.time_width, sizes.precision_width) == (15, 1024, 512, 128)
    assert (paper.embedding_width, paper.concentration, paper.decoder_width) == (64, 8000, 512)


@given(seed=seeds, sharp=st.floats(.2, 6))
def test_codes_are_those_of_the_release(seed, sharp):
    "int8, sign(x)·sqrt|x|·127.5 rounded, at most 127; back by (y/127.5)²·sign, brought to unit length."
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((50, 64))
    vectors = np.sign(vectors)*np.abs(vectors)**sharp
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    codes = quantize(vectors)
    wanted = np.sign(vectors)*np.sqrt(np.abs(vectors))*127.5
    assert codes.dtype == np.int8 and (np.abs(codes - np.clip(wanted, -127, 127)) <= .5 + 1e-9).all()
    exact = np.sign(codes)*(codes/127.5)**2
    exact /= np.linalg.norm(exact, axis=-1, keepdims=True)
    np.testing.assert_allclose(dequantize(codes), exact, atol=2e-7)
    assert (exact*vectors).sum(-1).min() > .9995


def test_no_code_but_no_data_is_minus_128():
    "A component of -1 is -127, and -128 in all bands is no data, back and forth."
    vectors = np.concatenate([np.eye(64), -np.eye(64), np.full((1, 64), np.nan)])
    codes = quantize(vectors)
    assert codes[:128].min() == -127 and codes.max() == 127 and (codes[128] == -128).all()
    np.testing.assert_array_equal(dequantize(codes), vectors)


# ---- stop and go on

def test_a_run_that_was_stopped_goes_on_exactly(frames, tmp_path, monkeypatch):
    "Weights alone were saved. Moments, randomness and step are needed for the same end, to the bit."
    config = replace(WITH_STUDENT, steps=6, warmup=2, checkpoint_every=2, log_every=2, precision='fp32',
                     student_every=2, rate=.01)
    def weights(folder) -> dict[str, torch.Tensor]:
        return train(loud_model(), frames, config, out=folder, quiet=True).model.state_dict()
    whole, advance = weights(tmp_path/'whole'), training._advance
    def stopped(*given):
        if given[4] == 5: raise KeyboardInterrupt
        return advance(*given)
    monkeypatch.setattr(training, '_advance', stopped)
    with pytest.raises(KeyboardInterrupt): weights(tmp_path/'stopped')
    done = []
    monkeypatch.setattr(training, '_advance', lambda *given: done.append(given[4]) or advance(*given))
    again = weights(tmp_path/'stopped')
    assert done == [4, 5]
    for name, tensor in whole.items(): assert torch.equal(tensor, again[name]), name
