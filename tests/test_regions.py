"""Regions tile by tile: to the last pixel of the edge, across zones, with bounded memory."""
import gc
import weakref

import numpy as np
import pytest
import torch
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from region_worker import BANDS, CORES, DAYS, PERIOD, TILE_PX, ZONE, embedded, ground, small_model

from alphaearth_nb import region_tiles, regions
from alphaearth_nb.codes import NO_DATA, dequantize
from alphaearth_nb.core import AlphaEarthError, ConfigError, FieldError
from alphaearth_nb.fields import read_cog
from alphaearth_nb.frames import FrameSequence
from alphaearth_nb.grids import lonlat_transformer
from alphaearth_nb.readers import make_frames
from alphaearth_nb.region_tiles import TRIM_PX, cut_side, ramp, region_grids
from alphaearth_nb.regions import embed_region, open_region


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    "The region, made in one go."
    return embedded(tmp_path_factory.mktemp('whole')).files[0]


def pixelwise() -> torch.nn.Module:
    "A model that knows only the pixel: its coarse operators are silent, and its 3 × 3 ones see a point."
    model = small_model()
    with torch.no_grad():
        for layer in model.modules():
            if hasattr(layer, 'project') and type(layer).__name__ == 'Up':
                layer.project.weight.zero_(), layer.project.bias.zero_()
    return model


# ---- where tiles lie

@settings(max_examples=300)
@given(length=st.integers(1, 700), side=st.sampled_from((16, 32, 96)), first=st.none() | st.integers(0, 95))
def test_tiles_hold_every_pixel_once_and_their_weights_add_up(length, side, first):
    tiles = cut_side(length, side, None if first is None else first % side)
    held, weight = np.zeros(length, int), np.zeros(length)
    for tile in tiles:
        held[tile.core] += 1
        weight[tile.shown] += ramp(tile, length)
        assert tile.seen.start <= tile.shown.start <= tile.core.start < tile.core.stop <= tile.shown.stop
        assert tile.shown.stop <= tile.seen.stop
        edges = (tile.core.start - TRIM_PX, tile.shown.start), (tile.core.stop + TRIM_PX, tile.shown.stop)
        for edge, shown in edges: assert shown == np.clip(edge, 0, length)
        if first is not None: assert tile.seen.stop - tile.seen.start == side + 32
    assert (held == 1).all()
    wide = min(tile.core.stop - tile.core.start for tile in tiles) >= 2*TRIM_PX
    if wide: np.testing.assert_allclose(weight, 1, atol=1e-6)
    assert (weight > 0).all()


