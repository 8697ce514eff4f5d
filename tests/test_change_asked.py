"""What is asked of a change: patches, classes, areas with intervals; and what is refused."""
import numpy as np
import pytest
from drawn_years import GRID, HECTARE, field, years

from alphaearth_nb.background import in_words
from alphaearth_nb.changes import change
from alphaearth_nb.core import AlphaEarthError
from alphaearth_nb.grids import pixels_of_points
from alphaearth_nb.probes import fit_probe
from alphaearth_nb.transitions import transitions


@pytest.fixture(scope='module')
def drawn(): return years(0)


@pytest.fixture(scope='module')
def found(drawn): return change({2017: drawn[0][2017], 2024: drawn[0][2024]})


def test_small_patches_are_left_out(found):
    some = found.called(.3).values
    large = found.called(.3, least_px=5).values
    assert (large <= some).all() and large.sum() < some.sum()
    for row, col in np.argwhere(large)[::40]:      # each has a neighbour
        assert some[max(0, row - 1):row + 2, max(0, col - 1):col + 2].sum() > 1


def test_patches_lie_where_the_change_is(found, drawn):
    truth = drawn[1]
    first = found.patches(.05, 4)[0]
    assert truth[first['row']:first['row'] + first['height'],
                 first['col']:first['col'] + first['width']].mean() > .8
    assert first['hectares'] == pytest.approx(first['pixels']/HECTARE)
    rows, columns = pixels_of_points(GRID, [first['lon']], [first['lat']])
    assert truth[rows[0], columns[0]]


def test_transitions_are_counted_like_by_hand():
    rng = np.random.default_rng(0)
    before, after = rng.integers(0, 4, (2, *GRID.shape))
    inside = rng.random(GRID.shape) < .3
    found = transitions(before, after, inside, GRID, {1: 'one', 2: 'two', 3: 'three'}, draws=50)
    for i, one in enumerate((1, 2, 3)):
        for j, other in enumerate((1, 2, 3)):
            by_hand = sum(1 for a, b, c in zip(before.flat, after.flat, inside.flat)
                          if c and a == one and b == other)/HECTARE
            assert found.hectares[i, j] == pytest.approx(by_hand)
            area = found.intervals[one, other]
            assert area.low <= area.value <= area.high and area.value == pytest.approx(by_hand)
    assert found.changed.value == pytest.approx(found.hectares.sum())


def test_interval_of_an_area_holds_the_mean_of_such_places():
    "Nine in ten intervals or more, of places drawn alike, hold the area to be expected."
    held, expected = 0, .1*GRID.height*GRID.width/HECTARE
    for seed in range(30):
        rng = np.random.default_rng(seed)
        inside = np.kron(rng.random((16, 20)) < .1, np.ones((4, 4), bool))
        ones = np.ones(GRID.shape, int)
        area = transitions(ones, 2*ones, inside, GRID, {1: 'a', 2: 'b'}, draws=100, seed=seed).changed
        held += area.low <= expected <= area.high
    assert held >= 25


def test_classes_are_those_of_the_probe(drawn):
    fields, truth = drawn
    labels = np.where(truth, 2, 1)
    probe = fit_probe(fields[2024], labels, 'linear', splits=0)
    found = change({2017: fields[2017], 2024: fields[2024]}, probe=probe, probe_year=2024)
    table = found.transitions(.05)
    assert table.rows()[0]['after'] == '2' and table.rows()[0]['before'] == '1'
    assert table.rows()[0]['hectares'] == pytest.approx(truth.sum()/HECTARE, rel=.1)
    assert 'about 1 in 20' in table.notes[0]


def test_sentence_says_the_rate(found):
    assert in_words(.05) in found.sentence(.05) and '2017 to 2024' in found.sentence(.05)
    assert in_words(.01) == 'about 1 in 100 of these is a false alarm'


# ---- bad input

BAD = {
    'one year': (lambda f: change({2017: f[2017]}), 'two years or more'),
    'no mapping': (lambda f: change([f[2017], f[2024]]), 'two years or more'),
    'no field': (lambda f: change({2017: f[2017], 2024: np.zeros(3)}), 'an embedding field'),
    'a year twice': (lambda f: change({2017: f[2017], '2017': f[2017]}), 'different years'),
    'the same period twice': (lambda f: change({'a': f[2017], 'b': f[2017]}), 'different years'),
    'another year': (lambda f: change({2016: f[2017], 2024: f[2024]}), 'of 2016'),
    'another model': (lambda f: change({2017: f[2017], 2024: field(f[2024].aef.vectors(), '2024', 'other')}),
                      'the model'),
    'another version': (lambda f: change({2017: f[2017].assign_attrs(version='1'),
                                          2024: f[2024].assign_attrs(version='2')}), 'the version'),
    'another grid': (lambda f: change({2017: f[2017], 2024: f[2024][:, 1:]}), 'the grid of 2024'),
    'a year that is not there': (lambda f: change(f, between=(2017, 2020)), 'two different years'),
    'quiet years that are not there': (lambda f: change(f, quiet=(2017, 2017)), 'two different years'),
    'a small sample': (lambda f: change(f, sample=10), 'from 500 on'),
    'a rate above one': (lambda f: change(f, quiet=False).called(5), 'between 0 and 1'),
    'no patch': (lambda f: change(f, quiet=False).patches(.05, 0), 'from 1 on'),
    'no probe': (lambda f: change(f, quiet=False).transitions(), 'a probe'),
    'off the place': (lambda f: change(f, quiet=False).trajectory(0., 0.), 'a place on the fields'),
    'few pixels': (lambda f: change({y: f[y][:, :10, :10] for y in (2017, 2024)}), '500 or more'),
}


@pytest.mark.parametrize('name', BAD)
def test_bad_input_is_refused_in_one_sentence(name, drawn):
    work, words = BAD[name]
    with pytest.raises(AlphaEarthError) as caught: work({year: drawn[0][year] for year in (2017, 2024)})
    assert words in str(caught.value) and '\n' not in str(caught.value) and str(caught.value).endswith('.')
