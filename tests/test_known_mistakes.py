"""Mistakes that earlier open implementations made, as properties of the whole model: what it sees and gives.

Each passed a test of shapes and finite numbers. The pages have lessons for the parts; here they are put
together: untrained weights, made loud so that every operator takes part. What training does is tested in
test_known_mistakes_learning.py. Every mistake lives as a patch in mutations/, and torture.py applies it.
"""
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_model import ROUNDING, SMALL, SPRING, changed, embedded, loud_model, made, padded, picked, unit

from alphaearth_nb.encoder import pack
from alphaearth_nb.frames import FrameSequence
from alphaearth_nb.inference import embed, embed_periods
from alphaearth_nb.layers import TimeCode
from alphaearth_nb.model import AlphaEarth, pad_to_cells
from alphaearth_nb.periods import CODE_PERIODS_DAYS
from alphaearth_nb.standardized import prepare
from alphaearth_nb.synthetic import synthetic_place

days_of_landsat = st.floats(4_000, 22_000)  # since 1970: 1980 to 2030
MINUTE = 1/1440                             # in days


@pytest.fixture(scope='module')
def model() -> AlphaEarth: return loud_model()


@pytest.fixture(scope='module')
def local_model() -> AlphaEarth:
    "Sees at most 8 pixels far, so that the rim of a picture matters to what is near it only."
    return loud_model(local=True)


@pytest.fixture(scope='module')
def frames() -> FrameSequence: return synthetic_place(size_px=48, days=200, start='2018-01-01')


# ---- what is missing

@pytest.mark.parametrize('content', [0., 1e6, -3., math.nan, math.inf])
def test_absent_frames_say_nothing(model, content):
    "Padding was read as data; one NaN frame made every embedding NaN. To the bit, whatever stands there."
    batch = made()
    part = batch['sentinel2']
    without = {**batch, 'sentinel2': picked(part, [0, 1, 3, 4])}
    present, values, days = part.present.clone(), part.values.clone(), part.days.clone()
    present[:, [2, 5]], values[:, [2, 5]] = False, content
    if math.isfinite(content): days[:, 5] = content
    filled = changed(batch, 'sentinel2', present=present, values=values, days=days)
    assert torch.equal(embedded(model, filled), embedded(model, without))
    assert not torch.allclose(embedded(model, filled), embedded(model, batch), atol=1e-3)


@pytest.mark.parametrize('content', [0., 1e6, math.nan])
def test_absent_bands_say_nothing(model, content):
    batch = made()
    there, values = batch['sentinel1'].bands_present.clone(), batch['sentinel1'].values.clone()
    there[:, :, 1] = False
    plain = embedded(model, changed(batch, 'sentinel1', bands_present=there, values=values))
    values = values.clone()
    values[:, :, 1] = content
    assert torch.equal(embedded(model, changed(batch, 'sentinel1', bands_present=there,
                                                    values=values)), plain)
    assert not torch.allclose(plain, embedded(model, batch), atol=1e-3)


@pytest.mark.parametrize('where', [np.s_[0, 2, 1, 5, 7], np.s_[:, 3], np.s_[..., 8:, :], np.s_[:]])
def test_no_data_stays_where_it_is(model, where):
    "One pixel without data in a frame that is there made all embeddings NaN."
    batch = made(h=16, w=16)
    values = batch['sentinel2'].values.clone()
    values[where] = math.nan
    holed = embedded(model, changed(batch, 'sentinel2', values=values))
    torch.testing.assert_close(holed.norm(dim=-1), torch.ones(16, 16))
    values[where] = math.inf
    assert torch.equal(holed, embedded(model, changed(batch, 'sentinel2', values=values)))


def test_nothing_present_is_finite(model):
    batch = {name: replace(part, present=torch.zeros_like(part.present)) for name, part in made().items()}
    vectors = embedded(model, batch)
    assert vectors.isfinite().all()
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(32, 32))


@settings(max_examples=15)
@given(optical=st.integers(0, 5), radar=st.integers(0, 5), more=st.integers(1, 3))
def test_each_source_has_its_own_number_of_frames(model, optical, radar, more):
    "Two sources with different numbers of frames raised an error. Padding them to one length is as good."
    batch = made(16, 16, optical, radar)
    level = max(optical, radar) + more
    vectors = embedded(model, batch)
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(16, 16))
    both = embedded(model, {name: padded(part, level) for name, part in batch.items()})
    torch.testing.assert_close(both, vectors, atol=ROUNDING, rtol=0)


