"""The released embedding field of one place, and files that are damaged on purpose."""
import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from alphaearth_nb.codes import BANDS, DECODED, NO_DATA, dequantize, quantize
from alphaearth_nb.cogs import LARGEST_PX, read_codes, write_codes
from alphaearth_nb.core import AlphaEarthError, FieldError
from alphaearth_nb.fields import read_cog
from alphaearth_nb.label_pixels import FieldPixels

RELEASED = Path(__file__).parents[1]/'../shared/data/aef_wisconsin_2024_32616_10m.tif'
DAMAGED_COPIES = 300
UTM = 'EPSG:32616'


@pytest.fixture(scope='module')
def released():
    "The released field, opened."
    if not RELEASED.is_file(): pytest.skip(f'{RELEASED.name} is not here; it is no part of the repository')
    return read_cog(RELEASED, valid='2024')


def some_codes(height, width, seed=0):
    "Codes (64, height, width) of smooth ground with a corner without data."
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    share = np.sin(x/9)*np.cos(y/7)
    ground = np.stack([share, 1 - share**2], -1) @ rng.normal(size=(2, 64))
    ground += rng.normal(size=ground.shape)*.1
    ground[:5, :7] = np.nan
    return np.moveaxis(quantize(ground/np.linalg.norm(ground, axis=-1, keepdims=True)), -1, 0)


def test_opens_as_codes_of_unit_vectors(released):
    assert released.aef.state == 'codes' and released.dtype == np.int8
    assert released.shape == (64, 103, 103) and str(released.aef.grid.crs) == UTM
    absent = (released.values == NO_DATA).all(0)
    assert 0 < absent.sum() < 1000 and np.array_equal(absent, (released.values == NO_DATA).any(0))
    lengths = np.linalg.norm(DECODED[released.values[:, ~absent].view(np.uint8)], axis=0)
    assert np.abs(lengths - 1).max() < .01
    assert np.abs(np.linalg.norm(released.aef.vectors()[~absent], axis=-1) - 1).max() < 1e-6


def test_neighbours_are_alike_and_strangers_less(released):
    vectors = released.aef.vectors()
    beside = (vectors[:, 1:]*vectors[:, :-1]).sum(-1)
    valid = vectors[~np.isnan(vectors).any(-1)]
    strangers = (valid*np.random.default_rng(0).permutation(valid)).sum(-1)
    assert np.nanmedian(beside) > .9
    assert np.nanmedian(beside) > np.median(strangers) + .1


def test_decoded_codes_give_the_same_codes(released):
    "No law (see the page codes), but so for every released pixel at hand."
    assert np.array_equal(released.aef.unit().aef.codes().values, released.values)


def test_written_again_bit_for_bit(released, tmp_path):
    again = read_cog(released.aef.to_cog(tmp_path/'again.tif'))
    assert again.identical(released)
    assert again.aef.valid == released.aef.valid


def test_rows_from_the_south_are_turned(released, tmp_path):
    "As the dataset is stored at Source Cooperative: positive y step, pixel-interleaved or not."
    with rasterio.open(RELEASED) as file: profile, codes, affine = file.profile, file.read(), file.transform
    profile.update(transform=Affine(10, 0, affine.c, 0, 10, affine.f - 1030))
    with rasterio.open(tmp_path/'upward.tif', 'w', **profile) as file:
        assert file.transform.e > 0
        file.write(codes[:, ::-1])
        file.descriptions = BANDS
    assert read_cog(tmp_path/'upward.tif', valid='2024').identical(released)


def test_points_fall_on_the_pixel_that_rasterio_finds(released):
    rng = np.random.default_rng(0)
    with rasterio.open(RELEASED) as file:
        x, y = file.transform.c + rng.uniform(50, 980, 50), file.transform.f - rng.uniform(50, 980, 50)
        sampled = np.array(list(file.sample(zip(x, y))), np.int8)
    import geopandas
    points = geopandas.GeoSeries.from_xy(x, y, crs=UTM)
    np.testing.assert_array_equal(released.aef.at(points.to_crs(4326)), dequantize(sampled))


