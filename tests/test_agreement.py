"""Laws of the comparison of two fields, on drawn fields and on a released one."""
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from scipy import integrate, stats

from alphaearth_nb.agreement import compare
from alphaearth_nb.codes import NO_DATA
from alphaearth_nb.colours import ColourBasis
from alphaearth_nb.core import FieldError, ShapeError
from alphaearth_nb.fields import make_field, read_cog
from alphaearth_nb.grids import pixels_of_points, utm_grid, window

RELEASED = Path(__file__).parents[1]/'../shared/data/aef_wisconsin_2024_32616_10m.tif'
GRID = window(utm_grid((5., 51., 5.02, 51.02)), 0, 0, 64, 72)
INVARIANT = ('procrustes_cosine', 'cka', 'neighbour_overlap', 'r2_forward', 'r2_backward')
seeds = st.integers(0, 2**31)
few = settings(max_examples=5)


def unit(vectors): return vectors/np.linalg.norm(vectors, axis=-1, keepdims=True)


def rotation(seed): return np.linalg.qr(np.random.default_rng(seed).normal(size=(64, 64)))[0]


def ground(seed, grid=GRID, noise=.3):
    "Smooth unit vectors (h, w, 64) around a common direction."
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:grid.height, :grid.width]
    waves = np.stack([np.sin(x/(3 + k) + k)*np.cos(y/(2 + k)) for k in range(8)], -1)
    mean = rng.normal(size=64)
    return unit(mean + waves@rng.normal(size=(8, 64)) + noise*rng.normal(size=(*grid.shape, 64)))


def field(vectors, grid=GRID, valid='2024', **attrs): return make_field(vectors, grid, valid, **attrs)


def numbers(found): return {name: one.value for name, one in found.intervals.items()}


@pytest.fixture(scope='module')
def released():
    "The released field, opened."
    if not RELEASED.is_file(): pytest.skip(f'{RELEASED.name} is not here; it is no part of the repository')
    return read_cog(RELEASED, valid='2024')


# ---- rotations

@few
@given(seed=seeds, turn=seeds)
def test_a_rotated_copy_agrees_after_alignment_and_not_before(seed, turn):
    vectors, turned = ground(seed), rotation(turn)
    found = compare(field(vectors), field(vectors@turned), draws=20)
    for name in INVARIANT: assert getattr(found, name) == pytest.approx(1, abs=2e-3), name
    assert np.nanmin(found.map) > 1 - 1e-5
    assert found.cosine < .6 and found.rank_a == pytest.approx(found.rank_b, rel=1e-4)
    assert np.abs(found.rotation - turned).max() < 1e-3


@few
@given(seed=seeds)
def test_a_field_of_few_different_embeddings_agrees_with_its_rotated_copy(seed):
    "All neighbours are ties; which of them come first must not matter."
    rng = np.random.default_rng(seed)
    vectors = unit(rng.normal(size=(30, 64)))[rng.integers(0, 30, GRID.shape)]
    found = compare(field(vectors), field(vectors@rotation(seed)), draws=20)
    for name in INVARIANT: assert getattr(found, name) == pytest.approx(1, abs=2e-3), name


@few
@given(seed=seeds, turn=seeds)
def test_rotating_one_field_changes_nothing_but_the_plain_cosine(seed, turn):
    a, b = ground(seed), unit(ground(seed) + .5*ground(seed + 1))
    before = compare(field(a), field(b), draws=20)
    after = compare(field(a@rotation(turn)), field(b), draws=20, block_px=before.facts['block_px'])
    for name in (*INVARIANT, 'rank_a', 'rank_b'):
        assert getattr(after, name) == pytest.approx(getattr(before, name), abs=2e-3), name
    np.testing.assert_allclose(after.map, before.map, atol=1e-4)


@few
@given(seed=seeds)
def test_symmetric_where_it_should_be(seed):
    a, b = field(ground(seed)), field(unit(ground(seed) + .4*ground(seed + 1)))
    there, back = compare(a, b, sample=2000, draws=20), compare(b, a, sample=2000, draws=20)
    for name in ('cosine', 'procrustes_cosine', 'cka', 'neighbour_overlap'):
        assert getattr(there, name) == pytest.approx(getattr(back, name), abs=1e-9), name
    assert (there.r2_forward, there.rank_a) == pytest.approx((back.r2_backward, back.rank_b), abs=1e-6)
    assert there.intervals['cka'].low == pytest.approx(back.intervals['cka'].low, abs=1e-9)
    np.testing.assert_allclose(there.rotation, back.rotation.T, atol=1e-6)
    np.testing.assert_allclose(there.map, back.map, atol=1e-5)
    assert [one['row'] for one in there.worst(3)] == [one['row'] for one in back.worst(3)]


