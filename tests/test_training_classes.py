"""Labels in training: read only if they are asked for, drawn for each row by itself, found at their pixel."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_model import SMALL, WITH_STUDENT, loud_model

from alphaearth_nb.batches import draw_batch
from alphaearth_nb.contrast import class_loss
from alphaearth_nb.core import CheckpointError, ConfigError
from alphaearth_nb.drawn_places import drawn_place
from alphaearth_nb.given import fingerprints, with_classes
from alphaearth_nb.place_classes import PlaceClasses, draw_classes
from alphaearth_nb.place_streams import PlaceStream, batch_of
from alphaearth_nb.standardized import prepare
from alphaearth_nb.steps import step_loss
from alphaearth_nb.synthetic import synthetic_place
from alphaearth_nb.training import train

CONFIG = replace(WITH_STUDENT, classes=.5, window_classes=3)
SHORT = dict(steps=2, precision='fp32', log_every=1, checkpoint_every=1, quiet=True)


@pytest.fixture(scope='module')
def frames(): return synthetic_place(size_px=48, days=200, start='2018-01-01')


@pytest.fixture(scope='module')
def place(frames): return with_classes([prepare(frames, SMALL)], [frames])[0]


def some_pixels(count:int=80, side:int=48, seed:int=0) -> PlaceClasses:
    "Labelled pixels all over a place; half of them tell of a time."
    rng = np.random.default_rng(seed)
    periods = np.full((count, 2), np.nan)
    periods[::2] = 17_560, 17_600
    pixels = rng.choice(side*side, count, replace=False)
    return PlaceClasses(numbers=rng.integers(1, 9, count), field_ids=rng.integers(0, 30, count),
                        periods=periods, rows=pixels//side, columns=pixels % side)


@given(start=st.sampled_from([17_500., 17_540., 17_575., 17_590.]), seed=st.integers(0, 2**31),
       count=st.integers(1, 6), top=st.integers(0, 32), left=st.integers(0, 32))
@settings(max_examples=50, deadline=None)
def test_what_is_drawn_lies_in_the_window_and_in_time(start, seed, count, top, left):
    support, every = (start, start + 50), some_pixels()
    window = slice(top, top + 16), slice(left, left + 16)
    some = draw_classes(every, window, support, count, np.random.default_rng(seed))
    at = {(row, column): i for i, (row, column) in enumerate(zip(every.rows, every.columns))}
    assert len(some.rows) <= count and len(set(some.field_ids)) == len(some.rows)
    assert len({(row//2, column//2) for row, column in zip(some.rows, some.columns)}) == len(some.rows)
    for i, (row, column) in enumerate(zip(some.rows, some.columns)):
        assert 0 <= row < 16 and 0 <= column < 16
        was = at[row + top, column + left]
        assert (some.numbers[i], some.field_ids[i]) == (every.numbers[was], every.field_ids[was])
        if np.isnan(every.periods[was, 0]): assert tuple(some.periods[i]) == support
        else: assert min(17_600, start + 50) - max(17_560, start) >= 20


def test_each_embedding_is_that_of_its_pixel_and_period(place):
    "The labelled pixel need not be among the patches; its embedding is that of the whole window there."
    model, batch = loud_model(), draw_batch([place], SMALL, CONFIG, 1)
    with torch.no_grad():
        loss, _ = step_loss(model, batch, CONFIG, 1)
        classes = batch.classes
        whole = model.summarize(model.encode(batch.frames), classes.periods)          # (b, t, h, w, 64)
    b, t = classes.valid.shape
    vectors = torch.stack([whole[i, k, *classes.pixels[i, k]] for i in range(b) for k in range(t)])
    wanted = class_loss(vectors, classes.numbers.flatten(), classes.valid.flatten())
    assert loss.classes.item() == pytest.approx(wanted.item(), rel=1e-4) and wanted > 0


def test_labels_change_nothing_unless_they_are_asked_for(frames, tmp_path):
    "Neither their values nor their absence, in weights or log."
    config = replace(CONFIG, classes=0.)
    bare, other = (replace(frames, labels=part) for part in (None, 3*frames.labels))
    runs = [train(loud_model(), one, config, **SHORT) for one in (frames, bare, other)]
    for run in runs[1:]:
        assert run.log == runs[0].log and not any('classes' in line for line in run.log)
        for name, weight in runs[0].model.state_dict().items():
            assert torch.equal(weight, run.model.state_dict()[name])
    taught = train(loud_model(), frames, CONFIG, **SHORT)
    assert all(line['classes'] > 0 for line in taught.log)


def test_a_run_goes_on_only_with_the_same_labels(frames, place, tmp_path):
    run = train(loud_model(), frames, CONFIG, out=tmp_path/'run', **SHORT)
    again = train(loud_model(), frames, CONFIG, out=tmp_path/'run', **SHORT)
    assert again.log == run.log and set(fingerprints(place)) == {'classes'}
    fewer = frames.labels.assign(class_id=frames.labels['class_id'].where(frames.labels['class_id'] != 3, 0))
    with pytest.raises(CheckpointError, match='place 0.classes was'):
        train(loud_model(), replace(frames, labels=fewer), CONFIG, out=tmp_path/'run', **SHORT)


def test_pixels_of_a_row_are_drawn_for_itself(place):
    "What one row draws does not depend on which rows a process works on."
    whole, part = (draw_batch([place], SMALL, CONFIG, 3, mine).classes
                   for mine in (slice(None), slice(2, 4)))
    for name in ('numbers', 'pixels', 'valid'):
        assert torch.equal(getattr(whole, name)[2:4], getattr(part, name))


def test_a_stream_trains_and_goes_on(tmp_path):
    "Stopped after its first checkpoint, a run from a stream ends with the weights of one that was not."
    stream = PlaceStream(lambda n: drawn_place(n, n//4, 16), at_once=4, steps=1, name='drawn')
    config = replace(CONFIG, support_days=(200, 400))
    settings = SHORT | dict(steps=3)
    whole = train(loud_model(), stream, config, out=tmp_path/'whole', **settings)
    train(loud_model(), stream, config, out=tmp_path/'half', **settings)
    for step in (2, 3): (tmp_path/'half'/f'checkpoint-{step:07}.safetensors').unlink(missing_ok=True)
    half = train(loud_model(), stream, config, out=tmp_path/'half', **settings)
    assert half.log == whole.log
    weights = half.model.state_dict()
    for name, weight in whole.model.state_dict().items(): assert torch.equal(weight, weights[name])


def test_the_places_of_a_step_follow_from_its_number():
    "Not from the steps before; and places are made once for the steps that share them."
    made = []

    def make(number:int):
        made.append(number)
        return drawn_place(number, size_px=16)
    ready = PlaceStream(make, at_once=4, steps=2).ready(SMALL, CONFIG)
    for step in (4, 5, 0): batch_of(ready, SMALL, CONFIG, step)
    assert made == [8, 9, 10, 11, 0, 1, 2, 3]


def test_what_a_stream_cannot_carry_is_refused():
    "Texts and fields belong to places that are known; they were left out without a word."
    stream = PlaceStream(lambda n: drawn_place(n, size_px=16), at_once=4)
    for given in ({'texts': []}, {'distill_to': []}):
        with pytest.raises(ConfigError, match="places is 'a stream'"):
            train(loud_model(), stream, CONFIG, **SHORT, **given)
