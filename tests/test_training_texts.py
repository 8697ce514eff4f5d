"""Texts in training: drawn for each row by itself, looked up at their pixel, masked where there are none."""
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_model import SMALL, WITH_STUDENT

from alphaearth_nb.batches import draw_batch
from alphaearth_nb.contrast import clip_loss
from alphaearth_nb.grids import grid_bounds_lonlat
from alphaearth_nb.model import AlphaEarth
from alphaearth_nb.place_texts import PlaceTexts, TextBatch, draw_texts, stack_texts
from alphaearth_nb.standardized import prepare
from alphaearth_nb.steps import step_loss
from alphaearth_nb.synthetic import synthetic_place
from alphaearth_nb.training import train

WORDY = replace(SMALL, text_encoder='words', text_width=384)
CONFIG = replace(WITH_STUDENT, text=.5, window_texts=3)


def some_texts(count:int=80, side:int=48, seed:int=0) -> PlaceTexts:
    "Texts all over a place; a third have a period, a third an instant."
    rng = np.random.default_rng(seed)
    periods = np.full((count, 2), np.nan)
    periods[::3], periods[1::3, 0] = (17_560, 17_600), 17_580
    return PlaceTexts(vectors=rng.normal(size=(count, 384)).astype(np.float32), periods=periods,
                      rows=rng.integers(0, side, count), columns=rng.integers(0, side, count),
                      numbers=rng.integers(0, count, count))


def speaking() -> AlphaEarth:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AlphaEarth(WORDY)
        with torch.no_grad():                          # loud, so that neighbouring pixels differ
            for parameter in model.parameters(): parameter.add_(torch.randn_like(parameter)*.1)
        return model


@pytest.fixture(scope='module')
def place():
    frames = synthetic_place(size_px=48, days=200, start='2018-01-01')
    return replace(prepare(frames, WORDY), texts=some_texts())


@given(start=st.sampled_from([17_500., 17_540., 17_585.]), seed=st.integers(0, 2**31),
       texts=st.integers(1, 6), top=st.integers(0, 32), left=st.integers(0, 32))
@settings(max_examples=25, deadline=None)
def test_what_is_drawn_lies_in_the_window_and_in_time(start, seed, texts, top, left):
    support, window = (start, start + 50), (slice(top, top + 16), slice(left, left + 16))
    config, every = replace(CONFIG, window_texts=texts), some_texts()
    some = draw_texts(every, window, support, config, np.random.default_rng(seed))
    assert len(some.rows) <= texts
    assert len(set(zip(some.rows, some.columns))) == len(some.rows)
    found = [np.flatnonzero((every.vectors == vector).all(1))[0] for vector in some.vectors]
    for i, (was, period) in enumerate(zip(found, some.periods)):
        assert (every.rows[was] - top, every.columns[was] - left) == (some.rows[i], some.columns[i])
        assert 0 <= some.rows[i] < 16 and 0 <= some.columns[i] < 16
        own = every.periods[was]
        if not np.isnan(own[1]):
            assert (period == own).all() and own[0] < support[1] and own[1] > support[0]
        else:
            assert 5*.999 <= period[1] - period[0] <= 400*1.001
            assert period[0] < support[1] and period[1] > support[0]
            if not np.isnan(own[0]):
                assert period[0] <= own[0] <= period[1] and support[0] <= own[0] < support[1]


def test_each_embedding_is_that_of_its_pixel_and_period(place):
    "The text's pixel need not be among the patches; its embedding is that of the whole window there."
    model, batch = speaking(), draw_batch([place], WORDY, CONFIG, 1)
    with torch.no_grad():
        loss, _ = step_loss(model, batch, CONFIG, 1)
        encoded, texts = model.encode(batch.frames), batch.texts
        whole = model.summarize(encoded, texts.periods)                       # (b, t, h, w, 64)
        b, t = texts.valid.shape
        places = torch.stack([torch.stack([whole[i, j, *texts.pixels[i, j].tolist()] for j in range(t)])
                              for i in range(b)])
        said = model.text(texts.vectors, texts.periods)
        parts = (part.flatten(0, 1) for part in (places, said))
        wanted = clip_loss(*parts, model.text.scale, texts.valid.flatten(), texts.numbers.flatten())
    assert texts.valid.sum() >= 6 and wanted > .1
    torch.testing.assert_close(loss.text, wanted, rtol=1e-4, atol=1e-5)