# ---- noise of known size, and none at all in common

@few
@given(seed=seeds, sigma=st.sampled_from([.03, .08, .15, .3]))
def test_noise_of_known_size_gives_the_known_agreement(seed, sigma):
    """b = (a + σt)/|…| with t in the 63 tangent directions: the mean cosine ρ is E (1 + σ²χ²₆₃)^(−½).

    E[b | a] is ρ a by symmetry; for a spread evenly over the sphere the variance of b is one, so R² is ρ²
    both ways; cov(a, b) is ρ cov(a), so CKA is ρ² too.
    """
    grid = GeoBox((120, 120), GRID.affine, GRID.crs)
    rng = np.random.default_rng(seed)
    a = unit(rng.normal(size=(120, 120, 64)))
    noise = rng.normal(size=a.shape)
    b = unit(a + sigma*(noise - (noise*a).sum(-1, keepdims=True)*a))
    rho = integrate.quad(lambda t: stats.chi2.pdf(t, 63)/np.sqrt(1 + sigma**2*t), 0, 400)[0]
    found = compare(field(a, grid), field(b@rotation(seed), grid), draws=50)
    assert found.procrustes_cosine == pytest.approx(rho, abs=.01)
    for name in ('cka', 'r2_forward', 'r2_backward'):
        assert getattr(found, name) == pytest.approx(rho**2, abs=.02), name
    assert min(found.rank_a, found.rank_b) > 63
    assert np.nanmean(found.map) == pytest.approx(rho, abs=.01)


@few
@given(seed=seeds)
def test_a_shuffled_field_is_at_chance(seed):
    vectors = ground(seed)
    mixed = np.random.default_rng(seed).permutation(vectors.reshape(-1, 64)).reshape(vectors.shape)
    found = compare(field(vectors), field(mixed), draws=20)
    for name, chance in found.chance.items():
        assert getattr(found, name) == pytest.approx(chance, abs=.04), name
    assert found.chance['cka'] == 0 and found.chance['procrustes_cosine'] > .1
    assert 'hardly anything' in found.sentence()


def test_fields_that_are_smooth_each_in_its_own_way_do_not_agree(released):
    "The released field and itself turned by 180°: pixels next door are alike in both, and that is all."
    mirror = released.aef.vectors()[::-1, ::-1]
    found = compare(released, make_field(mirror, released.aef.grid, '2024'))
    assert found.neighbour_overlap < .15 and found.r2_forward < .2 and found.cka < .3
    assert found.procrustes_cosine < found.chance['procrustes_cosine'] + .1


@few
@given(seed=seeds)
def test_intervals_hold_their_number_and_shrink_with_the_noise(seed):
    a, other = ground(seed), ground(seed + 1)
    found = compare(field(a), field(unit(a + .3*other)), draws=50)
    for name, one in found.intervals.items():
        assert one.low - 1e-9 <= one.value <= one.high + 1e-9 or name.startswith('rank'), name
        assert getattr(found, name) == one.value and one.units == found.facts['blocks'], name
    exact = compare(field(a), field(a), draws=50).intervals['r2_forward']
    assert exact.high - exact.low < 1e-6


def test_intervals_hold_the_number_of_all_pixels():
    "A sample is never sure and wrong; what is fitted on fewer pixels is scored lower, not higher."
    a, rng = ground(0), np.random.default_rng(1)
    a, b = field(a), field(unit(a + .1*rng.normal(size=a.shape)))
    whole, names, hits = numbers(compare(a, b, draws=20, block_px=8)), ('cka', 'cosine'), 0
    for seed in range(10):
        found = compare(a, b, sample=1500, seed=seed, block_px=8)
        hits += sum(found.intervals[name].low <= whole[name] <= found.intervals[name].high for name in names)
        assert whole['r2_forward'] - .08 < found.r2_forward < whole['r2_forward']
    assert hits >= 17


# ---- which pixels take part

@few
@given(seed=seeds, share=st.floats(.05, .5))
def test_pixels_without_data_take_no_part(seed, share):
    "What stands under a hole of the other field does not matter."
    rng = np.random.default_rng(seed)
    a, b = ground(seed), unit(ground(seed) + .3*ground(seed + 1))
    hole = rng.random(GRID.shape) < share
    b[hole] = np.nan
    changed = np.where(hole[..., None], unit(rng.normal(size=a.shape)), a)
    holed = np.where(hole[..., None], np.nan, a)
    # the same blocks: how far likeness reaches is measured on each field, holes of the other or not
    found = [compare(field(one), field(b), draws=20, block_px=9) for one in (a, changed, holed)]
    assert numbers(found[0]) == numbers(found[1]) == numbers(found[2])
    for one in found:
        assert np.array_equal(np.isnan(one.map.values), hole)
        assert one.facts['pixels'] == (~hole).sum() and one.facts['missing'] == hole.sum()


