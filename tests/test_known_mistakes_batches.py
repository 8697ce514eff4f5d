"""Mistakes that earlier open implementations made, as properties of the batches that training draws.

A companion of test_known_mistakes.py. Every mistake lives as a patch in mutations/ that torture.py applies.
"""
import gc
import math
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_model import (ROUNDING, SMALL, TRAINING, WITH_STUDENT, embedded, frames, mapped, model, place,
                         seeds)

from alphaearth_nb import training
from alphaearth_nb.batches import SAME_OVERPASS_DAYS, Batch, draw_batch, drop
from alphaearth_nb.model import AlphaEarth
from alphaearth_nb.periods import DAY_MS
from alphaearth_nb.standardized import prepare
from alphaearth_nb.steps import step_loss


ANGLES = ('heading_deg', 'inclination_deg')  # of radar, that decoders are told

# ---- targets and their periods

@settings(max_examples=25)
@given(seed=seeds, windows=st.integers(2, 6), count=st.integers(2, 40), targets=st.integers(1, 5))
def test_targets_are_held_out(place, seed, windows, count, targets):
    "The target stayed among the inputs, which is the task of copying."
    config = replace(WITH_STUDENT, seed=seed, windows=windows, frames=count, targets=targets)
    batch = draw_batch([place], SMALL, config, 0)
    for name, target in batch.targets.items():
        at = target.times.double()/DAY_MS
        for part in (batch.frames[name], batch.student[name]):
            near = (at[:, :, None] - part.days[:, None]).abs()
            near = near.masked_fill(~part.present[:, None] | (target.times == 0)[:, :, None], math.inf)
            assert near.min() >= SAME_OVERPASS_DAYS
            absent = part.values.isfinite() & (part.bands_present[..., None, None] == 0)
            assert not absent.any()


def test_the_same_overpass_is_no_held_out_target(frames):
    "Two tiles of one overpass, seconds apart, show the same: held out means another overpass."
    part = frames['sentinel2']
    twice = part.take(np.arange(len(part)).repeat(2))
    twice = replace(twice, times=twice.times + np.tile([0, 20_000], len(part)))
    twins = prepare(replace(frames, frames={**frames.frames, 'sentinel2': twice}), SMALL)
    for step in range(20):
        batch = draw_batch([twins], SMALL, TRAINING, step)
        target, part = batch.targets['sentinel2'], batch.frames['sentinel2']
        near = (target.times.double()[:, :, None]/DAY_MS - part.days[:, None]).abs()
        near = near.masked_fill(~part.present[:, None] | (target.times == 0)[:, :, None], math.inf)
        assert near.min() >= SAME_OVERPASS_DAYS


def test_any_frame_becomes_a_target(place):
    "It was always the frame nearest to the middle."
    drawn = {name: set() for name in SMALL.bands}
    for step in range(60):
        for name, target in draw_batch([place], SMALL, TRAINING, step).targets.items():
            drawn[name] |= set(target.times.flatten().tolist()) - {0}
    for name, part in place.sources.items():
        clear = part.times[part.weights.any(1).mean((1, 2)) > .3]
        assert np.isin(clear, list(drawn[name])).mean() > .8


@settings(max_examples=20)
@given(seed=seeds)
def test_each_target_has_a_random_period_of_its_own(place, seed):
    "One period a sample served everything. The paper: over 4 days, one for each source, others for the rest."
    config = replace(TRAINING, seed=seed)
    batch, lengths = draw_batch([place], SMALL, config, 0), []
    for target in batch.targets.values():
        there, (start, end) = target.times > 0, target.periods.unbind(-1)
        at = target.times.double()/DAY_MS
        assert ((start <= at) & (at <= end) | ~there).all()
        torch.testing.assert_close(target.instant[there], ((at - start)/(end - start)).float()[there])
        lengths += (end - start)[there].tolist()
    assert min(lengths) > 4 and max(lengths) <= config.period_days[1] + 1e-6
    others = torch.cat([batch.teacher_period, batch.common_period]).diff().flatten().unique()
    assert len({round(length, 6) for length in lengths}) == len(lengths)
    assert not any((others - length).abs().min() < 1e-6 for length in lengths)