@settings(max_examples=10)
@given(counts=st.lists(st.integers(0, 5), min_size=2, max_size=3))
def test_rows_do_not_see_each_other(model, counts):
    "Rows of a batch with different frames give what each gives alone."
    rows = [made(16, 16, count, 5 - count, seed) for seed, count in enumerate(counts)]
    level = [{name: padded(part, 5) for name, part in row.items()} for row in rows]
    def stack(name:str) -> dict: return {field: torch.cat([getattr(row[name], field) for row in level])
                                         for field in ('values', 'days', 'present', 'bands_present')}
    batch = {name: replace(part, **stack(name)) for name, part in level[0].items()}
    periods = SPRING + torch.tensor([0., -60., 40.])[:len(rows), None, None]
    with torch.no_grad(): together = model.summarize(model.encode(batch), periods)[:, 0]
    for row, period, vectors in zip(rows, periods, together):
        torch.testing.assert_close(vectors, embedded(model, row, period[None]), atol=ROUNDING, rtol=0)


# ---- the time code

def codes(*days:float) -> torch.Tensor:
    "Unit vectors (k, c) of the codes of some days."
    return unit(TimeCode()(torch.tensor(days, dtype=torch.float64)))


@given(first=days_of_landsat, second=days_of_landsat, apart=st.floats(0, 400))
def test_likeness_of_times_is_a_matter_of_their_distance(first, second, apart):
    "It was a hash: no two equal distances looked alike. Equivariant to shifts, as waves are."
    here, after, there, also = codes(first, first + apart, second, second + apart)
    assert (here @ after).item() == pytest.approx((there @ also).item(), abs=1e-5)


@given(day=days_of_landsat)
def test_likeness_of_times_falls_from_hours_to_months(day):
    "After an hour .09 and after a day .02 were left of the cosine."
    later = [1/24, .25, 1, 3, 8, 20, 45, 90, 150]
    here, *others = codes(day, *(day + gap for gap in later))
    cosines = [(here @ other).item() for other in others]
    assert cosines[0] > .99999 and cosines[2] > .998 and cosines[-1] < .6
    assert all(near > far for near, far in itertools.pairwise(cosines))


@given(seed=st.integers(0, 2**31))
def test_adjacent_days_are_more_alike_than_random_days(seed):
    "They were not: a cosine of -0.06 on average."
    days = np.random.default_rng(seed).uniform(4_000, 22_000, 200)
    here, after = codes(*days), codes(*(days + 1))
    strangers = (here*after.roll(1, 0)).sum(-1)
    assert (here*after).sum(-1).min() > .998 and strangers.mean() < .5


@given(day=days_of_landsat)
def test_a_minute_is_a_minute_at_any_date(day):
    "Times as float32 milliseconds had a grain of 131 s, so minutes fell together or jumped."
    before, here, after = TimeCode()(torch.tensor([day - MINUTE, day, day + MINUTE], dtype=torch.float64))
    assert (after - here).norm() > 2e-5
    assert (after - 2*here + before).norm() < 2e-6  # even steps, but for rounding


# ---- time

@settings(max_examples=8)
@given(st.permutations(range(6)))
def test_the_order_of_frames_is_no_information(model, order):
    batch = made()
    moved = embedded(model, {**batch, 'sentinel2': picked(batch['sentinel2'], order)})
    torch.testing.assert_close(moved, embedded(model, batch), atol=ROUNDING, rtol=0)


def test_the_order_of_sources_is_no_information(model):
    batch = made()
    turned = dict(reversed(batch.items()))
    torch.testing.assert_close(embedded(model, turned), embedded(model, batch), atol=ROUNDING, rtol=0)


def test_sources_keep_their_own_times(model):
    "Only the first source's times were used."
    batch = made()
    later = changed(batch, 'sentinel1', days=batch['sentinel1'].days + 40)
    assert (embedded(model, later) - embedded(model, batch)).abs().mean() > 1e-3


def test_time_is_no_hash(model):
    "An hour's shift moved embeddings to a cosine of 0.23. Near times are alike, and more so than far ones."
    batch = made()
    here = embedded(model, batch)
    def moved(days:float) -> float:
        parts = {name: replace(part, days=part.days + days) for name, part in batch.items()}
        return (embedded(model, parts, SPRING + days)*here).sum(-1).mean().item()
    cosines = [moved(days) for days in (1/24, 1, 10, 90)]
    assert cosines[0] > .9999 and cosines[1] > .99
    assert all(near > far for near, far in itertools.pairwise(cosines))


def test_time_returns_after_whole_waves(model):
    "Every wave of the code fits into the longest one, so a shift by that changes rounding only."
    longest, batch = max(CODE_PERIODS_DAYS), made()
    later = {name: replace(part, days=part.days + longest) for name, part in batch.items()}
    torch.testing.assert_close(embedded(model, later, SPRING + longest), embedded(model, batch),
                               atol=1e-4, rtol=0)


