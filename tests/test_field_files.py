"""Files of fields: layouts of earlier versions, that of a cloud-optimised GeoTIFF, and killed writers."""
import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import rasterio
import zarr
from affine import Affine
from odc.geo.geobox import GeoBox

from alphaearth_nb.codes import BANDS, NO_DATA, dequantize, quantize
from alphaearth_nb.core import AlphaEarthError, FieldError
from alphaearth_nb.field_stores import FieldWriter, read_zarr
from alphaearth_nb.fields import as_field, read_cog

AFFINE = Affine(10, 0, 500_000, 0, -10, 5_650_000)
FACTS = {'dataset': 'some', 'version': 'v1', 'model': 'tiny', 'valid_period': '2018', 'state': 'codes',
         'licence': 'CC-BY 4.0', 'attribution': 'Somebody & others'}


def some_codes(height:int, width:int, seed:int=0) -> np.ndarray:
    "Codes (64, height, width) that blend two directions, with a corner without data."
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    share = np.sin(x/9)*np.cos(y/7)
    ground = np.stack([share, 1 - share**2], -1) @ rng.normal(size=(2, 64)) + .1*rng.normal(size=64)
    ground[:5, :7] = np.nan
    return np.moveaxis(quantize(ground/np.linalg.norm(ground, axis=-1, keepdims=True)), -1, 0)


def some_field(height:int, width:int, seed:int=0):
    return as_field(some_codes(height, width, seed), GeoBox((height, width), AFFINE, 'EPSG:32631'), FACTS)


# ---- earlier versions: written by code that is copied here and does not change

def write_cog_1(path, codes):
    "A GeoTIFF as version 1 wrote it: two hashes, no number of the layout."
    tags = {'AE_MODEL': 'tiny', 'AE_SEED': '3', 'AE_AS_JSON': 'seed', 'AE_STATE': 'codes',
            'AE_SCALE_RULE': 'any',
            'AE_VALID_PERIOD': '2018', 'AE_CODES_SHA256': hashlib.sha256(codes.tobytes()).hexdigest()}
    affine = [f'{number:.12g}' for number in tuple(AFFINE)[:6]]
    header = json.dumps([affine, list(codes.shape[1:]), 32631, sorted(tags.items())])
    tags['AE_HEADER_SHA256'] = hashlib.sha256(header.encode()).hexdigest()
    with rasterio.open(path, 'w', driver='GTiff', dtype='int8', count=64, height=codes.shape[1],
                       width=codes.shape[2], crs='EPSG:32631', transform=AFFINE, nodata=NO_DATA, tiled=True,
                       compress='ZSTD', blockxsize=512, blockysize=512, interleave='band',
                       predictor=2) as file:
        file.write(codes)
        file.descriptions = BANDS
        file.update_tags(**tags, TIFFTAG_SOFTWARE='alphaearth_nb')


def write_zarr_1(path, codes):
    "A Zarr store as version 1 wrote it."
    root, (height, width) = zarr.open_group(str(path), mode='w', zarr_format=3), codes.shape[1:]
    sides = 500_005 + 10*np.arange(width), 5_649_995 - 10*np.arange(height)
    for name, values in zip('xy', sides):
        root.create_array(name, data=values.astype(float), dimension_names=(name,))
    spatial = root.create_array('spatial_ref', data=np.array(0), dimension_names=())
    spatial.attrs.update(crs_wkt=rasterio.CRS.from_epsg(32631).to_wkt(),
                         GeoTransform='500000 10 0 5650000 0 -10')
    root.attrs.update(model='tiny', seed=3, state='codes', valid_period='2018')
    array = root.create_array('embedding', shape=(height, width, 64), dtype='int8', chunks=(256, 256, 64),
                              shards=(256, 256, 64), fill_value=NO_DATA, compressors=None,
                              dimension_names=('y', 'x', 'band'))
    array[:] = np.moveaxis(codes, 0, -1)
    hashes = {file.relative_to(path).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
              for file in sorted(path.rglob('*')) if file.is_file()}
    manifest = {'kind': 'alphaearth_nb field', 'version': 1, 'shape': [height, width], 'sha256': hashes}
    (path/'manifest.json').write_text(json.dumps(manifest))