def test_each_source_is_decoded_from_its_own_period(model, place, monkeypatch):
    "What was drawn is what the step summarises, and each decoder gets its part, instant and geometry."
    batch, asked, told = draw_batch([place], SMALL, WITH_STUDENT, 2), [], {}
    summarize = AlphaEarth.summarize
    monkeypatch.setattr(AlphaEarth, 'summarize', lambda self, encoded, periods: asked.append(periods)
                        or summarize(self, encoded, periods))
    def listen(name:str): return lambda _, given: told.update({name: given})
    hooks = [decoder.register_forward_pre_hook(listen(name)) for name, decoder in model.decoders.items()]
    with torch.no_grad(): step_loss(model, batch, WITH_STUDENT, 0)
    for hook in hooks: hook.remove()
    own = [target.periods for target in batch.targets.values()]
    assert torch.equal(asked[0], torch.cat([*own, batch.teacher_period, batch.common_period], 1))
    assert torch.equal(asked[1], batch.teacher_period)
    for name, target in batch.targets.items():
        assert torch.equal(told[name][1], target.instant.flatten())
        torch.testing.assert_close(told[name][2], target.angles_deg.flatten(0, 1), equal_nan=True)


def test_targets_come_with_the_geometry_of_their_frame(frames, place):
    part, target = frames['sentinel1'], draw_batch([place], SMALL, TRAINING, 0).targets['sentinel1']
    for time, angles in zip(target.times.flatten().tolist(), target.angles_deg.flatten(0, 1)):
        frame = np.flatnonzero(part.times == time)[0]
        assert angles.tolist() == [part.metadata[key][frame] for key in ANGLES]


def test_clouds_have_no_weight(frames, place):
    "Targets count where the ground was seen in that band, nowhere else."
    batch = draw_batch([place], SMALL, TRAINING, 5)
    for name, target in batch.targets.items():
        part = frames[name].with_bands(SMALL.bands[name])
        seen = dict(zip(part.times.tolist(), part.valid_pixels & np.isfinite(part.values)))
        assert target.values.isfinite().all() and 0 < target.weights.mean() < 1
        for time, weights in zip(target.times.flatten().tolist(), target.weights.flatten(0, 1)):
            if not time: continue
            assert (weights.sum((1, 2)).numpy() <= seen[time].sum((1, 2))).all()
            if seen[time].all(): assert weights.all()
        lacking = [int(time) for time, there in zip(part.times, part.bands_present) if not there[1]]
        chosen = torch.isin(target.times, torch.tensor(lacking))
        assert not target.weights[chosen][:, 1].any()


def test_frames_keep_their_milliseconds(place):
    "Times went through float32 milliseconds, which are 131 s apart in 2020."
    batch = draw_batch([place], SMALL, TRAINING, 0)
    for name, part in batch.frames.items():
        times = (part.days[part.present]*DAY_MS).round().long()
        assert set(times.tolist()) <= set(place.sources[name].times.tolist())


# ---- the student

@given(seed=seeds, counts=st.lists(st.integers(0, 20), min_size=3, max_size=3))
def test_the_student_describes_what_it_lost(seed, counts):
    "Half a year is dropped, and the valid period is that half; Sentinel-2 is never lost altogether."
    rng, support = np.random.default_rng(seed), (100., 300.)
    names = ('sentinel2', 'sentinel1', 'landsat')
    days = {name: np.sort(rng.uniform(*support, count)) for name, count in zip(names, counts)}
    kept, period = drop(days, support, (5, 400), rng)
    assert all(kept[name].shape == day.shape for name, day in days.items())
    halves = {(200., 300.): days['sentinel2'] < 200, (100., 200.): days['sentinel2'] >= 200}
    assert period[1] - period[0] > 4
    if period not in halves: return
    np.testing.assert_array_equal(kept['sentinel2'], halves[period])
    for name in names: assert not any(period[0] <= day < period[1] for day in days[name][kept[name]])