def directories(path):
    "Offset, size and block offsets of each image directory of a little-endian classic TIFF."
    data, size = path.read_bytes(), {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 12: 8}
    assert data[:4] == b'II*\0'
    at, found = struct.unpack_from('<I', data, 4)[0], []
    while at:
        count, tags = struct.unpack_from('<H', data, at)[0], {}
        for entry in range(at + 2, at + 2 + 12*count, 12):
            tag, kind, length, value = struct.unpack_from('<HHII', data, entry)
            start = entry + 8 if size[kind]*length <= 4 else value
            letter = {3: 'H', 4: 'I'}.get(kind)
            if letter: tags[tag] = struct.unpack_from(f'<{length}{letter}', data, start)
        found.append({'at': at, 'end': at + 6 + 12*count, 'shape': (tags[257][0], tags[256][0]),
                      'block': (tags[323][0], tags[322][0]), 'planes': tags[284][0],
                      'reduced': tags.get(254, (0,))[0], 'offsets': tags[324]})
        at = struct.unpack_from('<I', data, at + 2 + 12*count)[0]
    return found


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    "Codes and file of a field of a given size, made once."
    made = {}
    def write(height, width):
        if (height, width) not in made:
            codes, folder = some_codes(height, width), tmp_path_factory.mktemp('field')
            grid = GeoBox((height, width), Affine(10, 0, 358_380, 0, -10, 4_906_630), UTM)
            made[height, width] = codes, write_codes(folder/'field.tif', codes, grid, {})
        return made[height, width]
    return write


@pytest.mark.parametrize('height, width, sizes', [
    (103, 103, [(103, 103)]),
    (700, 600, [(700, 600), (350, 300)]),
    (1100, 60, [(1100, 60), (550, 30), (275, 15)]),
])
def test_layout_of_a_cloud_optimised_file(written, height, width, sizes):
    _, path = written(height, width)
    parts = directories(path)
    assert [part['shape'] for part in parts] == sizes
    assert [part['reduced'] for part in parts] == [0] + [1]*(len(sizes) - 1)
    assert all(part['block'] == (512, 512) and part['planes'] == 2 for part in parts)  # 2: band after band
    assert parts[0]['at'] == 8 and [part['at'] for part in parts] == sorted(part['at'] for part in parts)
    assert max(part['end'] for part in parts) < min(min(part['offsets']) for part in parts)
    for larger, smaller in zip(parts, parts[1:]): assert max(smaller['offsets']) < min(larger['offsets'])
    assert all(list(part['offsets']) == sorted(part['offsets']) for part in parts)
    with rasterio.open(path) as file:
        assert file.profile['compress'] == 'zstd' and file.nodata == NO_DATA and file.descriptions == BANDS


def test_overviews_are_directions_of_means(written):
    codes, path = written(700, 600)
    with rasterio.open(path, overview_level=0) as file: overview = dequantize(np.moveaxis(file.read(), 0, -1))
    finest = dequantize(np.moveaxis(codes, 0, -1))
    means = np.nanmean(finest[10:].reshape(345, 2, 300, 2, 64), axis=(1, 3))
    cosine = (overview[5:]*means).sum(-1)/np.linalg.norm(means, axis=-1)
    assert cosine.min() > .999
    assert np.isnan(overview[:2, :3]).all() and not np.isnan(overview[2:, 3:]).any()


# ---- windows of a file, without reading all of it

def write_foreign(path, values, names=BANDS, step=-10, crs=UTM, **more):
    "Write a GeoTIFF as another program would; a positive step has its rows from the south."
    count, height, width = values.shape
    north = 4_906_630 if step < 0 else 4_906_630 - 10*height
    with rasterio.open(path, 'w', driver='GTiff', dtype=values.dtype, count=count, height=height, width=width,
                       crs=crs, transform=Affine(10, 0, 358_380, 0, step, north), **more) as file:
        file.write(values if step < 0 else values[:, ::-1])
        file.descriptions = names
    return path


@pytest.fixture(scope='module')
def forms(written, tmp_path_factory):
    "The same codes as our file and as four of other programs; {name: path}."
    codes, path = written(103, 103)
    folder, order = tmp_path_factory.mktemp('forms'), np.random.default_rng(0).permutation(64)
    unit = np.moveaxis(dequantize(np.moveaxis(codes, 0, -1)), -1, 0)
    unit[:, 60:, 90:] = np.nan
    return {'ours': path, 'upward': write_foreign(folder/'upward.tif', codes, step=10, nodata=NO_DATA),
            'mixed': write_foreign(folder/'mixed.tif', codes[order], [BANDS[i] for i in order]),
            'unit': write_foreign(folder/'unit.tif', unit, nodata=np.nan),
            'filled': write_foreign(folder/'filled.tif', np.where(np.isnan(unit), np.float32(-9999), unit),
                                    step=10, nodata=-9999)}


