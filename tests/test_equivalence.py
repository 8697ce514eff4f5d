"""What is packed, portioned, computed twice, halved or stored gives what the plain way gives."""
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_model import (  # noqa: F401  (fixtures)
    ROUNDING, SMALL, SPRING, TRAINING, embedded, frames, loud_model, made, mapped, model, picked, place,
    seeds,
)

from alphaearth_nb import layers
from alphaearth_nb.encoder import Packing, SourceBatch, Time, pack
from alphaearth_nb.inference import embed_window
from alphaearth_nb.model import AlphaEarth
from alphaearth_nb.periods import Period
from alphaearth_nb.steps import whiten

ODD = st.sampled_from([math.nan, math.inf, -math.inf, 0., 1e30])
counts = st.tuples(st.integers(0, 4), st.integers(0, 3)).filter(any)    # frames of a row: optical, radar
Rows = list[dict[str, SourceBatch]]


def rows_of(numbers:list[tuple[int, int]], seed:int) -> Rows:
    "Rows of one each, of different lengths."
    return [made(16, 16, n, radar=radar, seed=seed + i) for i, (n, radar) in enumerate(numbers)]


def together(rows:Rows, filling:float, seed:int) -> dict[str, SourceBatch]:
    "The same rows in one batch: absent frames are put between the others, and hold anything."
    rng = np.random.default_rng(seed)
    def longer(part:SourceBatch, length:int) -> SourceBatch:
        at = torch.from_numpy(np.sort(rng.permutation(length)[:part.days.shape[1]]))
        laid = mapped(part, lambda a: a.new_full((1, length, *a.shape[2:]),
                                                 filling if a.is_floating_point() else 0))
        for new, old in zip(vars(laid).values(), vars(part).values()): new[:, at] = old
        laid.bands_present[~laid.present] = bool(seed % 2)
        return laid
    names, parts = rows[0], {}
    for name in names:
        length = max(row[name].days.shape[1] for row in rows) + 1
        padded = [longer(row[name], length) for row in rows]
        columns = zip(*(vars(part).values() for part in padded))
        parts[name] = SourceBatch(*(torch.cat(arrays) for arrays in columns))
    return parts


def learned(model:AlphaEarth, batches:Rows) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    "Embeddings of all rows, and the gradients of one loss over all of them."
    model.zero_grad()
    found = [model.summarize(model.encode(batch), SPRING.expand(len(batch['sentinel2'].days), -1, -1))
             for batch in batches]
    vectors = torch.cat(found)
    (vectors*torch.linspace(-1, 1, vectors[0].numel()).view_as(vectors[0]).sin()).sum().backward()
    return vectors.detach(), {name: p.grad.clone() for name, p in model.named_parameters()
                              if p.grad is not None}


def assert_same(first:tuple, second:tuple, rounding:float=ROUNDING) -> None:
    """Embeddings and gradients agree; a gradient is held against the largest of its layer. That of the bias
    of a key is zero, because a softmax forgets what all keys share: what is computed for it is rounding."""
    torch.testing.assert_close(first[0], second[0], atol=rounding, rtol=0)
    assert first[1].keys() == second[1].keys()
    most_of = {}
    for name, one in first[1].items():
        layer = name.rpartition('.')[0]
        most_of[layer] = max(most_of.get(layer, 0.), float(one.abs().max()))
    for name, one in first[1].items():
        most = most_of[name.rpartition('.')[0]]
        torch.testing.assert_close(second[1][name], one, atol=5*rounding*most + 1e-6, rtol=0, msg=name)


# ---- rows, frames, sources

@settings(max_examples=12)
@given(st.lists(counts, min_size=2, max_size=3), ODD, seeds)
def test_a_row_in_a_batch_is_as_it_is_alone(numbers, filling, seed):
    "Rows of unequal length: the same embeddings and the same gradients as one row after the other."
    model, rows = loud_model(), rows_of(numbers, seed % 1000)
    assert_same(learned(model, rows), learned(model, [together(rows, filling, seed)]))