@pytest.mark.parametrize('write, read, name', [(write_cog_1, read_cog, 'old.tif'),
                                               (write_zarr_1, read_zarr, 'old.zarr')])
def test_files_of_version_1_keep_opening(tmp_path, write, read, name):
    codes = some_codes(40, 60)
    write(tmp_path/name, codes)
    field = read(tmp_path/name)
    assert np.array_equal(field.values, codes) and tuple(field.aef.grid.affine) == tuple(AFFINE)
    assert (field.attrs['model'], field.attrs['seed']) == ('tiny', 3)
    assert str(field.aef.valid) == '2018-01-01/2019-01-01'
    assert 'format_version' not in field.attrs


def test_every_file_says_its_version(tmp_path):
    field = some_field(40, 60)
    with rasterio.open(field.aef.to_cog(tmp_path/'new.tif')) as file: tags = file.tags()
    assert tags['AE_FORMAT_VERSION'] == '2' and tags['AE_LICENCE'] == 'CC-BY 4.0'
    assert tags['AE_ATTRIBUTION'] == 'Somebody & others'
    assert tags['TIFFTAG_COPYRIGHT'] == 'CC-BY 4.0; Somebody & others'
    assert tags['TIFFTAG_IMAGEDESCRIPTION'] == 'some; v1; tiny; 2018'
    store = field.aef.to_zarr(tmp_path/'new.zarr')
    assert json.loads((store/'manifest.json').read_text())['version'] == 1
    assert read_zarr(store).identical(field) and read_cog(tmp_path/'new.tif').attrs.items() >= FACTS.items()


# ---- the layout that GDAL calls cloud-optimised, by the rules of its own script

