"""Frames of a row: none to many of each source, drawn to a budget; what is absent costs nothing."""
from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_model import SMALL, TRAINING, loud_model
from torch.utils.flop_counter import FlopCounterMode

from alphaearth_nb.batches import draw_batch, draw_inputs, draw_rows, draw_targets
from alphaearth_nb.encoder import SourceBatch, pack
from alphaearth_nb.settings import TrainingConfig
from alphaearth_nb.standardized import prepare
from alphaearth_nb.synthetic import synthetic_place

PERIOD = torch.tensor([[[17_500., 17_600.]]]*2, dtype=torch.float64)


def frames(counts:dict[str, tuple[int, int]], padded:int=0, side:int=16) -> dict[str, SourceBatch]:
    "Two rows with so many frames of each source, and as many more slots that hold nothing."
    batch = {}
    for number, (name, each) in enumerate(counts.items()):
        n, bands = max(*each, 1) + padded, len(SMALL.bands[name])
        generator = torch.Generator().manual_seed(number)
        values = torch.randn(2, 16, bands, side, side, generator=generator)[:, :n]
        days = 17_500 + 10*torch.arange(n).double().expand(2, n)
        present = torch.arange(n) < torch.tensor(each)[:, None]
        values = values.masked_fill(~present[..., None, None, None], 1e9 if padded else torch.nan)
        batch[name] = SourceBatch(values, days, present, present[..., None].expand(2, n, bands).clone())
    return batch


def cost(model, batch) -> int:
    "Operations of encoding a batch."
    with FlopCounterMode(display=False) as counter, torch.no_grad(): model.encode(batch)
    return counter.get_total_flops()


@pytest.mark.parametrize('optical, radar', [((5, 0), (1, 4)), ((0, 0), (3, 2)), ((4, 4), (0, 0))])
def test_none_of_a_source_in_one_row_and_many_in_another(optical, radar):
    "Rows are what each is alone, padding costs no operation, and the list holds the present frames only."
    counts = {'sentinel2': optical, 'sentinel1': radar}
    model, batch = loud_model(), frames(counts)
    assert len(pack(batch).rows) == sum(map(sum, counts.values()))
    with torch.no_grad():
        both = model.summarize(model.encode(batch), PERIOD)
        wide = model.summarize(model.encode(frames(counts, padded=3)), PERIOD)
        torch.testing.assert_close(wide, both, rtol=1e-4, atol=2e-5)
        for row in range(2):
            own = {name: SourceBatch(*(getattr(one, what.name)[row:row + 1] for what in fields(SourceBatch)))
                   for name, one in batch.items()}
            alone = model.summarize(model.encode(own), PERIOD[:1])
            torch.testing.assert_close(alone[0], both[row], rtol=1e-4, atol=2e-5)
    assert cost(model, frames(counts, padded=8)) <= cost(model, batch)*1.001


def test_cost_is_that_of_the_present_frames():
    "A source that is dropped altogether costs what a batch without it costs."
    model = loud_model()
    full, dropped = (frames({'sentinel2': (6, 6), 'sentinel1': (n, n)}) for n in (4, 0))
    without = {'sentinel2': full['sentinel2']}
    assert cost(model, dropped) == cost(model, without) < .75*cost(model, full)
    with torch.no_grad():
        parts = [model.summarize(model.encode(batch), PERIOD) for batch in (dropped, without)]
    torch.testing.assert_close(*parts, rtol=1e-4, atol=2e-5)


@pytest.fixture(scope='module')
def place(): return prepare(synthetic_place(size_px=32, days=200, start='2018-01-01'), SMALL)


@given(seed=st.integers(0, 2**31), budget=st.integers(3, 60), lend=st.booleans(), targets=st.integers(1, 4),
       share=st.sampled_from([.2, .5, .8, 1.]),
       shares=st.tuples(*[st.sampled_from([0., .2, 1., 65.])]*3).filter(any))
@settings(max_examples=30, deadline=None)
def test_the_budget_is_kept_and_something_is_left(place, seed, budget, lend, share, targets, shares):
    config = replace(TRAINING, frames=budget, lend=lend, inputs_share=share, targets=targets, seed=seed,
                     windows=2, support_days=(60, 190), frames_share=shares)
    for row in draw_rows([place], config, np.random.default_rng(seed)):
        counts = {name: len(chosen) for name, chosen in row.inputs.items()}
        assert sum(counts.values()) <= budget + len(counts)          # each is rounded, and one at least
        for name, part in place.sources.items():
            if not shares[('sentinel2', 'sentinel1').index(name)]: assert counts[name] == 0
            inside = ((part.days >= row.support[0]) & (part.days < row.support[1])).sum()
            half, most = -(-inside//2), int(np.ceil(share*inside))
            assert counts[name] <= (most if share <= .5 else max(half, min(most, inside - targets)))
            assert (np.diff(row.inputs[name]) > 0).all()
            assert not set(row.inputs[name]) & set(row.targets[name])


def test_the_papers_row_keeps_all_but_its_target(place):
    "A budget over what there is: all frames of the support are inputs but those that are left for targets."
    part, rng, seen = place.sources['sentinel2'], np.random.default_rng(0), Counter()
    for _ in range(60):
        inputs = draw_inputs(part, (0., 1e6), 10_000, rng, 1., 1)
        targets = draw_targets(part, (slice(0, 32), slice(0, 32)), (0., 1e6), inputs, 1, rng)
        assert len(inputs) == len(part.days) - 1 and not set(targets) & set(inputs)
        seen.update(set(range(len(part.days))) - set(inputs))
    assert len(seen) > .5*len(part.days)                             # another one each time


def test_gaps_are_in_inputs_of_radar_only(place):
    config = TrainingConfig(windows=2, window_px=16, frames=12, support_days=(150, 190), student_every=1)
    with_gaps, without = (draw_batch([place], SMALL, replace(config, gaps=gaps), 2) for gaps in (True, False))
    blanked = with_gaps.frames['sentinel1'].values.isnan() & ~without.frames['sentinel1'].values.isnan()
    there = with_gaps.frames['sentinel1'].present
    for row, present in zip(blanked, there):
        assert 0 < row[0, 0].sum() < 64                              # at most about two by the diagonal
        assert (row[present] == row[0, 0]).all()                     # the same line in all frames and bands
    assert not torch.equal(blanked[0, 0], blanked[1, 0])             # another in another row
    torch.testing.assert_close(with_gaps.frames['sentinel2'].values, without.frames['sentinel2'].values,
                               equal_nan=True)
    for name, target in with_gaps.targets.items():
        assert torch.equal(target.values, without.targets[name].values)
        assert torch.equal(target.weights, without.targets[name].weights)
    assert with_gaps.student['sentinel1'].values is with_gaps.frames['sentinel1'].values
    half = draw_batch([place], SMALL, config, 2, slice(1, 2))
    torch.testing.assert_close(half.frames['sentinel1'].values[0], with_gaps.frames['sentinel1'].values[1],
                               equal_nan=True)