@pytest.mark.parametrize('form', ['ours', 'upward', 'mixed', 'unit', 'filled'])
def test_windows_are_those_of_the_whole(forms, form):
    "Whatever a file holds, a window of it is the window of what `read_cog` gives, as codes."
    pixels, whole = FieldPixels(forms[form]), read_cog(forms[form])
    assert pixels.grid == whole.aef.grid and pixels.field.attrs | {'state': whole.aef.state} == whole.attrs
    codes = whole.aef.codes().values

    @settings(max_examples=15, deadline=None, database=None, derandomize=True)
    @given(st.integers(0, 100), st.integers(0, 100), st.integers(1, 103), st.integers(1, 103))
    def check(top, left, height, width):
        window = slice(top, min(103, top + height)), slice(left, min(103, left + width))
        assert np.array_equal(pixels.window(*window), codes[:, *window])

    check()


def not_fields(path, codes):
    "Files that are no field by their header: {name: path}."
    whole = write_codes(path/'altered.tif', codes, GeoBox(codes.shape[1:], Affine.scale(10, -10), UTM), {})
    with rasterio.open(whole, 'r+') as file: file.update_tags(AE_MODEL='other')
    (path/'text.tif').write_text('no raster at all')
    return {'altered': whole, 'text': path/'text.tif', 'gone': path/'gone.tif', 'folder': path,
            'bytes': write_foreign(path/'bytes.tif', (codes + np.int16(128)).astype(np.uint8)),
            'bands': write_foreign(path/'bands.tif', codes[:63], BANDS[:63]),
            'names': write_foreign(path/'names.tif', codes, ['B01', *BANDS[1:]]),
            'nowhere': write_foreign(path/'nowhere.tif', codes, crs=None)}


def test_windows_are_refused_in_the_words_of_the_whole(tmp_path):
    for name, path in not_fields(tmp_path, some_codes(24, 20)).items():
        with pytest.raises(AlphaEarthError) as whole: read_cog(path)
        with pytest.raises(AlphaEarthError) as part: FieldPixels(path)
        assert (type(part.value), str(part.value)) == (type(whole.value), str(whole.value)), name


def test_vectors_that_are_none_are_refused_where_they_are_read(tmp_path):
    vectors = np.moveaxis(dequantize(np.moveaxis(some_codes(24, 20), 0, -1)), -1, 0)
    vectors[:, 12:, :10] *= 3
    pixels = FieldPixels(write_foreign(tmp_path/'long.tif', vectors, nodata=np.nan))
    assert pixels.window(slice(0, 12), slice(0, 20)).shape == (64, 12, 20)
    with pytest.raises(FieldError, match='Divide by their length'): pixels.window(slice(0, 24), slice(0, 20))


def test_a_field_larger_than_memory_is_opened_by_its_header(tmp_path):
    "100 GB of codes, none of which was written; only what is looked at is read."
    side, path = 40_960, tmp_path/'large.tif'
    with rasterio.open(path, 'w', driver='GTiff', dtype='int8', count=64, height=side, width=side, crs=UTM,
                       transform=Affine(10, 0, 358_380, 0, -10, 4_906_630), nodata=NO_DATA, tiled=True,
                       blockxsize=4096, blockysize=4096, interleave='band', compress='ZSTD', SPARSE_OK=True,
                       bigtiff='YES') as file:
        file.descriptions = BANDS
    assert side**2 > LARGEST_PX and path.stat().st_size < 1e6
    pixels = FieldPixels(path)
    assert pixels.field.shape == (64, side, side) and not pixels.field.values.strides[1]
    assert (pixels.window(slice(30_000, 30_010), slice(5, 9)) == NO_DATA).all()
    with pytest.raises(FieldError, match='at most'): read_cog(path)