@settings(max_examples=100)
@given(lon=st.floats(-179, 178), lat=st.floats(-79, 80), width=st.floats(.01, 9), height=st.floats(.01, .5))
def test_grids_cover_a_region_in_whole_cells_of_their_zones(lon, lat, width, height):
    box = (lon, lat, min(180, lon + width), lat + height)
    grids = region_grids(box)
    assert len(grids) == len({str(grid.crs) for grid in grids})
    rng = np.random.default_rng(0)
    points = rng.uniform(box[0], box[2], 50), rng.uniform(box[1], box[3], 50)
    zones = np.minimum((points[0] + 180)//6, 59).astype(int) + 1
    for grid in grids:
        assert grid.height % 96 == grid.width % 96 == 0
        for corner in (grid.affine.c, grid.affine.f): assert abs(corner/960 - round(corner/960)) < 1e-9
        mine = zones == grid.crs.epsg % 100
        x, y = lonlat_transformer(grid, back=True).transform(*(part[mine] for part in points))
        left, bottom, right, top = grid.boundingbox.bbox
        slack = .02*(right - left + top - bottom) if width > 1 else 0    # edges in degrees are bent in metres
        assert ((x >= left - slack) & (x <= right + slack) & (y >= bottom - slack) & (y <= top + slack)).all()
    assert set(zones) <= {grid.crs.epsg % 100 for grid in grids}


# ---- what comes out

def test_a_constant_model_gives_a_constant_field_to_the_last_pixel(tmp_path):
    model = small_model()
    with torch.no_grad(): model.direction.weight.zero_()
    for name, opener, grid in (('open.tif', ground, ZONE), ('closed.tif', ground(ZONE[:75, :101]), None)):
        found = embedded(tmp_path, opener, grid, model, name)
        codes = read_cog(found.files[0]).values.reshape(64, -1)
        assert (codes == codes[:, :1]).all() and (codes != NO_DATA).all()
        assert found.seam.across == found.seam.inside == 0 and abs(found.seam.apart) < 1e-5


def test_regions_that_touch_agree_away_from_their_edges(whole, tmp_path):
    "The lattice of tiles belongs to the zone, and tiles see beyond the region."
    cut = embedded(tmp_path, grid=ZONE[:, 37:]).files[0]
    one, other = read_cog(whole).values[:, :, 37:], read_cog(cut).values
    np.testing.assert_array_equal(one[:, :, TRIM_PX:], other[:, :, TRIM_PX:])


def test_the_seam_is_what_the_codes_say(whole, tmp_path):
    "Measured again from the file, with numpy and nothing else."
    vectors, seam = read_cog(whole).aef.vectors().astype(float), open_region(whole).seam
    across, inside = [], []
    for axis, first in ((0, ZONE.affine.f), (1, ZONE.affine.c)):
        a = np.moveaxis(vectors, axis, 0)
        distances = 1 - (a[1:]*a[:-1]).sum(-1)
        corner = round(first/10)*(1 if axis else -1)
        after = np.arange(1, len(a)) + corner
        cell, border = after % 16 == 0, after % TILE_PX == 0
        across.append(distances[border].ravel()), inside.append(distances[cell & ~border].ravel())
    assert np.isclose(np.concatenate(across).mean(), seam.across, rtol=1e-3)
    assert np.isclose(np.concatenate(inside).mean(), seam.inside, rtol=1e-3)
    assert sum(part.size for part in across) == 3*128 + 4*96 and seam.apart > 0


def test_blending_leaves_less_of_a_seam_than_cutting(tmp_path, monkeypatch):
    "The same tiles on even ground, cut at their cores."
    def even(window): return ground(window, fine_m=2000)
    soft = embedded(tmp_path, even, name='soft.tif').seam
    def cut(span, length):
        at = np.arange(span.shown.start, span.shown.stop)
        return ((at >= span.core.start) & (at < span.core.stop)).astype(np.float32)
    monkeypatch.setattr(region_tiles, 'ramp', cut)
    hard = embedded(tmp_path, even, name='hard.tif').seam
    assert hard.ratio > 1.3*soft.ratio > 1, (hard, soft)
    assert hard.inside == pytest.approx(soft.inside, rel=.05)


def test_missing_ground_is_no_data_and_ends_where_the_frames_end(tmp_path):
    "Holes of the frames are holes of the field, also across borders; a tile that is nowhere opened is one."
    def holed(window):
        west = window.affine.c
        if west < ZONE.affine.c - 200: return None
        frames = ground(window)['sentinel2']
        values, x = frames.values.copy(), west + 10*(np.arange(window.width) + .5)
        values[..., (x > ZONE.affine.c + 500) & (x < ZONE.affine.c + 620)] = np.nan
        values[0] = np.inf
        return FrameSequence({'sentinel2': make_frames('sentinel2', frames.bands, values, DAYS)}, window)
    codes = read_cog(embedded(tmp_path, holed).files[0]).values
    absent = (codes == NO_DATA).all(0)
    assert np.array_equal(absent, (codes == NO_DATA).any(0))
    assert absent[:, 50:62].all() and not absent[:, 62:].any()
    dequantize(np.moveaxis(codes, 0, -1))


def test_a_region_across_a_zone_edge_in_more_than_a_hundred_tiles(tmp_path):
    "Ground that depends on longitude and latitude is the same from either zone."
    def sphere(window):
        x, y = np.meshgrid(*(np.arange(side) + .5 for side in window.shape[::-1]))
        lon, lat = lonlat_transformer(window).transform(*(window.affine @ (x, y)))
        wave = np.sin(lon*700) + np.cos(lat*900)
        values = .15 + .04*np.stack([np.stack([wave, -wave])])
        return FrameSequence({'sentinel2': make_frames('sentinel2', BANDS, values, DAYS[:1])}, window)
    grids, model, fields = region_grids((5.93, 50.95, 6.07, 51.03)), pixelwise(), []
    tiles = []
    for grid in grids:
        found = embed_region(model, sphere, grid, PERIOD, tmp_path/f'{grid.crs.epsg}.tif', quiet=True,
                             report=lambda done, total: tiles.append((done, total)))
        fields.append(read_cog(found.files[0]))
        assert tiles[-1][0] == pytest.approx(tiles[-1][1]) == grid.height*grid.width/1e4
    assert len(tiles) > 100 and [grid.crs.epsg for grid in grids] == [32631, 32632]
    lon, lat = np.meshgrid(np.linspace(5.9995, 6.0005, 9), np.linspace(50.955, 51.025, 40))
    one, other = (field.aef.at((lon.ravel(), lat.ravel())) for field in fields)
    both = ~np.isnan(one + other).any(-1)
    near, far = ((1 - (one[both]*np.roll(other[both], shift, 0)).sum(-1)).mean() for shift in (0, 37))
    assert both.sum() > 100 and near < .002 and far > 10*near, (near, far)


# ---- memory and files

def test_one_window_is_open_at_a_time(tmp_path):
    alive, most = weakref.WeakSet(), []
    def counted(window):
        gc.collect()
        most.append(len(alive))
        frames = ground(window)['sentinel2']
        alive.add(frames)
        return FrameSequence({'sentinel2': frames}, window)
    embedded(tmp_path, counted)
    assert len(most) == CORES and max(most) <= 1


def test_what_would_not_fit_is_refused_before_anything_is_opened(tmp_path):
    def never(window): raise AssertionError('a window was opened')
    large = GeoBox((4097, 4096), ZONE.affine, ZONE.crs)
    with pytest.raises(ConfigError, match='for one file'): embedded(tmp_path, never, large)
    assert not list(tmp_path.iterdir())


def test_several_files_are_one_field(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(regions, 'SHEET_TILES', 2)
    found, field = embedded(tmp_path, name='field'), read_cog(whole)
    assert len(found.files) == 6
    seen = np.zeros(field.shape[1:], int)
    for path in found.files:
        sheet = read_cog(path)
        x, y = sheet.x.values, sheet.y.values
        np.testing.assert_array_equal(field.sel(x=x, y=y).values, sheet.values)
        seen[np.ix_(np.isin(field.y, y), np.isin(field.x, x))] += 1
    assert (seen == 1).all()
    np.testing.assert_allclose(found.seam[:2], open_region(whole).seam[:2], rtol=1e-4)
    first = found.files[3]
    data = bytearray(first.read_bytes())
    data[len(data)//2] ^= 1
    first.write_bytes(data)
    with pytest.raises(FieldError, match=first.name): open_region(tmp_path/'field')
    (tmp_path/'field'/'manifest.json').unlink()
    with pytest.raises(FieldError, match='manifest'): open_region(tmp_path/'field')


TEXTS = '', '[]', '{"sha256": 3}', '{"sha256": {}, "seam": [], "region": ""}', '\x00'


@pytest.mark.parametrize('text', TEXTS)
def test_a_broken_manifest_is_one_sentence(tmp_path, text):
    (tmp_path/'manifest.json').write_text(text)
    with pytest.raises(AlphaEarthError, match='manifest'): open_region(tmp_path)


def test_odd_frames_give_unit_vectors_or_no_data(tmp_path):
    "One frame, the same instant twice, the years 1900 and 2100, all missing."
    small = GeoBox((32, 32), Affine(10, 0, 600_000, 0, -10, 5_640_000), ZONE.crs)
    for name, days, value in (('one', ['2018-05-03'], .1), ('twice', ['2018-05-03']*2, .1),
                              ('far', ['1900-01-01', '2100-01-01'], .1), ('none', DAYS, np.nan),
                              ('inf', DAYS, np.inf)):
        def odd(window):
            values = np.full((len(days), 2, *window.shape), value, np.float32)
            return FrameSequence({'sentinel2': make_frames('sentinel2', BANDS, values, days)}, window)
        field = read_cog(embedded(tmp_path, odd, small, name=f'{name}.tif').files[0])
        known = ~np.isnan(field.aef.vectors()).any(-1)
        assert known.all() if name in ('one', 'twice') else not known.any(), name
