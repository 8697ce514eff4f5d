"""The Flanders place as it was downloaded: every number here was read off the files, none was chosen.

Also what crosses a file: sequences drawn at random through a Zarr store and back.
"""
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as draw

from alphaearth_nb.core import AlphaEarthError, FileExists, FrameError
from alphaearth_nb.frames import FrameSequence, make_labels
from alphaearth_nb.grids import grid_bounds_lonlat, grid_from_centres
from alphaearth_nb.places import open_frames, read_worldcereal
from alphaearth_nb.readers import ARRAYS, make_frames
from alphaearth_nb.settings import AT_HAND

FLANDERS = Path(__file__).resolve().parents[2]/'shared'/'data'/'wc_flanders2018'


@pytest.fixture(scope='module')
def folder() -> Path:
    if not FLANDERS.is_dir(): pytest.skip('../shared/data/wc_flanders2018 is not here')
    return FLANDERS


@pytest.fixture(scope='module')
def place(folder) -> FrameSequence:
    return read_worldcereal(folder)


def copy_without(folder:Path, target:Path, *patterns:str) -> Path:
    "The same place by links, without some of its files."
    target.mkdir()
    for file in folder.iterdir():
        if not any(file.match(pattern) for pattern in patterns): (target/file.name).symlink_to(file)
    return target


def assert_same(a:FrameSequence, b:FrameSequence) -> None:
    assert (a.sources, a.grid, a.name, a.notes, a.origin) == (b.sources, b.grid, b.name, b.notes, b.origin)
    for name in a:
        assert a[name].bands == b[name].bands and a[name].metadata.keys() == b[name].metadata.keys()
        for key in ARRAYS: assert getattr(a[name], key).tobytes() == getattr(b[name], key).tobytes(), key
        for key, array in a[name].metadata.items(): assert array.tobytes() == b[name].metadata[key].tobytes()
    assert (a.labels is None and b.labels is None) or a.labels.identical(b.labels)


def test_dates_and_grid(place):
    assert place.sources == ('sentinel2', 'sentinel1', 'landsat')
    assert [len(frames) for frames in place.values()] == [118, 159, 26]
    assert {name: frames.bands for name, frames in place.items()} == AT_HAND
    assert place.grid.boundingbox.bbox == (501360, 5629040, 502000, 5629680)
    assert place.grid.crs.to_epsg() == 32631 and tuple(place.grid.shape) == (64, 64)
    west, south, east, north = grid_bounds_lonlat(place.grid)
    assert 3.01 < west < east < 3.03 and 50.81 < south < north < 50.82
    first, last = place['sentinel2'].times[[0, -1]].astype('datetime64[ms]')
    assert str(first) == '2017-08-04T10:53:28.000' and str(last).startswith('2018-11-27T10:56:51')
    assert all(frames.present.all() and frames.bands_present.all() for frames in place.values())


def test_values_are_physical(place):
    optical, radar, landsat = (place[name].values for name in place)
    clear = np.where(place['sentinel2'].valid_pixels, optical, np.nan)
    assert .01 < np.nanmedian(clear[:, 2]) < .12 and .15 < np.nanmedian(clear[:, 3]) < .5 # red, near infrared
    assert np.nanmin(radar) >= -30 and np.nanmax(radar) <= 10
    assert -13 < np.nanmedian(radar[:, 0]) < -7 and -20 < np.nanmedian(radar[:, 1]) < -13 # VV, VH
    valid = place['landsat'].valid_pixels[:, 0]
    assert 240 < landsat[:, 6][valid].min() < landsat[:, 6][valid].max() < 330 # kelvin
    assert np.nanmin(landsat[:, 6]) > 200                                      # clouds, but no fill
    assert (landsat[:, :6] < 0).any() and np.nanmax(landsat[:, :6]) < 1        # small negatives are not 6.5
    assert (np.isnan(landsat).any(1).sum(), np.isnan(landsat).all(1).sum()) == (675, 675) # -999 is no value


def test_valid_pixels(place):
    share = {name: float(frames.valid_pixels.mean()) for name, frames in place.items()}
    assert share['sentinel2'] == pytest.approx(.48996, abs=2e-4)
    assert share['landsat'] == pytest.approx(57_815/(26*64*64), abs=1e-6) # pixels with the clear or water bit
    assert share['sentinel1'] > .99
    assert place['sentinel1'].valid_pixels.shape[1] == 2 and place['sentinel2'].valid_pixels.shape[1] == 1