@pytest.mark.parametrize('height, width', [(40, 60), (513, 700), (1100, 300)])
def test_layout_follows_the_rules_of_gdal(tmp_path, height, width):
    "Tiled; overviews above 512 px, each smaller; headers in order before data; data from the coarsest on."
    path = some_field(height, width).aef.to_cog(tmp_path/'field.tif')
    with rasterio.open(path) as file:
        assert file.driver == 'GTiff' and file.is_tiled and file.block_shapes[0] == (512, 512)
        assert file.interleaving.value == 'BAND' and file.compression.value == 'ZSTD'
        factors, ifd = file.overviews(1), [int(file.get_tag_item('IFD_OFFSET', 'TIFF', bidx=1))]
        ends = [[int(file.get_tag_item(f'BLOCK_OFFSET_{x}_{y}', 'TIFF', bidx=band))
                 for band in file.indexes for (y, x), _ in file.block_windows(1)]]
        assert bool(factors) == (max(height, width) > 512) and factors == sorted(set(factors))
    for index in range(len(factors)):
        with rasterio.open(path, overview_level=index) as file:
            assert max(file.shape) <= max(height, width)/factors[index] + 1 and file.is_tiled
        with rasterio.open(path) as file:
            ifd.append(int(file.get_tag_item('IFD_OFFSET', 'TIFF', bidx=1, ovr=index)))
            ends.append([int(file.get_tag_item('BLOCK_OFFSET_0_0', 'TIFF', bidx=band, ovr=index))
                         for band in file.indexes])
    assert ifd == sorted(ifd) and ifd[0] < 300 and max(ifd) < min(map(min, ends))
    first = [min(blocks) for blocks in ends]
    assert first == sorted(first, reverse=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ['field.tif']


def test_overviews_are_means_of_unit_vectors(tmp_path):
    codes = some_codes(520, 90)
    grid = GeoBox((520, 90), AFFINE, 'EPSG:32631')
    path = as_field(codes, grid, FACTS).aef.to_cog(tmp_path/'field.tif')
    with rasterio.open(path, overview_level=0) as file: coarse = dequantize(np.moveaxis(file.read(), 0, -1))
    sums = np.nan_to_num(dequantize(np.moveaxis(codes, 0, -1))).reshape(260, 2, 45, 2, 64).sum((1, 3))
    alike = (coarse*sums).sum(-1)/np.linalg.norm(sums, axis=-1).clip(1e-9)
    assert np.nanmin(alike) > .999 and np.isnan(coarse[:2, :3]).all()


# ---- killed, and continued

WRITER = '''
import sys
sys.path.insert(0, TESTS)
import alphaearth_nb.field_stores as stores
from test_field_files import some_field
stores.SHARD_PX, stores.CHUNK_PX = 32, 32
field = some_field(128, 96)
print('begins', flush=True)
field.aef.to_zarr(sys.argv[1])
print('done', flush=True)
'''


@pytest.mark.parametrize('parts', [0, 1, 5, 11])
def test_a_killed_writer_leaves_nothing_that_opens(tmp_path, monkeypatch, parts):
    "Killed after some of twelve parts: no store of that name; what is there is refused; the rest is added."
    import alphaearth_nb.field_stores as stores
    monkeypatch.setattr(stores, 'SHARD_PX', 32), monkeypatch.setattr(stores, 'CHUNK_PX', 32)
    path, script = tmp_path/'field.zarr', WRITER.replace('TESTS', repr(os.path.dirname(__file__)))
    child = subprocess.Popen([sys.executable, '-c', script, str(path)], stdout=subprocess.PIPE, text=True)
    aside, deadline = tmp_path/'.field.zarr.unfinished', time.monotonic() + 60
    def noted() -> list: return sorted(aside.glob('hashes/[0-9]*'))
    while len(noted()) < parts and child.poll() is None and time.monotonic() < deadline: time.sleep(.001)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL or parts > 5   # the last part may be whole before the signal comes
    if not path.exists():
        with pytest.raises(AlphaEarthError): read_zarr(path)
        if aside.exists():
            with pytest.raises(FieldError, match='without a manifest'): read_zarr(aside)
    field = some_field(128, 96)
    whole = field.aef.to_zarr(tmp_path/'whole.zarr')
    store = path if path.exists() else field.aef.to_zarr(path)
    assert read_zarr(store).identical(field)
    files = sorted(file.relative_to(whole) for file in whole.rglob('*') if file.is_file())
    assert files == sorted(file.relative_to(store) for file in store.rglob('*') if file.is_file())
    assert all((whole/name).read_bytes() == (store/name).read_bytes() for name in files)


def test_parts_in_any_order_and_twice_give_the_same_store(tmp_path, monkeypatch):
    import alphaearth_nb.field_stores as stores
    monkeypatch.setattr(stores, 'SHARD_PX', 32), monkeypatch.setattr(stores, 'CHUNK_PX', 32)
    field, found = some_field(70, 96), []
    for seed in (0, 1):
        writer = FieldWriter(tmp_path/f'{seed}.zarr', field.aef.grid, field.attrs)
        parts = writer.parts*2
        for index in np.random.default_rng(seed).permutation(len(parts)):
            rows, columns = writer.window(parts[index])
            writer.write(parts[index], field.values[:, rows, columns])
        found.append(json.loads((writer.finish()/'manifest.json').read_text()))
    assert found[0] == found[1] and read_zarr(tmp_path/'0.zarr').identical(field)


def test_a_part_that_was_half_written_is_written_again(tmp_path, monkeypatch):
    "Cut off, altered, or noted for other bytes: it is missing."
    import alphaearth_nb.field_stores as stores
    monkeypatch.setattr(stores, 'SHARD_PX', 32), monkeypatch.setattr(stores, 'CHUNK_PX', 32)
    field = some_field(64, 64)
    writer = FieldWriter(tmp_path/'field.zarr', field.aef.grid, field.attrs)
    for part in writer.parts: writer.write(part, field.values[(slice(None), *writer.window(part))])
    file = writer.aside/'embedding/c/0/1/0'
    file.write_bytes(file.read_bytes()[:1000])
    (writer.aside/'embedding/c/1/0/0').unlink()
    again = FieldWriter(tmp_path/'field.zarr', field.aef.grid, field.attrs)
    assert again.missing() == [(0, 1), (1, 0)]
    with pytest.raises(FieldError, match='rows 0 to 31, columns 32 to 63 and 1 more'): again.finish()