@settings(max_examples=12)
@given(counts, ODD, ODD, seeds)
def test_what_an_absent_frame_holds_changes_no_bit(model, number, one, other, seed):
    "Not its pixels, not its day, not its bands."
    rows = rows_of([number, (2, 2)], seed % 1000)
    first, second = (learned(model, [together(rows, filling, seed)]) for filling in (one, other))
    assert torch.equal(first[0], second[0])
    assert all(torch.equal(grad, second[1][name]) for name, grad in first[1].items())


@settings(max_examples=8)
@given(seeds)
def test_order_is_no_information(model, seed):
    "Not of the frames, which come unsorted and with duplicate times, and not of the sources."
    rng, batch = np.random.default_rng(seed), made(16, 16, 5, seed=seed % 1000)
    for part in batch.values(): part.days[:, 1] = part.days[:, 0]              # two frames at one moment
    turned = {name: picked(batch[name], rng.permutation(batch[name].days.shape[1]))
              for name in reversed(batch)}
    assert_same(learned(model, [batch]), learned(model, [turned]))


@pytest.mark.parametrize('year', [1900, 1970, 2100])
@pytest.mark.parametrize('odd', [math.nan, math.inf, -math.inf])
def test_odd_years_and_pixels_stay_finite(model, year, odd):
    "One frame, an ocean of no data, any century: unit vectors and gradients are finite."
    part = made(16, 16, 1, radar=0)['sentinel2']
    part.values[..., 3:9, :] = odd
    part.days.fill_((np.datetime64(f'{year}-06-01') - np.datetime64('1970-01-01')).astype(int))
    vectors, gradients = learned(model, [{'sentinel2': part}])
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(1, 1, 16, 16))
    assert all(gradient.isfinite().all() for gradient in gradients.values())


def test_rows_without_frames_are_marked_and_silent(model):
    "A row without any frame is finite, not valid, and takes no part in a gradient; a batch of none neither."
    rows = rows_of([(3, 2), (2, 1)], 0)
    batch = together(rows, math.nan, 0)
    for part in batch.values(): part.present[1] = False
    assert model.encode(batch).memory.valid.tolist() == [True, False]
    vectors, _ = learned(model, [batch])
    torch.testing.assert_close(vectors[0], learned(model, rows[:1])[0][0], atol=ROUNDING, rtol=0)
    assert vectors.isfinite().all()
    for part in batch.values(): part.present[:] = False
    encoded = model.encode(batch)
    assert not encoded.memory.valid.any()
    assert model.summarize(encoded, SPRING.expand(2, -1, -1)).isfinite().all()


def test_a_window_in_which_nothing_was_seen_has_no_data(model, place):
    "Frames that show nothing, in a corner or anywhere, give no data there and only there."
    period, before = Period('2018-01-01', '2018-07-01'), {}
    for name, part in place.sources.items():
        before[name] = part.values.copy()
        part.values[..., :16, :16] = np.nan
    found = embed_window(model, place, [period], period, (slice(0, 32), slice(0, 32)))[0]
    for name, part in place.sources.items(): part.values[:] = before[name]
    assert np.isnan(found[:16, :16]).all()
    assert np.isfinite(found[16:]).all() and np.isfinite(found[:, 16:]).all()


# ---- other ways to compute the same