def test_resampling_adds_no_shift(place):
    """The files themselves put the 20 m bands 10 m too far south; the reading adds nothing to that.

    Measured: B8A fits B08 best when taken one row lower, exactly so, and symmetrically around that. Half a
    pixel more or less, the usual mistake with pixel centres, would tilt the peak to one side.
    """
    frames = place['sentinel2']
    clear = frames.valid_pixels.mean((1, 2, 3)) > .97
    near, narrow = frames.values[clear, 3], frames.values[clear, frames.bands.index('B8A')]
    scores = {(down, across): np.corrcoef(near[:, 4:60, 4:60].ravel(),
                                          narrow[:, 4 + down:60 + down, 4 + across:60 + across].ravel())[0, 1]
              for down in range(-2, 4) for across in range(-2, 3)}
    assert max(scores, key=scores.get) == (1, 0) and scores[1, 0] > .96
    assert abs(scores[1, -1] - scores[1, 1]) < .005 and abs(scores[0, 0] - scores[2, 0]) < .005


def test_metadata(place):
    geometry = place['sentinel2'].metadata
    assert set(geometry) == {'sun_azimuth_deg', 'sun_zenith_deg', 'view_azimuth_deg', 'view_zenith_deg'}
    assert 28 < geometry['sun_zenith_deg'].min() and geometry['sun_zenith_deg'].max() < 76
    assert not place['sentinel1'].metadata and not place['landsat'].metadata


def test_labels(place):
    codes, counts = np.unique(place.labels['class_id'], return_counts=True)
    found = dict(zip(codes.tolist(), counts.tolist()))
    assert found == {0: 1860, 1200: 1249, 2130: 31, 5100: 25, 7900: 96, 9120: 835}
    names = place.labels.attrs['class_names']
    assert set(names) == {1200, 2130, 5100, 7900, 9120} and names[1200] == 'maize'
    assert set(np.unique(place.labels['land_cover']).tolist()) == {11, 13, 60, 99}


def test_notes_and_views(place):
    assert len(place.notes) == 1 and 'surface temperature' in place.notes[0]
    text, page = repr(place), place._repr_html_()
    assert '118 frames' in text and '159 frames' in text and '26 frames' in text
    assert page.count('<img') == 12 and len(page) < 400_000
    summer = place.select('2018-06-01/2018-09-01')
    for name, frames in place.items():
        days = frames.times.astype('datetime64[ms]')
        inside = (days >= np.datetime64('2018-06-01')) & (days < np.datetime64('2018-09-01'))
        assert (summer[name].times == frames.times[inside]).all() and inside.sum() > 5


MISSING = [(('S2_L2A_10m_*',), 'B02, B03, B04 and B08', ('sentinel2', 'sentinel1', 'landsat')),
           (('S2_L2A_20m_*',), 'clouds are not known', ('sentinel2', 'sentinel1', 'landsat')),
           (('S2_L2A_*',), 'Sentinel-2 is missing', ('sentinel1', 'landsat')),
           (('S1_*',), 'Sentinel-1 is missing', ('sentinel2', 'landsat')),
           (('L8_SR_*',), 'Landsat is missing', ('sentinel2', 'sentinel1')),
           (('OUTPUT_POLY*',), 'Labels are missing', ('sentinel2', 'sentinel1', 'landsat'))]


@pytest.mark.parametrize('patterns, sentence, sources', MISSING)
def test_what_is_missing_is_said(folder, place, tmp_path, patterns, sentence, sources):
    part = open_frames(copy_without(folder, tmp_path/'part', *patterns))
    assert part.sources == sources and part.grid == place.grid
    assert sum(sentence in note for note in part.notes) == 1
    for name in set(sources) - {'sentinel2'}:
        assert np.array_equal(part[name].values, place[name].values, equal_nan=True)


def test_absent_bands_are_absent(folder, place, tmp_path):
    frames = open_frames(copy_without(folder, tmp_path/'part', 'S2_L2A_10m_*'))['sentinel2']
    assert frames.bands == AT_HAND['sentinel2']
    assert not frames.bands_present[:, :4].any() and frames.bands_present[:, 4:].all()
    assert np.isnan(frames.values[:, :4]).all()
    assert np.array_equal(frames.values[:, 4:], place['sentinel2'].values[:, 4:])
    assert np.array_equal(frames.valid_pixels, place['sentinel2'].valid_pixels)