def test_the_valid_period_matters(model):
    "Another year gave a cosine of 0.999; here another season gives another embedding."
    batch = made()
    assert (embedded(model, batch)*embedded(model, batch, SPRING - 90)).sum(-1).mean() < .99


def test_encode_once_is_encode_each(model):
    "Any number of periods from one pass, in their order, each as if it were alone."
    batch, periods = made(16, 16), SPRING + torch.tensor([[[0., 0.], [-90., -60.], [30., 200.]]])
    with torch.no_grad(): together = model.summarize(model.encode(batch), periods)[0]
    for i, vectors in enumerate(together):
        alone = embedded(model, batch, periods[:, i:i + 1])
        torch.testing.assert_close(vectors, alone, atol=ROUNDING, rtol=0)


def test_inference_encodes_once(model, frames, monkeypatch):
    "The student's pass ran at inference too; several periods take one pass."
    few, passes, encode = frames.select('2018-03/2018-05-01'), [], AlphaEarth.encode
    periods, support = ['2018-03', '2018-04', '2018-02'], '2018'
    each = [embed(model, few, period, support, quiet=True) for period in periods]
    monkeypatch.setattr(AlphaEarth, 'encode', lambda *given: passes.append(1) or encode(*given))
    together = embed_periods(model, few, periods, support, quiet=True)
    assert len(passes) == 1
    for one, alone in zip(together, each): np.testing.assert_array_equal(one.values, alone.values)


# ---- space

def moved_by(part, maps:torch.Tensor, at:tuple[int, ...]) -> torch.Tensor:
    "Which places of the result (bool, without channels) a change of one cell moves."
    generator, other = torch.Generator().manual_seed(0), maps.clone()
    other[at] += torch.randn(maps.shape[-1], generator=generator)
    with torch.no_grad(): return (part(maps) != part(other)).any(-1)


def only(shape:torch.Size, *at) -> torch.Tensor:
    "True at one place."
    mark = torch.zeros(shape, dtype=torch.bool)
    mark[at] = True
    return mark


@settings(max_examples=10)
@given(frame=st.integers(0, 9), row=st.integers(0, 15), column=st.integers(0, 15))
def test_the_summary_is_local(model, frame, row, column):
    "Space and time were scrambled before pooling. A change at one position moves the 2 x 2 pixels there."
    with torch.no_grad(): features, packing = model.encoder(made())
    def summary(maps:torch.Tensor) -> torch.Tensor:
        encoded = model.encode(made())._replace(memory=model.remember(maps, packing))
        return model.summarize(encoded, SPRING)[0, 0]
    seen = moved_by(summary, features, (frame, row, column))
    assert torch.equal(seen, only(seen.shape, slice(2*row, 2*row + 2), slice(2*column, 2*column + 2)))


@settings(max_examples=10)
@given(frame=st.integers(0, 9), row=st.integers(0, 3), column=st.integers(0, 4))
def test_time_attention_is_local(model, frame, row, column):
    "A change of one frame at one position is seen by all frames, there and nowhere else."
    batch, generator = made(), torch.Generator().manual_seed(1)
    packing, maps = pack(batch), torch.randn(10, 4, 5, 16, generator=generator)
    code, operator = model.encoder.time_code(packing.days), model.encoder.blocks[0].time
    seen = moved_by(lambda changed: operator(changed, code, packing), maps, (frame, row, column))
    assert torch.equal(seen, only(seen.shape, slice(None), row, column))


def test_space_attention_stays_in_its_frame(model):
    "Frames meet in the time operator, at their own times, and nowhere else."
    maps = torch.randn(5, 3, 4, 32, generator=torch.Generator().manual_seed(1))
    seen = moved_by(lambda changed: model.encoder.blocks[0].space(changed, None), maps, (2, 1, 3))
    assert torch.equal(seen, only(seen.shape, 2))


def test_precision_sees_two_cells_far(model):
    maps = torch.randn(5, 12, 13, 16, generator=torch.Generator().manual_seed(1))
    seen = moved_by(model.encoder.blocks[0].precision, maps, (2, 5, 7))
    assert torch.equal(seen, only(seen.shape, 2, slice(3, 8), slice(5, 10)))


