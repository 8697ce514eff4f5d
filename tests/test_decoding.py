"""From frames to a field and back to what sensors saw: the whole chain, through files, in small pieces."""
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_model import loud_model

import alphaearth_nb as ae
from alphaearth_nb import decoding
from alphaearth_nb.core import ConfigError, FieldError
from alphaearth_nb.encoder import SourceBatch
from alphaearth_nb.periods import to_ms
from alphaearth_nb.sources import unstandardize
from alphaearth_nb.standardized import prepare
from alphaearth_nb.synthetic import synthetic_place

PERIOD = ae.Period('2018-03-01', '2018-09-01')


@pytest.fixture(scope='module')
def model(): return loud_model()


@pytest.fixture(scope='module')
def frames(): return synthetic_place(size_px=24, sources=('sentinel2', 'sentinel1'))


@pytest.fixture(scope='module')
def field(model, frames): return ae.embed(model, frames, PERIOD, support=PERIOD, quiet=True)


def test_the_whole_chain_by_hand(model, frames, field):
    "Standardise, encode, summarise, decode, and back to units: what `decode` gives, to 1e-5."
    place, batch = prepare(frames, model.config), {}
    first, last = PERIOD.start_ms/864e5, PERIOD.end_ms/864e5
    for name, part in place.sources.items():
        chosen = (part.days >= first) & (part.days < last)
        present = np.ones(chosen.sum(), bool)
        arrays = part.values[chosen], part.days[chosen], present, part.bands_present[chosen]
        batch[name] = SourceBatch(*(torch.from_numpy(one[None]) for one in arrays))
    with torch.no_grad():
        vectors = model.summarize(model.encode(batch), torch.tensor([[[first, last]]], dtype=torch.float64))
        for name, bands in model.config.decoded.items():
            values = model.decoders[name](vectors[0], torch.tensor([.25]))[0].permute(2, 0, 1).numpy()
            wanted = unstandardize(values, name, bands, model.config.statistics)
            found = model.decode(field, name, PERIOD.start_ms + (PERIOD.end_ms - PERIOD.start_ms)//4)
            scale = np.abs(wanted).max()
            assert np.abs(found.values - wanted).max() <= 1e-5*max(1, scale), name


def test_a_field_from_a_file_is_decoded(model, field, tmp_path):
    "Codes read back know their model and period; what is decoded is that of the codes."
    path = field.aef.to_cog(tmp_path/'field.tif')
    found = model.decode(ae.open_field(path), 'sentinel2', '2018-06-12')
    wanted = model.decode(field.aef.codes(), 'sentinel2', '2018-06-12')
    np.testing.assert_array_equal(found.values, wanted.values)
    assert found.rio.crs == field.rio.crs and found.attrs['units'] == 'reflectance'


def test_no_more_is_in_work_than_fits(model, field, monkeypatch):
    "Whatever is asked for, a decoder never gets more than BLOCK pixels times instants."
    sizes, inner = [], model.decoders['sentinel2'].forward
    def spy(embedding, instant, angles):
        sizes.append(embedding.shape[0]*embedding.shape[2])
        return inner(embedding, instant, angles)
    whole = model.decode(field, 'sentinel2', ['2018-04-01', '2018-06-01', '2018-08-01'])
    monkeypatch.setattr(decoding, 'BLOCK', 10)     # fewer than a row
    monkeypatch.setattr(model.decoders['sentinel2'], 'forward', spy)
    pieces = model.decode(field, 'sentinel2', ['2018-04-01', '2018-06-01', '2018-08-01'])
    model.decode_series(field, 'sentinel2', pixels=(3, 4))
    assert max(sizes) <= 10 and len(sizes) > 24
    np.testing.assert_allclose(pieces.values, whole.values, rtol=1e-4, atol=1e-5)


@given(st.lists(st.tuples(st.integers(0, 23), st.integers(0, 23)), min_size=1, max_size=5),
       st.lists(st.integers(PERIOD.start_ms, PERIOD.end_ms - 1), min_size=1, max_size=4))
@settings(max_examples=15, deadline=None)
def test_a_series_is_the_column_of_the_images(model, field, pixels, times):
    rows, columns = map(list, zip(*pixels))
    images = model.decode(field, 'sentinel1', times).values[:, :, rows, columns]
    series = model.decode_series(field, 'sentinel1', times, pixels=(rows, columns)).values
    np.testing.assert_allclose(series, images.transpose(2, 0, 1), rtol=1e-4, atol=1e-4)


@given(st.datetimes(datetime(2018, 3, 2), datetime(2018, 8, 30)), st.integers(-12, 12))
@settings(max_examples=15, deadline=None)
def test_the_same_instant_in_any_spelling(model, field, when, hours):
    when = when.replace(microsecond=0)
    zoned = when.replace(tzinfo=UTC).astimezone(timezone(timedelta(hours=hours)))
    ways = when.isoformat(), when, zoned, np.datetime64(when), int(to_ms(when)), [zoned], [when.isoformat()]
    found = [model.decode_series(field, 'sentinel2', way, pixels=(1, 2)) for way in ways]
    for one in found: np.testing.assert_array_equal(one.values.ravel(), found[0].values)
    assert {one.dims for one in found} == {('band',), ('time', 'band')}


@given(st.integers(-10**12, 10**12))
@settings(max_examples=30, deadline=None)
def test_no_instant_beyond_the_period(model, field, off):
    if PERIOD.start_ms + off in PERIOD: return
    with pytest.raises(ConfigError, match='within 2018-03-01/2018-09-01'):
        model.decode(field, 'sentinel2', PERIOD.start_ms + off)


def test_no_data_stays_no_data(model, field):
    "Also a field without any, and one in which only one pixel is left."
    holes = field.copy()
    holes.values[:, :20] = np.nan
    seen = model.decode(holes, 'sentinel2')
    np.testing.assert_array_equal(np.isnan(seen.values).any(0), np.isnan(holes.values).any(0))
    whole = model.decode(field, 'sentinel2')
    np.testing.assert_allclose(seen.values[:, 20:], whole.values[:, 20:], rtol=1e-5)
    holes.values[:] = np.nan
    assert np.isnan(model.decode(holes, 'sentinel2')).all()


def test_fields_of_others_are_refused(model, field):
    for attrs in (dict(model='tiny'), dict(weights='0'*12),
                  dict(dataset='GOOGLE/SATELLITE_EMBEDDING/V1/ANNUAL')):
        with pytest.raises(FieldError): model.decode(field.assign_attrs(attrs), 'sentinel2')
    mark = decoding.weights_mark(model)
    marked = model.decode(field.assign_attrs(weights=mark), 'sentinel2')
    assert marked.identical(model.decode(field, 'sentinel2'))
    other = loud_model()
    with torch.no_grad(): other.direction.bias.add_(1e-3)
    assert decoding.weights_mark(other) != mark == decoding.weights_mark(loud_model())


def test_half_the_precision(model, field):
    "Weights in bf16 decode as well, to their rounding."
    wanted = model.decode(field, 'sentinel1').values
    half = loud_model().to(torch.bfloat16).decode(field, 'sentinel1').values
    assert half.dtype == np.float32 and np.abs(half - wanted).max() < .05*np.abs(wanted).max()


def test_gaps_are_filled_with_the_geometry_of_each_frame(model, frames, field):
    "Radar: what was observed is kept, the rest is decoded at the angles of its own frame."
    filled = model.fill_gaps(field, frames, 'sentinel1')
    part = frames['sentinel1']
    inside = PERIOD.contains(part.times)
    assert filled.sizes['time'] == inside.sum() and filled.observed.all()
    gaps = part.valid_pixels.copy()
    gaps[:, :, 5:9] = False
    angles = dict(heading_deg=np.resize(np.float32([348, 192]), len(part)),
                  inclination_deg=np.full(len(part), 98.2, np.float32))
    part = replace(part, valid_pixels=gaps, metadata=angles)
    filled = model.fill_gaps(field, ae.FrameSequence({'sentinel1': part}, frames.grid), 'sentinel1')
    angles = {name: degrees[inside] for name, degrees in angles.items()}
    wanted = model.decode(field, 'sentinel1', part.times[inside], angles=angles).values
    assert np.abs(wanted - model.decode(field, 'sentinel1', part.times[inside]).values).max() > .1
    np.testing.assert_array_equal(filled.values[:, :, 5:9], wanted[:, :, 5:9])
    bands = [part.bands.index(name) for name in filled.band.values]
    np.testing.assert_array_equal(filled.values[:, :, 9:], part.values[inside][:, bands, 9:])
    assert not filled.observed[:, 5:9].any() and filled.observed[:, 9:].all()
