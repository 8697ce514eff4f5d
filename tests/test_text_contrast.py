"""Laws of the contrastive loss, against a reference that is written out row by row."""
import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from alphaearth_nb.contrast import clip_loss

SEEDS, SIZES, SCALES = st.integers(0, 2**31), st.integers(2, 9), st.floats(0, 100)


def unit(*shape:int, seed:int=0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(*shape, generator=generator), dim=-1)


def everyone(n:int) -> torch.Tensor: return torch.ones(n, dtype=torch.bool)


def drawn(n:int, seed:int, kinds:int=0) -> torch.Tensor:
    "Whole numbers (n,), of so many kinds; 0: true and false."
    found = torch.randint(max(kinds, 2), (n,), generator=torch.Generator().manual_seed(seed + 9))
    return found if kinds else found.bool()


def reference(places, texts, scale, valid, same) -> float:
    "The definition, without a matrix."
    rows, total = [i for i in range(len(places)) if valid[i]], 0.
    for i in rows:
        others = [j for j in rows if j == i or same[j] != same[i]]
        mine = float(scale)*float(places[i] @ texts[i])
        for score in ([places[i] @ texts[j] for j in others], [places[j] @ texts[i] for j in others]):
            total += math.log(sum(math.exp(float(scale)*float(one) - mine) for one in score))/2
    return total/max(len(rows), 1)


def with_gradients(places, texts, scale, valid, same=None) -> tuple[torch.Tensor, ...]:
    leaves = [part.clone().requires_grad_() for part in (places, texts, scale)]
    loss = clip_loss(*leaves, valid, same)
    return loss.detach(), *torch.autograd.grad(loss, leaves)


@given(SEEDS, SIZES, st.floats(0, 40), st.integers(1, 9))
def test_it_is_the_definition(seed, n, scale, kinds):
    places, texts, scale = unit(n, 6, seed=seed), unit(n, 6, seed=seed + 1), torch.tensor(scale)
    valid, same = drawn(n, seed), drawn(n, seed + 1, kinds)
    found = clip_loss(places, texts, scale, valid, same)
    wanted = torch.tensor(reference(places.double(), texts.double(), scale, valid, same), dtype=torch.float32)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@given(SEEDS, SIZES, SCALES)
def test_masked_rows_are_absent_rows(seed, n, scale):
    "Loss and all gradients, whatever stands in the rows without text."
    places, texts, valid = unit(n, 8, seed=seed), unit(n, 8, seed=seed + 1), drawn(n, seed)
    same, scale = drawn(n, seed + 1, 4), torch.tensor(scale)
    for anything in (torch.nan, torch.inf, 1e30, 0.):
        filled = [part.masked_fill(~valid[:, None], anything) for part in (places, texts)]
        found = with_gradients(*filled, scale, valid, same)
        wanted = with_gradients(places[valid], texts[valid], scale, valid[valid], same[valid])
        torch.testing.assert_close(found[0], wanted[0], rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(found[3], wanted[3], rtol=1e-6, atol=1e-6)
        for got, least in zip(found[1:3], wanted[1:3]):
            torch.testing.assert_close(got[valid], least, rtol=0, atol=1e-6*max(1, float(scale)))
            assert (got[~valid] == 0).all()


@given(SEEDS, SIZES, SCALES)
def test_the_order_of_pairs_says_nothing(seed, n, scale):
    places, texts = unit(n, 8, seed=seed), unit(n, 8, seed=seed + 1)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    parts = [places, texts, drawn(n, seed), drawn(n, seed, 3)]
    first, second = (clip_loss(*some[:2], torch.tensor(scale), *some[2:])
                     for some in (parts, [part[order] for part in parts]))
    torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-5)


@given(SEEDS, SIZES, SCALES)
def test_places_and_texts_can_change_sides(seed, n, scale):
    places, texts, scale = unit(n, 8, seed=seed), unit(n, 8, seed=seed + 1), torch.tensor(scale)
    torch.testing.assert_close(clip_loss(places, texts, scale, everyone(n)),
                               clip_loss(texts, places, scale, everyone(n)), rtol=1e-5, atol=1e-5)


@given(SEEDS, SIZES, SCALES)
def test_a_guess_costs_the_logarithm_of_the_rows(seed, n, scale):
    "All texts alike, or a scale of 0."
    places, scale = unit(n, 8, seed=seed), torch.tensor(scale)
    alike = unit(1, 8, seed=seed + 1).expand(n, 8)
    for loss in (clip_loss(alike, alike, scale, everyone(n)),
                 clip_loss(places, alike.flip(1), scale*0, everyone(n))):
        torch.testing.assert_close(loss.item(), math.log(n), rtol=1e-5, atol=1e-5)


@given(SEEDS, SIZES)
def test_perfect_pairs_at_a_high_scale_cost_nothing(seed, n):
    basis = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(seed)))[0][:n]
    assert clip_loss(basis, basis, torch.tensor(100.), everyone(n)) < 1e-6


@given(SEEDS, st.integers(3, 9), st.floats(1, 12))
def test_the_scale_grows_for_true_pairs_and_shrinks_for_wrong_ones(seed, n, scale):
    basis = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(seed)))[0][:n]
    grown, shrunk = (with_gradients(basis, basis.roll(by, 0), torch.tensor(scale), everyone(n))[3]
                     for by in (0, 1))
    assert grown < 0 < shrunk


@given(SEEDS, st.integers(3, 9))
def test_rows_with_one_text_are_no_negatives_of_each_other(seed, n):
    "Only the first place sees component 0 of the texts, so moving the twin's there must not matter."
    places, texts, scale = torch.eye(n, 16), unit(n, 16, seed=seed), torch.tensor(9.)
    moved, same = texts.clone(), torch.arange(n)
    moved[1, 0] += 1
    same[1] = 0
    told, told_moved = (clip_loss(places, some, scale, everyone(n), same) for some in (texts, moved))
    assert told == told_moved < clip_loss(places, moved, scale, everyone(n))


def test_one_row_or_none_gives_zero_with_gradients_of_zero():
    for valid in (torch.zeros(5, dtype=torch.bool), torch.arange(5) == 3):
        assert all((part == 0).all() for part in
                   with_gradients(unit(5, 8), unit(5, 8, seed=1), torch.tensor(9.), valid))
    nobody = with_gradients(torch.zeros(0, 8), torch.zeros(0, 8), torch.tensor(9.), everyone(0))
    assert nobody[0] == 0 and nobody[3] == 0


def test_bfloat16_around_it_changes_nothing():
    parts = unit(32, 64), unit(32, 64, seed=1), torch.tensor(100.), everyone(32)
    with torch.autocast('cpu', torch.bfloat16): rounded = clip_loss(*parts)
    torch.testing.assert_close(rounded, clip_loss(*parts), rtol=0, atol=0)