CHILD = """
import json, resource, sys
from pathlib import Path
import numpy as np
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
from alphaearth_nb.cogs import read_codes
from alphaearth_nb.core import AlphaEarthError
from alphaearth_nb.grids import same_grid
folder, whole = Path(sys.argv[1]), Path(sys.argv[2])
codes, grid, attrs = read_codes(whole)
counts = {'refused': 0, 'identical': 0, 'changed': [], 'crashed': []}
for path in sorted(folder.iterdir()):
    try: found, its_grid, its_attrs = read_codes(path)
    except AlphaEarthError: counts['refused'] += 1
    except BaseException as error: counts['crashed'].append(f'{path.name}: {error!r}')
    else:
        same = np.array_equal(found, codes) and same_grid(its_grid, grid) and its_attrs == attrs
        if same: counts['identical'] += 1
        else: counts['changed'].append(path.name)
print(json.dumps(counts))
"""


def run_child(program, *arguments):
    "Run a program text in a process of its own."
    command = [sys.executable, '-c', program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=500)


def damage(data, index, header):
    "Cut a file short, or flip a bit: every other time in its headers, where it hurts most."
    rng = np.random.default_rng(index)
    if index % 5 == 0: return data[:rng.integers(0, len(data))]
    place = rng.integers(0, header if index % 2 else len(data))
    return data[:place] + bytes([data[place] ^ 1 << rng.integers(8)]) + data[place + 1:]


def test_damaged_files_are_refused_or_unharmed(tmp_path):
    "A flipped bit or a missing end never gives other pixels, another place, or a crash."
    grid = GeoBox((24, 20), Affine(10, 0, 358_380, 0, -10, 4_906_630), UTM)
    attrs = {'state': 'codes', 'model': 'tiny', 'valid_period': '2024-01-01/2025-01-01', 'seed': 3}
    whole = write_codes(tmp_path/'whole.tif', some_codes(24, 20), grid, attrs)
    data, header = whole.read_bytes(), min(directories(whole)[0]['offsets'])
    folder = tmp_path/'damaged'
    folder.mkdir()
    for index in range(DAMAGED_COPIES): (folder/f'{index:03d}.tif').write_bytes(damage(data, index, header))
    child = run_child(CHILD, folder, whole)
    assert child.returncode == 0, child.stderr[-2000:]
    counts = json.loads(child.stdout)
    assert not counts['crashed'] and not counts['changed'], counts
    assert counts['refused'] + counts['identical'] == DAMAGED_COPIES and counts['refused'] > DAMAGED_COPIES//2


LIMITED = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox
from alphaearth_nb.codes import quantize
from alphaearth_nb.cogs import write_codes
from alphaearth_nb.core import WriteError
vectors = np.random.default_rng(0).normal(size=(100, 100, 64))
codes = np.moveaxis(quantize(vectors/np.linalg.norm(vectors, axis=-1, keepdims=True)), -1, 0)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
grid = GeoBox((100, 100), Affine(10, 0, 0, 0, -10, 0), 'EPSG:32616')
try: write_codes(Path(sys.argv[1])/'field.tif', codes, grid, {})
except WriteError as error: print(error)
"""


def test_a_file_that_does_not_fit_leaves_nothing(tmp_path):
    child = run_child(LIMITED, tmp_path)
    assert child.returncode == 0, child.stderr[-2000:]
    assert 'could not be written' in child.stdout and 'free space' in child.stdout
    assert not list(tmp_path.iterdir())


def test_other_files_cannot_make_it_look_elsewhere(tmp_path):
    "A VRT that names a remote raster is no GeoTIFF, and files beside a raster are not read."
    grid = GeoBox((24, 20), Affine(10, 0, 358_380, 0, -10, 4_906_630), UTM)
    codes = some_codes(24, 20)
    path = write_codes(tmp_path/'field.tif', codes, grid, {})
    (tmp_path/'field.tif.aux.xml').write_text(
        '<PAMDataset><GeoTransform>0, 1, 0, 0, 0, -1</GeoTransform><Metadata>'
        '<MDI key="AE_MODEL">other</MDI></Metadata></PAMDataset>')
    found, its_grid, attrs = read_codes(path)
    assert np.array_equal(found, codes) and its_grid == grid and 'model' not in attrs
    (tmp_path/'remote.tif').write_text(
        '<VRTDataset rasterXSize="1" rasterYSize="1"><VRTRasterBand dataType="Int8" band="1">'
        '<SimpleSource><SourceFilename>/vsicurl/http://127.0.0.1:9/x.tif</SourceFilename></SimpleSource>'
        '</VRTRasterBand></VRTDataset>')
    with pytest.raises(FieldError, match='a readable GeoTIFF'): read_codes(tmp_path/'remote.tif')