@few
@given(seed=seeds)
def test_a_permutation_of_pixels_changes_nothing_but_the_blocks(seed):
    grid = GeoBox((40, 50), GRID.affine, GRID.crs)
    a, b = ground(seed, grid), unit(ground(seed, grid) + .3*ground(seed + 1, grid))
    order = np.random.default_rng(seed).permutation(2000)
    moved = [one.reshape(-1, 64)[order].reshape(one.shape) for one in (a, b)]
    found = compare(field(a, grid), field(b, grid), draws=20)
    mixed = compare(field(moved[0], grid), field(moved[1], grid), draws=20)
    for name in ('cosine', 'cka', 'rank_a', 'rank_b'):
        assert getattr(found, name) == pytest.approx(getattr(mixed, name), abs=1e-5), name
    np.testing.assert_allclose(found.rotation, mixed.rotation, atol=1e-4)
    np.testing.assert_allclose(found.map.values.ravel()[order], mixed.map.values.ravel(), atol=1e-5)
    assert found.procrustes_cosine == pytest.approx(mixed.procrustes_cosine, abs=.03)


@few
@given(seed=seeds)
def test_codes_are_decoded_and_never_compared_as_numbers(seed):
    a, b = field(ground(seed)), field(unit(ground(seed) + .3*ground(seed + 1)))
    units, codes = (compare(one(a), one(b), draws=20, block_px=9)
                    for one in (lambda one: one.aef.codes().aef.unit(), lambda one: one.aef.codes()))
    assert numbers(units) == pytest.approx(numbers(codes), abs=1e-4)   # a tie may fall the other way
    np.testing.assert_allclose(units.map, codes.map, atol=1e-6)
    assert compare(a, a.aef.codes(), draws=20, block_px=9).procrustes_cosine > .999


# ---- no more is decoded than is needed