def test_radar_alone_is_a_place_on_the_10_m_grid(folder, place, tmp_path):
    part = open_frames(copy_without(folder, tmp_path/'part', 'S2_*', 'L8_*', 'OUTPUT*'))
    assert part.sources == ('sentinel1',) and part.grid == place.grid and len(part.notes) == 3


@pytest.mark.parametrize('share', [0, .01, .5, .99])
def test_a_truncated_file_is_named(folder, tmp_path, share):
    target = copy_without(folder, tmp_path/'part', 'S1_*')
    [radar] = folder.glob('S1_*')
    (target/radar.name).write_bytes(radar.read_bytes()[:int(share*radar.stat().st_size)])
    with pytest.raises(FrameError, match=radar.name) as error: open_frames(target)
    assert str(error.value).count('\n') == 0


def test_zarr_round_trip_of_the_real_place(place, tmp_path):
    place.to_zarr(tmp_path/'flanders.zarr')
    assert_same(place, open_frames(tmp_path/'flanders.zarr'))
    with pytest.raises(FileExists): place.to_zarr(tmp_path/'flanders.zarr')
    assert [path.name for path in tmp_path.iterdir()] == ['flanders.zarr']


def test_a_damaged_store_is_refused_whatever_file_it_is(place, tmp_path):
    store = tmp_path/'small.zarr'
    place.select('2018-05').to_zarr(store)
    for file in sorted(path for path in store.rglob('*') if path.is_file()):
        whole = file.read_bytes()
        for damaged in (whole[:len(whole)//2], whole[:-1] + bytes([whole[-1] ^ 4]), None):
            file.unlink() if damaged is None else file.write_bytes(damaged)
            with pytest.raises(AlphaEarthError): FrameSequence.from_zarr(store)
        file.write_bytes(whole)
    assert len(FrameSequence.from_zarr(store)) == 3


FLOATS = st.one_of(st.just(np.nan), st.floats(-1, 2, width=32))


@st.composite
def sequences(data) -> FrameSequence:
    h, w = data(st.integers(2, 5)), data(st.integers(1, 5))
    grid = grid_from_centres(500_005 + 10*np.arange(w), 5_600_005 + 10*np.arange(h), 'EPSG:32633')
    frames = {}
    for name, bands in (('sentinel2', ('B04', 'B11')), ('sentinel1', ('VV', 'VH')), ('landsat', ('B10',))):
        n = data(st.integers(1, 4))
        values = data(draw.arrays(np.float32, (n, len(bands), h, w), elements=FLOATS))
        times = data(draw.arrays(np.int64, n, elements=st.integers(-10**12, 3*10**12)))
        clear = data(draw.arrays(bool, (n, h, w)))
        frames[name] = make_frames(name, bands, values, times, clear, {'sun_zenith_deg': values[:, 0, 0, 0]})
    class_id = data(draw.arrays(np.int64, (h, w), elements=st.integers(0, 3)))
    names = {1: data(st.text(max_size=5)), 2: 'b'}
    labels = make_labels(class_id, grid, names) if data(st.booleans()) else None
    notes = tuple(data(st.lists(st.text(max_size=8), max_size=2)))
    return FrameSequence(frames, grid, labels, name=data(st.text(max_size=8)), notes=notes)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(sequences())
def test_zarr_round_trip_is_exact(sequence):
    with tempfile.TemporaryDirectory() as folder:
        sequence.to_zarr(Path(folder)/'any.zarr')
        assert_same(sequence, FrameSequence.from_zarr(Path(folder)/'any.zarr'))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(sequences())
def test_masks_agree_with_the_numbers(sequence):
    for frames in sequence.values():
        finite = np.isfinite(frames.values)
        assert (frames.bands_present == finite.any((2, 3))).all()
        assert (frames.present == frames.bands_present.any(1)).all()
        assert (np.diff(frames.times) >= 0).all()
        lacking = frames.bands_present[..., None, None] & ~finite       # (n, c, h, w)
        assert not (frames.valid_pixels & lacking).any()
        assert not frames.valid_pixels[~frames.present].any()


@settings(max_examples=30, deadline=None, derandomize=True)
@given(sequences(), st.text(max_size=12))
def test_names_and_notes_never_become_html(sequence, text):
    hostile = f'<script>{text}</script><img src=x onerror=alert(1)>"\''
    page = FrameSequence(dict(sequence), sequence.grid, name=hostile, notes=(hostile,))._repr_html_()
    assert '<script' not in page and 'src=x' not in page.replace('&lt;img src=x', '')