def test_drops_are_as_often_as_the_paper_says():
    "Landsat and radar are lost 3 times in 10, Sentinel-2 never; frames by 3, 3 and 5 in 10."
    rng, names = np.random.default_rng(0), ('sentinel2', 'sentinel1', 'landsat')
    days, kept = {name: np.linspace(0, 200, 40, endpoint=False) for name in names}, []
    for _ in range(3000): kept.append(drop(days, (0, 200), (5, 400), rng))
    halves = sum(period in ((0, 100), (100, 200)) for _, period in kept)/len(kept)
    assert halves == pytest.approx(2/3, abs=.03)
    some = [keep for keep, period in kept if period not in ((0, 100), (100, 200))]
    for name, lost, dropped in (('sentinel2', 0, .5), ('sentinel1', .3, .3), ('landsat', .3, .3)):
        whole = [keep[name] for keep in some if keep[name].any()]
        assert 1 - len(whole)/len(some) == pytest.approx(lost, abs=.05)
        assert 1 - np.mean(whole) == pytest.approx(dropped, abs=.02)


def test_dropped_frames_are_gone(model, place):
    "They were zeroed and still read. The student sees what is left, and nothing of the rest."
    batch = draw_batch([place], SMALL, WITH_STUDENT, 1)
    lost = 0
    for row in range(len(batch.places)):
        left = {}
        for name, part in batch.student.items():
            teacher, keep = batch.frames[name], part.present[row]
            assert (teacher.present[row] | ~keep).all()
            lost += int((teacher.present[row] & ~keep).sum())
            left[name] = mapped(teacher, lambda array: array[row:row + 1, keep])
        one = {name: mapped(part, lambda array: array[row:row + 1]) for name, part in batch.student.items()}
        period = batch.teacher_period[row:row + 1]
        whole, gone = embedded(model, one, period), embedded(model, left, period)
        torch.testing.assert_close(whole, gone, atol=ROUNDING, rtol=0)
    assert lost > 8


def test_drops_are_drawn_for_each_row(place):
    "They were drawn once for a whole batch."
    alike = 0
    for step in range(20):
        batch = draw_batch([place], SMALL, WITH_STUDENT, step)
        rows = torch.cat([part.present for part in batch.student.values()], 1)
        alike += all(torch.equal(rows[0], row) for row in rows[1:])
        assert len(batch.teacher_period.unique(dim=0)) > 1 or alike
    assert alike <= 2


# ---- batches

def test_batches_are_not_replayed(place):
    "The loader was cycled: the same batches in the same order, epoch for epoch."
    def drawn(step:int) -> tuple:
        batch = draw_batch([place], SMALL, TRAINING, step)
        return tuple(batch.frames['sentinel2'].days.flatten().tolist()), batch.common_period[0, 0, 0].item()
    seen = [drawn(step) for step in range(40)]
    assert len(set(seen)) == 40 and drawn(7) == seen[7]


def test_batches_do_not_stay_in_memory(model, place, monkeypatch):
    "itertools.cycle kept every batch that was ever drawn."
    alive, draw = weakref.WeakSet(), training.batch_of
    def watched(*given) -> Batch:
        alive.add(batch := draw(*given))
        return batch
    monkeypatch.setattr(training, 'batch_of', watched)
    monkeypatch.setattr(training, 'to_device', lambda batch, device: batch)
    monkeypatch.setattr(Batch, '__hash__', object.__hash__, raising=False)
    most, number = 0, 0
    for number, _ in enumerate(training._batches([place], model, replace(TRAINING, steps=12), 0), 1):
        gc.collect()
        most = max(most, len(alive))
    assert number == 12 and most <= 3