@pytest.mark.parametrize('h, w', [(32, 32), (16, 48), (40, 23), (7, 50)])
def test_full_resolution_on_any_size(model, h, w):
    "Embeddings stayed at half resolution; sides that are no multiple of 16, and non-squares, failed."
    vectors = embedded(model, made(h, w))
    assert vectors.shape == (h, w, 64)
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(h, w))
    pairs = (vectors[:-1:2][:h//2] - vectors[1::2]).abs().amax(-1)
    assert (pairs > 1e-4).float().mean() > .99                        # neighbours within a 20 m cell differ


@pytest.mark.parametrize('cell', [32, 64])
@pytest.mark.parametrize('kernel', [1, 3])
def test_more_padding_changes_nothing(model, cell, kernel):
    "Also where the halving kernels overlap, and would carry something beyond the frame and back."
    if kernel == 3: model = loud_model(exchange_kernel=3)
    batch = made(24, 39)
    with torch.no_grad():
        memory = model.remember(*model.encoder(*pad_to_cells(batch, cell)))
        wider = model.summarize(model.encode(batch)._replace(memory=memory), SPRING)[0, 0]
    torch.testing.assert_close(wider, embedded(model, batch), atol=ROUNDING, rtol=0)


def cut(frames:FrameSequence, *window:slice) -> FrameSequence:
    "A window of a place."
    def part(of): return replace(of, values=of.values[(..., *window)],
                                 valid_pixels=of.valid_pixels[(..., *window)])
    return replace(frames, frames={name: part(of) for name, of in frames.items()}, labels=None,
                   grid=frames.grid[window])


def test_tiles_give_what_the_whole_gives(local_model, frames):
    "The outermost ring of pixels of a tiled field was the zero vector."
    few = frames.select('2018-03')
    whole, tiled = (embed(local_model, few, '2018-03', quiet=True, tile_px=side).values for side in (48, 16))
    np.testing.assert_allclose(np.linalg.norm(tiled, axis=0), 1, atol=1e-5)
    np.testing.assert_allclose(tiled, whole, atol=ROUNDING, rtol=0)


def test_a_field_does_not_depend_on_the_crop(local_model, frames):
    "A source was scaled anew in every call, so that an embedding depended on the crop."
    few = frames.select('2018-03')
    crop = embed(local_model, cut(few, slice(4, 40), slice(10, 48)), '2018-03', quiet=True).values
    whole = embed(local_model, few, '2018-03', quiet=True).values
    np.testing.assert_allclose(crop[:, 8:-8, 8:], whole[:, 12:32, 18:], atol=ROUNDING, rtol=0)


def test_values_do_not_depend_on_what_else_is_in_the_picture(frames):
    "Scaling by the picture's own range made embeddings depend on the crop."
    crop = cut(frames, slice(0, 20), slice(8, 40))
    for name, part in prepare(crop, SMALL).sources.items():
        whole = prepare(frames, SMALL).sources[name]
        keep = np.isin(whole.times, part.times)
        np.testing.assert_array_equal(part.values, whole.values[keep][..., :20, 8:40])


def test_every_frame_and_band_arrives_by_name(frames):
    "A stack of dates was read as one date, with its first channels as bands; bands were taken by position."
    part = frames['sentinel2']
    turned = replace(frames, frames={**frames.frames, 'sentinel2': part.with_bands(part.bands[::-1])})
    for place in (prepare(frames, SMALL), prepare(turned, SMALL)):
        ready = place.sources['sentinel2']
        assert ready.values.shape == (len(part.times), 3, 48, 48) and list(ready.times) == list(part.times)
        for index, band in enumerate(SMALL.bands['sentinel2']):
            raw = part.values[:, part.bands.index(band)].ravel()
            assert (np.diff(ready.values[:, index].ravel()[raw.argsort()]) >= 0).all()


# ---- decoders

def test_decoders_take_any_size_and_real_geometry(model):
    "They worked on squares only, and the geometry was always zero. Every pixel is decoded for itself."
    generator, decoder = torch.Generator().manual_seed(0), model.decoders['sentinel1']
    vectors = unit(torch.randn(3, 5, 9, 64, generator=generator))
    instant, angles = torch.tensor([0., .4, .9]), torch.tensor([[192., 34.], [348., 41.], [math.nan]*2])
    with torch.no_grad():
        seen, unknown = decoder(vectors, instant, angles), decoder(vectors, instant)
        assert seen.shape == (3, 5, 9, 2)
        pixel = decoder(vectors[:, 2:3, 7:8], instant, angles)
        torch.testing.assert_close(pixel, seen[:, 2:3, 7:8], atol=ROUNDING, rtol=0)
        turned = decoder(vectors, instant, angles.flip(0))
    assert torch.equal(seen[2], unknown[2])
    assert ((seen - turned)[[0, 2]].abs().amax((1, 2, 3)) > .01).all()
    assert ((seen - unknown)[:2].abs().amax((1, 2, 3)) > .01).all()


def test_decoders_are_told_the_instant(model):
    "Two moments of one valid period are two pictures."
    vectors, times = torch.eye(64)[None, :3, None], torch.linspace(0, .99, 7)
    with torch.no_grad(): seen = torch.stack([model.decoders['sentinel2'](vectors, t[None]) for t in times])
    assert (torch.pdist(seen.flatten(1)) > .01).all()
