"""Laws of the von Mises–Fisher page, for random widths, concentrations and directions."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alphaearth_nb.core import AlphaEarthError, ConfigError
from alphaearth_nb.vmf import (
    consistency,
    divergence_from_uniform,
    entropy,
    log_bessel,
    log_density,
    mean_length,
    sample_exact,
    sample_tangent,
)

DRAWS = 4000
ARGUMENTS = torch.logspace(-8, 6, 43, dtype=torch.float64)

widths = st.integers(2, 96)
orders = st.one_of(st.integers(0, 40).map(lambda number: number/2), st.floats(0, 3000))
concentrations = st.floats(-1, 4).map(lambda power: 10**power)
seeds = st.integers(0, 2**31)


def directions(count:int, width:int, generator:torch.Generator) -> torch.Tensor:
    "Draw float64 directions evenly from the sphere."
    vectors = torch.randn(count, width, generator=generator, dtype=torch.float64)
    return vectors/vectors.norm(dim=-1, keepdim=True)


def rotation(width:int, generator:torch.Generator) -> torch.Tensor:
    "Draw an orthogonal matrix."
    return torch.linalg.qr(torch.randn(width, width, generator=generator, dtype=torch.float64))[0]


@settings(max_examples=60)
@given(order=orders)
def test_log_bessel_obeys_its_recurrence(order):
    "I_{v-1} - I_{v+1} = (2v/x) I_v, divided by I_{v-1} so that nothing overflows."
    order = order + 1
    below, here, above = (log_bessel(order + step, ARGUMENTS) for step in (-1, 0, 1))
    total = (above - below).exp() + ((2*order/ARGUMENTS).log() + here - below).exp()
    size = torch.maximum(below.abs(), above.abs()) + 20*order  # sums of such logarithms are known to size·eps
    assert ((total - 1).abs() < 1e-12 + 2e-15*size).all()


@settings(max_examples=60)
@given(order=orders)
def test_log_bessel_grows_with_x_and_falls_with_order(order):
    "Monotone in both, with a gradient that is finite and positive."
    arguments = ARGUMENTS.clone().requires_grad_()
    value = log_bessel(order, arguments)
    value.sum().backward()
    assert (arguments.grad > 0).all() and arguments.grad.isfinite().all()
    assert (log_bessel(order + 1, ARGUMENTS) < value).all()
    assert (value.diff() > -1e-14).all()      # log I_0 begins at 0, but for rounding


@settings(max_examples=50)
@given(width=widths, concentration=concentrations, seed=seeds)
def test_density_turns_with_the_sphere(width, concentration, seed):
    "Turning vectors and mean together changes no density."
    generator = torch.Generator().manual_seed(seed)
    turn, mean = rotation(width, generator), directions(1, width, generator)
    vectors = directions(5, width, generator)
    before = log_density(vectors, mean, concentration)
    after = log_density(vectors @ turn, mean @ turn, concentration)
    assert torch.allclose(before, after, rtol=0, atol=1e-12*max(100, concentration))


@settings(max_examples=40)
@given(width=widths)
def test_more_concentration_says_more(width):
    "Mean length and divergence rise with the concentration from 0 on; the entropy falls."
    rising = torch.cat([torch.zeros(1, dtype=torch.float64), torch.logspace(-1, 4, 40, dtype=torch.float64)])
    length, divergence = mean_length(rising, width), divergence_from_uniform(rising, width)
    assert length[0] == 0 and (length.diff() > 0).all() and length[-1] < 1
    assert abs(divergence[0]) < 1e-12 and (divergence.diff() > 0).all()
    assert (entropy(rising, width).diff() < 0).all()


@settings(max_examples=25)
@given(width=widths, concentration=concentrations, seed=seeds)
def test_exact_draws_have_unit_length_and_the_right_mean(width, concentration, seed):
    "The mean of many draws is mean_length times the mean direction, within five standard errors."
    generator = torch.Generator().manual_seed(seed)
    mean = directions(1, width, generator)
    draws = sample_exact(mean.expand(DRAWS, width), concentration, generator)
    assert torch.allclose(draws.norm(dim=-1), torch.ones(DRAWS, dtype=torch.float64), atol=1e-12)
    cosine = (draws*mean).sum(-1)
    assert abs(cosine.mean() - mean_length(concentration, width)) < 5*cosine.std()/math.sqrt(DRAWS)
    across = directions(1, width, generator)
    across = across - (across*mean).sum()*mean
    sideways = (draws*across).sum(-1)
    assert abs(sideways.mean()) < 5*sideways.std()/math.sqrt(DRAWS)


@settings(max_examples=25)
@given(width=widths, excess=st.floats(1, 100), seed=seeds)
def test_tangent_draws_have_unit_length_and_the_right_mean(width, excess, seed):
    "The same for the fast sample, from the lowest concentration it accepts."
    generator = torch.Generator().manual_seed(seed)
    mean, concentration = directions(1, width, generator), 4*width*excess
    draws = sample_tangent(mean.expand(DRAWS, width), concentration, generator)
    assert torch.allclose(draws.norm(dim=-1), torch.ones(DRAWS, dtype=torch.float64), atol=1e-12)
    gap = 1 - (draws*mean).sum(-1)
    expected = 1 - mean_length(concentration, width).item()
    assert abs(gap.mean() - expected) < 5*gap.std()/math.sqrt(DRAWS) + .004*expected/excess**2


@settings(max_examples=50)
@given(width=widths, concentration=concentrations, seed=seeds)
def test_consistency_is_the_surprise_of_a_direction(width, concentration, seed):
    "The likelihood falls from its peak by 2κ times the consistency, which is symmetric and within [0, 1]."
    generator = torch.Generator().manual_seed(seed)
    a, b = directions(20, width, generator), directions(20, width, generator)
    fall = log_density(a, a, concentration) - log_density(b, a, concentration)
    assert torch.allclose(fall, 2*concentration*consistency(a, b), rtol=1e-9, atol=1e-9*max(1, concentration))
    assert torch.equal(consistency(a, b), consistency(b, a))
    assert 0 <= consistency(a, b).min() and consistency(a, b).max() <= 1 + 1e-12


@settings(max_examples=50)
@given(width=widths, share=st.floats(0, .99))
def test_too_low_a_concentration_is_refused_in_words(width, share):
    "The tangent draw is no longer the distribution, so it is refused, and the message names the way out."
    with pytest.raises(ConfigError, match='sample_exact') as refusal:
        sample_tangent(torch.eye(width)[0], share*4*width)
    assert isinstance(refusal.value, AlphaEarthError) and '\n' not in str(refusal.value)