def plain_time(operator:Time, maps:torch.Tensor, code:torch.Tensor, packing:Packing) -> torch.Tensor:
    "Attention over time as it is written in a book: row by row, position by position, in float64."
    attention, (p, h, w, d) = operator.attention, maps.shape
    parts = attention.query_key_value(operator.norm(maps) + operator.code(code)[:, None, None])
    mixed = torch.zeros_like(maps)
    for row in packing.rows.unique():
        mine = (packing.rows == row).nonzero()[:, 0]
        some = parts[mine].unflatten(-1, (3, attention.heads, -1))              # (n, h, w, 3, heads, c)
        query, key, value = some.unbind(3)
        score = torch.einsum('nhwac,mhwac->hwanm', query, key)/math.sqrt(d//attention.heads)
        weight = (score + packing.prior[row, packing.slots[mine]]).softmax(-1)
        mixed[mine] = torch.einsum('hwanm,mhwac->nhwac', weight, value).flatten(-2)
    maps = maps + attention.output(mixed)
    return maps + torch.nn.Sequential.forward(operator.perceptron, operator.norm_after(maps))


@pytest.mark.parametrize('numbers', [[(4, 2)], [(4, 2), (1, 0), (0, 3)]])
def test_time_attention_is_what_the_book_says(model, numbers):
    "Whatever lies how in memory; for one row, which is its own layout, and for several."
    batch = together(rows_of(numbers, 0), 0., 0)
    packing, operator = pack(batch), loud_model().double().encoder.blocks[0].time
    packing = Packing(packing.rows, packing.slots, packing.days, packing.prior.double())
    maps = torch.randn(len(packing.rows), 3, 5, 16, generator=torch.Generator().manual_seed(0)).double()
    code = model.encoder.time_code(packing.days).double()
    with torch.no_grad():
        found, wanted = operator(maps, code, packing), plain_time(operator, maps, code, packing)
    torch.testing.assert_close(found, wanted, atol=1e-10, rtol=0)


@pytest.mark.parametrize('size', [1, 3*8*8*16, 1 << 30])
def test_portions_change_nothing(model, monkeypatch, size):
    "One frame at a time, three, or all at once."
    batch = made(16, 16, 6)
    wanted = learned(model, [batch])
    monkeypatch.setattr(layers, 'PORTION', size)
    assert_same(wanted, learned(model, [batch]))


@pytest.mark.parametrize('kind', [torch.float32, torch.bfloat16])
def test_what_is_computed_twice_is_the_same(kind):
    "With `recompute`, losses and gradients are the same to the bit, in half precision too."
    model, batch, found = loud_model(), together(rows_of([(4, 2), (1, 3)], 0), math.nan, 0), {}
    for again in (False, True):
        model.encoder.recompute = again
        with torch.autocast('cpu', kind, enabled=kind == torch.bfloat16):
            found[again] = learned(model, [batch])
    assert torch.equal(found[True][0], found[False][0])
    assert all(torch.equal(found[True][1][name], grad) for name, grad in found[False][1].items())


def test_less_is_kept_where_it_is_computed_twice():
    "What a graph keeps for the gradient of an encoder is a part of what it kept; else it were not worth it."
    model, batch, kept = loud_model(blocks=6), made(32, 32, 6), {}
    for again in (False, True):
        model.encoder.recompute, seen = again, {}
        def keep(tensor):
            storage = tensor.untyped_storage()
            seen[storage.data_ptr()] = storage.nbytes()
            return tensor
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            maps, _ = model.encoder(batch)
        kept[again] = sum(seen.values())
        del maps
    assert kept[True] < .4*kept[False], kept


def test_half_precision_points_the_same_way(place):
    "On a whitened model, where nothing hides behind a common mean: cosine to float32 at least .999 a pixel."
    torch.manual_seed(0)
    model = AlphaEarth(SMALL)
    for block in model.encoder.blocks:                          # or coarse states would not reach the result
        for up in (block.space_to_time, block.time_to_precision):
            torch.nn.init.normal_(up.project.weight, 0, .02)
    whiten(model, [place], TRAINING)
    period = Period('2018-01-01', '2018-07-01')
    def vectors(precision):
        return embed_window(model, place, [period], period, (slice(0, 48),)*2, precision)[0]
    cosine = (vectors('fp32')*vectors('bf16')).sum(-1)
    assert 1 - 1e-7 > np.nanmin(cosine) >= .9995, np.nanmin(cosine)


def test_a_model_comes_back_to_the_bit(model, tmp_path):
    "Saved and loaded, it makes the same embeddings, and is saved to the same bytes."
    model.save(tmp_path/'one.safetensors')
    again = AlphaEarth.load(tmp_path/'one.safetensors').eval()
    assert torch.equal(embedded(again, made()), embedded(model, made()))
    again.save(tmp_path/'two.safetensors')
    assert (tmp_path/'one.safetensors').read_bytes() == (tmp_path/'two.safetensors').read_bytes()