def test_fields_are_decoded_by_the_sample_and_by_tiles(monkeypatch):
    "Of two large fields no more than a tile or the sample is decoded at once."
    import alphaearth_nb.agreement as page
    import alphaearth_nb.fields as fields
    grid, seen, decode = GeoBox((600, 700), GRID.affine, GRID.crs), [], fields.dequantize

    def watched(codes):
        seen.append(codes.size//64)
        return decode(codes)
    codes = field(ground(0, grid), grid).aef.codes()
    for module in (page, fields): monkeypatch.setattr(module, 'dequantize', watched)
    found = compare(codes, codes, sample=3000, draws=20)
    assert max(seen) <= 256*256 and sum(seen) < 2.2*grid.height*grid.width
    assert found.facts['sample'] == 3000 and found.map.shape == grid.shape
    assert '3,000 of 420,000 pixels' in found.sentence()


# ---- what is handed on

def test_results_are_repeated_by_their_seed():
    a, b = field(ground(0)), field(unit(ground(0) + .3*ground(1)))
    first, again, other = (compare(a, b, sample=1000, seed=seed, draws=20) for seed in (0, 0, 1))
    assert first.to_dict() == again.to_dict() and first.cka != other.cka


def test_everything_fits_into_json():
    found = compare(field(ground(0)), field(ground(1), valid='2023'), draws=20)
    said = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert said['cka'] == found.cka and np.shape(said['rotation']) == (64, 64)
    assert said['worst'] == found.worst() and any('2023' in note for note in said['notes'])


@pytest.mark.parametrize('other, said', [
    ('2024', ()), ('2024-01-01/2025-01-01', ()), ('2023', ('The valid periods differ',))])
def test_periods_are_spoken_of_only_where_they_differ(other, said):
    found = compare(field(ground(0)), field(ground(1)).assign_attrs(valid_period=other), draws=20)
    notes = [note for note in found.notes if 'period' in note]
    assert len(notes) == len(said)
    assert all(note.startswith(start) for note, start in zip(notes, said))


def test_names_are_data():
    found = compare(field(ground(0), model='<script>alert(1)</script>'), field(ground(1)), draws=20)
    assert '<script' not in found._repr_html_() and '&lt;script' in found._repr_html_()


@few
@given(seed=seeds)
def test_the_same_colour_means_the_same_thing(seed):
    vectors, turn = ground(seed), rotation(seed)
    a, b = field(vectors), field(vectors@turn)
    basis = ColourBasis.fit(b.aef.vectors())
    pictures = a.aef.rgb(compare(a, b, draws=20).basis_for_a(basis)).astype(int), b.aef.rgb(basis)
    assert np.abs(pictures[0] - pictures[1]).max() <= 1


@few
@given(row=st.integers(0, 3), column=st.integers(0, 3), size=st.sampled_from([8, 16]))
def test_the_worst_place_is_found_where_it_is(row, column, size):
    vectors, other = ground(3), ground(3)
    place = slice(row*size, (row + 1)*size), slice(column*size, (column + 1)*size)
    other[place] = unit(np.random.default_rng(0).normal(size=(size, size, 64)))
    found = compare(field(vectors), field(other), draws=20).worst(4, size)
    assert (found[0]['row'], found[0]['col'], found[0]['height']) == (row*size, column*size, size)
    assert found == sorted(found, key=lambda one: one['agreement'])
    rows, columns = pixels_of_points(GRID, found[0]['lon'], found[0]['lat'])
    assert place[0].start <= rows[0] < place[0].stop and place[1].start <= columns[0] < place[1].stop


def test_labels_give_the_gap_of_probes_and_the_agreement_of_classes():
    "Noise on one field costs it points, and only where the noise is."
    labels = np.zeros(GRID.shape, int)
    for number, (top, left) in enumerate((t, u) for t in range(1, 60, 12) for u in range(1, 66, 12)):
        labels[top:top + 9, left:left + 9] = 1 + number % 2
    rng, vectors = np.random.default_rng(0), ground(0)
    clear = unit(vectors + .6*(labels == 1)[..., None]*rng.normal(size=64)/8)
    noisy = unit(clear + .5*(labels == 2)[..., None]*rng.normal(size=clear.shape))
    noisy[:6] = np.nan
    found = compare(field(clear), field(noisy).aef.codes(), labels=labels, splits=4, draws=20)
    assert set(found.probe) >= {'1', '10', 'max'} and all(gap.n == 4 for gap in found.probe.values())
    assert found.by_class['1'] > found.by_class['2'] + .1
    assert 'most on 1' in found.sentence() and 'least on 2' in found.sentence()
    json.dumps(found.to_dict(), allow_nan=False)
    same = compare(field(clear), field(clear@rotation(0)), labels=labels, splits=4, draws=20)
    assert all(abs(gap.mean) < .05 for gap in same.probe.values())


# ---- what is refused

@pytest.mark.parametrize('rows, shift, error', [
    (63, 0, ShapeError), (64, .5, FieldError), (64, 1, FieldError)])
def test_other_grids_are_refused_with_the_way_out(rows, shift, error):
    grid = window(GRID, 0, 0, rows, 72).translate_pix(shift, 0)
    a, b = field(ground(0)), field(ground(0, grid), grid)
    with pytest.raises(error, match='reproject_match'): compare(a, b)
    assert compare(a, b.rio.reproject_match(a), draws=20).facts['pixels'] >= 63*71
    assert compare(a, b.aef.codes().rio.reproject_match(a), draws=20).facts['pixels'] >= 63*71


def test_partial_pixels_are_refused():
    codes = field(ground(0)).aef.codes()
    codes[5, 3:60, 3:60] = NO_DATA
    with pytest.raises(FieldError, match='damaged'): compare(codes, field(ground(0)))


# ---- a released field

def test_the_released_field_against_itself_rotated_quantised_and_shifted(released):
    vectors, grid = released.aef.vectors(), released.aef.grid
    rotated = make_field(vectors@rotation(0), grid, '2024')
    turned, coded = compare(released, rotated), compare(released, rotated.aef.codes())
    shifted = compare(released, make_field(np.roll(vectors, 1, 1), grid, '2024'))
    for name in INVARIANT: assert getattr(turned, name) == pytest.approx(1, abs=2e-3), name
    assert .999 < coded.procrustes_cosine < turned.procrustes_cosine + 1e-9
    assert .9 < coded.neighbour_overlap < 1 and coded.cka > .999
    for name in INVARIANT: assert getattr(shifted, name) < getattr(coded, name) - .005, name
    assert shifted.cosine > .8 and turned.cosine < .3 and 2 < turned.rank_a < 64
    assert turned.facts['missing'] == (released.values[0] == NO_DATA).sum() > 0


@pytest.mark.parametrize('pixels', [1, 2, 4])
def test_the_released_field_agrees_less_with_a_longer_shift(released, pixels):
    def moved(count): return make_field(np.roll(released.aef.vectors(), count, 1), released.aef.grid, '2024')
    near, far = compare(released, moved(pixels)), compare(released, moved(2*pixels))
    for name in ('procrustes_cosine', 'cka', 'r2_forward'):
        assert getattr(far, name) < getattr(near, name), name
