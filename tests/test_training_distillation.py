"""A field to come near: where it pulls, by what weight, and what is said about the result."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from pages import ROOT
from small_model import SMALL, WITH_STUDENT, loud_model

from alphaearth_nb.batches import draw_batch
from alphaearth_nb.distillation import Wanted, hold_out, reached, wanted_on
from alphaearth_nb.fields import make_field, read_cog
from alphaearth_nb.given import with_field
from alphaearth_nb.standardized import prepare
from alphaearth_nb.steps import step_loss
from alphaearth_nb.synthetic import synthetic_place
from alphaearth_nb.training import train

CONFIG = replace(WITH_STUDENT, distill=3.)
RELEASED = ROOT.parent/'shared'/'data'/'aef_wisconsin_2024_32616_10m.tif'


@pytest.fixture(scope='module')
def frames(): return synthetic_place(size_px=48, days=200, start='2018-01-01')


def some_field(grid, seed:int=0, leaning:float=1.):
    "Smooth enough to be a landscape, and not the model's."
    rng = np.random.default_rng(seed)
    vectors = np.kron(rng.normal(size=(grid.height//8, grid.width//8, 64)), np.ones((8, 8, 1)))
    vectors = vectors + leaning*rng.normal(size=64)
    return make_field(vectors/np.linalg.norm(vectors, axis=-1, keepdims=True), grid, '2018-02-01/2018-05-01')


@pytest.mark.parametrize('state', ['unit', 'codes'])
def test_the_term_is_the_distance_at_the_pixels_that_were_drawn(frames, state):
    "With every pixel decoded it is 1 - cosine over the windows, for the valid period of the field."
    field = getattr(some_field(frames.grid).aef, state)()
    config, model = replace(CONFIG, pixel_share=1.), loud_model()
    [place] = with_field([prepare(frames, SMALL)], [frames.grid], SMALL, field)
    batch = draw_batch([place], SMALL, config, 1)
    with torch.no_grad():
        loss, _ = step_loss(model, batch, config, 1)
        period = torch.tensor([[[17_563., 17_652.]]]*4, dtype=torch.float64)
        made = model.summarize(model.encode(batch.frames), period)[:, 0]
    wanted = batch.wanted.vectors[:, 0].permute(0, 2, 3, 1)
    assert loss.distill.item() == pytest.approx((1 - (made*wanted).sum(-1)).mean().item(), rel=1e-4)
    assert not torch.equal(wanted[0], wanted[1])                        # each row its own window
    whole = field.aef.vectors()
    assert any(np.allclose(wanted[0].numpy(), whole[r:r + 16, c:c + 16])
               for r in range(33) for c in range(33))
    plain, _ = step_loss(model, replace(batch, wanted=None), config, 1)
    assert loss.total.item() - plain.total.item() == pytest.approx(3*loss.distill.item(), rel=1e-3)


def test_no_data_does_not_pull(frames):
    "Where the field has none, neither loss nor gradient; a place without a field weighs nothing."
    field = some_field(frames.grid)
    holes = field.where(np.arange(48)[None, :, None] >= 24)
    assert holes.attrs == field.attrs
    ready = prepare(frames, SMALL)
    full, cut = (with_field([ready], [frames.grid], SMALL, one)[0] for one in (field, holes))
    for step in range(3):
        one, two = (draw_batch([place], SMALL, CONFIG, step).wanted for place in (full, cut))
        assert one.weights.all() and two.vectors.isfinite().all()
        kept = two.weights.expand_as(two.vectors) > 0
        assert torch.equal(two.vectors[kept], one.vectors[kept]) and not two.vectors[~kept].any()
    empty = Wanted(values=np.full((48, 48, 64), -128, np.int8), period=full.wanted.period)
    nothing = replace(full, wanted=empty)
    model = loud_model()
    loss, _ = step_loss(model, draw_batch([nothing], SMALL, CONFIG, 0), CONFIG, 0)
    loss.distill.backward()
    assert loss.distill.item() == 0
    assert not any(p.grad is not None and p.grad.any() for p in model.parameters())
    mixed = draw_batch([full, replace(ready, name='without')], SMALL, CONFIG, 0)
    assert sorted(mixed.wanted.weights.any(-1).any(-1).flatten().tolist()) == [False, False, True, True]
    assert draw_batch([ready], SMALL, CONFIG, 0).wanted is None
    assert draw_batch([full], SMALL, replace(CONFIG, distill=0.), 0).wanted is None


def test_what_is_reached_on_held_out_squares(frames):
    "Learned squares come nearer, held-out ones too, and the report says what chance would give."
    with torch.random.fork_rng():
        torch.manual_seed(3)
        master = loud_model()
    from alphaearth_nb.inference import embed
    period = '2018-02-01/2018-05-01'
    field = embed(master, frames, period)
    learn, test = hold_out(field.aef.codes(), square_px=8)
    pupil = loud_model()
    with torch.no_grad():
        for parameter in pupil.direction.parameters(): parameter.copy_(torch.randn_like(parameter))
    before = reached(embed(pupil, frames, period), test)
    config = replace(CONFIG, reconstruction=.1, consistency=0., distill=10., pixel_share=.25, whiten=False)
    run = train(pupil, frames, config, distill_to=learn, steps=30, warmup=2, rate=2e-2, encoder_rate=1.,
                precision='fp32', checkpoint_every=0, log_every=10, quiet=True)
    after = reached(embed(pupil, frames, period), test)
    assert run.log[-1]['distill'] < .5*run.log[0]['distill']
    assert after.mean > before.mean + .3 and after.pixels == before.pixels == 9*64
    assert after.chance < after.mean and f'cosine {after.mean:.3f}' in repr(after)


@pytest.fixture
def released():
    if not RELEASED.exists(): pytest.skip('../shared/data is not at hand')
    return read_cog(RELEASED, valid='2024')


def test_released_codes_can_be_learned_from(released):
    "Codes as they were released, cut for a place on their grid: vectors of length 1 where there is data."
    grid = released.aef.grid[8:56, 8:56]
    wanted = wanted_on(released, grid)
    assert wanted.values.dtype == np.int8 and wanted.values.shape == (48, 48, 64)
    vectors = wanted.window((slice(0, 16), slice(0, 16)))
    known = np.isfinite(vectors).all(-1)
    assert known.any() and np.allclose(np.linalg.norm(vectors[known], axis=-1), 1, atol=1e-5)
    learn, test = hold_out(released)
    own = reached(released.aef.unit(), test)
    assert own.mean > .999 and own.chance < .999 and own.constant > own.chance
    with pytest.raises(Exception, match='at least 2'): reached(learn, test)