def test_masked_is_absent(place):
    "Loss and every gradient are those of the batch without the masked texts."
    batch, gradients = draw_batch([place], WORDY, CONFIG, 1), []
    keep = batch.texts.valid.clone()
    keep[:, 1:] = False
    rubbish = {'vectors': torch.full_like(batch.texts.vectors, 1e6), 'numbers': batch.texts.numbers*0 + 7}
    masked = replace(batch.texts, valid=keep, **{
        name: torch.where(keep.view(*keep.shape, *[1]*(part.dim() - 2)), getattr(batch.texts, name), part)
        for name, part in rubbish.items()})
    only = TextBatch(**{one.name: getattr(batch.texts, one.name)[:, :1] for one in fields(TextBatch)})
    for texts in (masked, only):
        model = speaking()
        loss, _ = step_loss(model, replace(batch, texts=texts), CONFIG, 1)
        loss.total.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    largest = max(one.abs().max() for one in gradients[1].values())
    for name, gradient in gradients[1].items():
        torch.testing.assert_close(gradients[0][name], gradient, rtol=1e-4, atol=1e-6*largest, msg=name)


def test_a_row_without_texts_changes_nothing_else(place):
    silent = stack_texts([None]*4, 3, 384)
    batch = draw_batch([place], WORDY, CONFIG, 1)
    model = speaking()
    loss, _ = step_loss(model, replace(batch, texts=silent), CONFIG, 1)
    loss.text.backward()
    assert loss.text.item() == 0
    assert not any(p.grad is not None and p.grad.any() for p in model.parameters())


def test_draws_follow_from_the_row_and_not_from_the_process(place):
    whole = draw_batch([place], WORDY, CONFIG, 3)
    for mine in (slice(0, 1), slice(1, 4)):
        part = draw_batch([place], WORDY, CONFIG, 3, mine)
        for one in fields(TextBatch):
            assert torch.equal(getattr(part.texts, one.name), getattr(whole.texts, one.name)[mine])
    other = draw_batch([place], WORDY, CONFIG, 4)
    assert not torch.equal(other.texts.periods, whole.texts.periods)


def test_the_weight_and_the_log(place):
    "Term d of Equation 3, weighted; a model without a text head, or a weight of 0, has no such term."
    batch, model = draw_batch([place], WORDY, CONFIG, 1), speaking()
    light, heavy = (step_loss(model, batch, replace(CONFIG, text=d), 1)[0] for d in (.001, 2.))
    assert heavy.total.item() - light.total.item() == pytest.approx(1.999*light.text.item(), rel=1e-4)
    assert 'text' in light.terms()
    assert draw_batch([place], WORDY, replace(CONFIG, text=0.), 1).texts is None
    assert draw_batch([replace(place, texts=None)], WORDY, CONFIG, 1).texts is None


def test_training_with_texts_brings_them_nearer():
    "Two kinds of text, west and east of a line: places and texts find each other better after some steps."
    frames = synthetic_place(size_px=48, days=200, start='2018-01-01')
    west, south, east, north = grid_bounds_lonlat(frames.grid)
    rng = np.random.default_rng(1)
    lon, lat = rng.uniform(west, east, 300), rng.uniform(south, north, 300)
    side = np.where(lon < (west + east)/2, 'left', 'right')
    table = pd.DataFrame({'text': [f'this lies on the {one}' for one in side], 'lon': lon, 'lat': lat})
    config = replace(CONFIG, reconstruction=.1, uniformity=.005, text=1.)
    run = train(speaking(), frames, config, texts=table, steps=8, warmup=1, rate=1e-2, encoder_rate=1.,
                log_every=2, checkpoint_every=0, quiet=True, whiten=False, precision='fp32', consistency=0.)
    assert run.log[-1]['text'] < run.log[0]['text']
