"""The same pixel from every source: host, VRT, file, mosaic; zones from either side; years; guards."""
import os
import subprocess
import sys

import numpy as np
import pytest
import rasterio
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from object_store import Host, box_of, cut, grid_at, row, some_codes, write_index, write_tile
from odc.geo.geobox import GeoBox

from alphaearth_nb.codes import NO_DATA
from alphaearth_nb.core import AlphaEarthError, ConfigError, FieldError, PlaceNotFound
from alphaearth_nb.grids import lonlat_transformer, pixels_of_points
from alphaearth_nb.release import released
from alphaearth_nb.release_mosaic import DIMENSIONS, open_mosaic, read_mosaic
from alphaearth_nb.remote_files import check_vrt, open_tile, read_tile

SOUTH, SIDE = 4_900_000, 96
PATHS = {'16N': '2024/16N/xa-0', '17N': '2024/17N/xb-0'}
GRIDS = {'16N': grid_at(738_800, SOUTH, 16, SIDE, SIDE), '17N': grid_at(260_300, SOUTH, 17, SIDE, SIDE)}


def vrt_of(name:str, grid:GeoBox, upward:bool) -> str:
    "A VRT that turns a file whose rows run from the south, as the ones of the release do."
    band = ('<VRTRasterBand dataType="Int8" band="{0}"><NoDataValue>-128</NoDataValue><SimpleSource>'
            '<SourceFilename relativeToVRT="1">{1}</SourceFilename><SourceBand>{0}</SourceBand>'
            '</SimpleSource></VRTRasterBand>')
    affine = (grid.flipy() if upward else grid).affine
    numbers = ', '.join(map(str, (affine.c, affine.a, 0, affine.f, 0, affine.e)))
    return (f'<VRTDataset rasterXSize="{grid.width}" rasterYSize="{grid.height}"><SRS>{grid.crs}</SRS>'
            f'<GeoTransform>{numbers}</GeoTransform>'
            + ''.join(band.format(number, name) for number in range(1, 65)) + '</VRTDataset>')


@pytest.fixture(scope='module')
def release(tmp_path_factory):
    "Two tiles over the same ground at the border of two zones, of two years; a host; what they hold."
    folder = tmp_path_factory.mktemp('sources')
    codes = {zone: some_codes(SIDE, SIDE, seed) for seed, zone in enumerate(GRIDS)}
    for zone, grid in GRIDS.items():
        for year in ('2024', '2021'):
            path = folder/f'{PATHS[zone].replace("2024", year)}.tiff'
            write_tile(path, codes[zone], grid, upward=zone == '16N')
        name = PATHS[zone].split('/')[-1] + '.tiff'
        (folder/f'{PATHS[zone]}.vrt').write_text(vrt_of(name, grid, zone == '16N'))
    write_index(folder, [row(PATHS[zone].replace('2024', year), grid)
                         for zone, grid in GRIDS.items() for year in ('2021', '2024')])
    host = Host(folder)
    yield folder, host, codes
    host.server.shutdown()


@settings(max_examples=12)
@given(data=st.data())
def test_the_same_pixel_through_host_vrt_and_file(release, data):
    "Identical to the bit, whichever way the rows of the file run."
    folder, host, codes = release
    zone = data.draw(st.sampled_from(sorted(GRIDS)))
    top, left = (data.draw(st.integers(0, SIDE - 2)) for _ in range(2))
    grid = GRIDS[zone][top:top + data.draw(st.integers(1, 40)), left:left + data.draw(st.integers(1, 40))]
    fields = [released(box_of(grid), 2024, zone=zone, lazy=True, **how).compute() for how in (
        {'url': host.url}, {'source': folder/f'{PATHS[zone]}.tiff'}, {'source': folder/f'{PATHS[zone]}.vrt'})]
    for field in fields:
        assert field.aef.grid == fields[0].aef.grid
        assert np.array_equal(field.values, cut(codes[zone], GRIDS[zone], field.aef.grid))


def places_of(field) -> tuple[np.ndarray, np.ndarray]:
    return lonlat_transformer(field.aef.grid).transform(*np.meshgrid(field.x, field.y))


@settings(max_examples=12)
@given(data=st.data())
def test_a_region_across_zones_is_the_same_from_either_side(release, data):
    "Each pixel is the one of the zone it lies in that its centre falls on, whichever zone is home."
    _, host, codes = release
    south = 44.2145 + data.draw(st.floats(0, .003))
    west = data.draw(st.floats(-84.004, -84.0005))
    east = data.draw(st.floats(-83.9995, -83.996))
    field = released((west, south, east, south + .002), 2024, url=host.url, lazy=True).compute()
    lon, lat = places_of(field)
    home = '16N' if -84 - west > east + 84 else '17N'
    if abs(-84 - west - (east + 84)) > 1e-6: assert field.attrs['zone'] == home
    assert field.attrs['resampled'].startswith('nearest pixel of zone')
    expected = np.full_like(field.values, NO_DATA)
    covered = np.zeros(lon.shape, bool)
    for own in (True, False):                    # the zone of the place; where it has no file, the other
        for zone, grid in GRIDS.items():
            rows, columns = pixels_of_points(grid, lon, lat)
            mine = ((lon < -84) == (zone == '16N')) == own
            take = mine & (rows >= 0) & ~covered
            expected[:, take] = codes[zone][:, rows[take], columns[take]]
            covered |= take
    assert np.array_equal(field.values, expected)


def test_the_plan_covers_what_a_region_across_zones_takes(release):
    _, host, _ = release
    box = (-84.003, 44.2165, -83.998, 44.2185)
    plan = released(box, 2024, url=host.url, dry_run=True)
    host.asked.clear()
    released(box, 2024, url=host.url)
    number, size = host.fetched('.tiff')
    assert plan.resampled and len(plan.tiles) == 2
    assert 0 < plan.bytes and size <= plan.bytes + 2*16_384*(number + 8)


def test_several_years_come_by_year_and_a_plan_reads_no_pixels(release):
    folder, host, codes = release
    box = box_of(GRIDS['16N'][20:40, 10:40])
    plans = released(box, [2021, 2024], zone='16N', url=host.url, dry_run=True)
    fields = released(box, (2024, 2021), zone='16N', url=host.url)
    assert [*plans] == [2021, 2024] and [*fields] == [2024, 2021]
    assert [field.attrs['year'] for field in fields.values()] == [2024, 2021]
    assert np.array_equal(fields[2021].values, fields[2024].values)
    with pytest.raises(PlaceNotFound, match=r'one of \[2021, 2024\]'):
        released(box, [2021, 2022], url=host.url)


def test_who_pays_is_said_with_every_request_and_only_when_named(release):
    _, host, _ = release
    box = box_of(GRIDS['17N'][20:25, 10:15])
    host.projects.clear()
    released(box, 2021, zone='17N', url=host.url)
    assert host.projects == {None}
    host.projects.clear()
    released(box, 2021, zone='17N', url=host.url.replace('127.0.0.1', 'localhost'), project='my-project-1')
    assert host.projects == {'my-project-1'}
    with pytest.raises(ConfigError, match='Google Cloud project'):
        released(box, 2021, url=host.url, project='a\r\nX-Evil: 1')


def test_the_mosaic_is_marked_and_equal_to_its_nearest_source_pixel(release, tmp_path):
    "Made here from a tile by the rule of the real one; read through HTTP and from the disk."
    folder, host, codes = release
    step = 8.983111749910169e-05
    west, south, east, north = box_of(GRIDS['17N'])
    mosaic = GeoBox((128, 128), GeoBox.from_bbox((west, north - 128*step, west + 128*step, north), crs=4326,
                                                 shape=(128, 128)).affine, 'EPSG:4326')
    lon, lat = np.meshgrid(*(mosaic.coordinates[axis].values for axis in ('longitude', 'latitude')))
    rows, columns = pixels_of_points(GRIDS['17N'], lon, lat)
    made = np.where(rows >= 0, codes['17N'][:, rows, columns], NO_DATA)
    store = zarr.open_group(folder/'mosaic.zarr', mode='w')
    store.attrs.update({'spatial:transform': list(mosaic.affine)[:6], 'proj:code': 'EPSG:4326'})
    array = store.create_array('embeddings', shape=(2, 64, 128, 128), dtype='int8', shards=(1, 64, 64, 64),
                               chunks=(1, 64, 32, 32), fill_value=-128, dimension_names=DIMENSIONS)
    store.create_array('time', data=np.array([2021, 2024]), dimension_names=['time'])
    array[1] = made
    box = (west + .002, south + .003, west + .005, south + .005)
    fields = [released(box, 2024, source='zarr', url=host.url + 'mosaic.zarr'),
              released(box, 2024, source=folder/'mosaic.zarr')]
    for field in fields:
        assert 'mosaic' in field.attrs['resampled'] and field.attrs['year'] == 2024
        rows, columns = pixels_of_points(GRIDS['17N'], *places_of(field))
        assert (rows >= 0).all() and np.array_equal(field.values, codes['17N'][:, rows, columns])
    assert (released(box, 2021, source='zarr', url=host.url + 'mosaic.zarr').values == NO_DATA).all()
    for status in ('403', '500'):      # an absence is an answer, a refusal is none
        host.manner |= {f'mosaic.zarr/embeddings/c/1/0/{y}/{x}': status for y in range(2) for x in range(2)}
        whole = open_mosaic(host.url + 'mosaic.zarr')
        with pytest.raises(AlphaEarthError, match=f'answered with {status}'): read_mosaic(whole, mosaic, 2024)
    host.manner.clear()


# ---- what a file of somebody else may lead to

EVIL = {
    'network': ('{name}', '/vsicurl/http://127.0.0.1:{port}/x.tiff'),
    'archive': ('{name}', '/vsizip/a.zip/x.tiff'), 'upwards': ('{name}', '../17N/xb-0.tiff'),
    'absolute': ('{name}', '/etc/hostname'), 'text inside': ('{name}', '&lt;VRTDataset/&gt;'),
    'subdataset': ('{name}', 'GTIFF_DIR:1:{name}'), 'itself': ('{name}', 'evil.vrt'),
    'projection': ('<SRS>EPSG:32616', '<SRS>http://127.0.0.1:{port}/crs'),
    'grids': ('<SRS>EPSG:32616', '<SRS>+proj=utm +zone=16 +nadgrids=/etc/hostname'),
    'code': ('<SimpleSource>', '<PixelFunctionCode>import os</PixelFunctionCode><SimpleSource>'),
    'derived': ('<VRTRasterBand ', '<VRTRasterBand subClass="VRTDerivedRasterBand" '),
    'raw': ('<VRTRasterBand ', '<VRTRasterBand subClass="VRTRawRasterBand" '),
    'options': ('<SourceBand>', '<OpenOptions/><SourceBand>'),
    'smoothed': ('<SimpleSource>', '<SimpleSource resampling="average">'),
    'entities': ('<VRTDataset ', '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]><VRTDataset ')}


@pytest.mark.parametrize('how', EVIL)
def test_a_vrt_may_not_reach_out(release, how):
    folder, host, _ = release
    good, name = (folder/f'{PATHS["16N"]}.vrt').read_text(), PATHS['16N'].split('/')[-1] + '.tiff'
    old, new = (text.replace('{name}', name).replace('{port}', host.url.split(':')[2].strip('/'))
                for text in EVIL[how])
    evil = (folder/PATHS['16N']).with_name('evil.vrt')
    assert old in good
    evil.write_text(good.replace(old, new))
    host.asked.clear()
    with pytest.raises(FieldError, match='evil.vrt') as error: open_tile(str(evil))
    assert '\n' not in str(error.value) and not host.asked


def test_a_link_may_not_lead_out_of_the_folder(release, tmp_path):
    folder, _, _ = release
    name = PATHS['16N'].split('/')[-1]
    (tmp_path/f'{name}.tiff').symlink_to(folder/f'{PATHS["16N"]}.tiff')
    (tmp_path/'link.vrt').write_text((folder/f'{PATHS["16N"]}.vrt').read_text())
    with pytest.raises(FieldError, match='outside its folder'): check_vrt(tmp_path/'link.vrt')


def test_other_drivers_are_not_asked(release, tmp_path):
    "A file that another driver would open or follow to the network, under the name of a GeoTIFF."
    folder, _, _ = release
    tile = folder/f'{PATHS["16N"]}.tiff'
    hidden = tile.with_name('hidden.tif')
    hidden.write_text((folder/f'{PATHS["16N"]}.vrt').read_text())
    with pytest.raises(FieldError, match='unreadable'): open_tile(str(hidden))
    wms = '<GDAL_WMS><Service name="TMS"><ServerUrl>http://127.0.0.1:9/${z}</ServerUrl></Service></GDAL_WMS>'
    for name in ('a.tif', 'a.tiff', 'a.vrt', 'a.xml'):
        (tmp_path/name).write_text(wms)
        with pytest.raises(FieldError): open_tile(str(tmp_path/name))
    for name in ('/vsicurl/http://127.0.0.1:9/a.tif', 'GTIFF_DIR:1:a.tif', 'zip://a.zip!a.tif', 'memory.tif'):
        with pytest.raises((PlaceNotFound, FieldError)): open_tile(name)


def test_no_socket_is_opened_for_files_of_this_machine(release):
    "Seen from inside the interpreter and by the host, in a process of its own."
    folder, host, _ = release
    code = ('import sys\nfound = []\n'
            'sys.addaudithook(lambda event, _: event.startswith("socket.") and found.append(event))\n'
            'from alphaearth_nb.release import released\n'
            f'path = {str(folder/PATHS["16N"])!r} + ".vrt"\n'
            f'released({box_of(GRIDS["16N"][3:9, 3:9])}, 2024, source=path, lazy=True).compute()\n'
            'print([event for event in found if "connect" in event or "getaddr" in event])')
    host.asked.clear()
    paths = os.pathsep.join(path for path in sys.path if path)
    said = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                          env=os.environ | {'PYTHONPATH': paths})
    assert said.returncode == 0 and said.stdout.strip() == '[]', said.stderr[-800:]
    assert not [name for name, *_ in host.asked if name.endswith(('tiff', 'vrt'))]


def test_a_window_of_a_vrt_is_a_window_of_its_file(release):
    folder, _, codes = release
    tile = open_tile(str(folder/f'{PATHS["16N"]}.vrt'))
    assert np.array_equal(read_tile(tile, (5, 7, 11, 13)), codes['16N'][:, 5:16, 7:20])


def test_a_file_of_another_year_is_refused(release, tmp_path):
    folder, host, _ = release
    box = box_of(GRIDS['16N'][20:40, 10:40])
    path = released(box, 2024, zone='16N', url=host.url).aef.to_cog(tmp_path/'mine.tif')
    with pytest.raises(FieldError, match='valid period of mine.tif.*the year 2021'):
        released(box, 2021, source=path)
    with pytest.raises(ConfigError, match='one, for a file'): released(box, [2021, 2024], source=path)
    with rasterio.open(path, 'r+', IGNORE_COG_LAYOUT_BREAK='YES') as file:
        band = file.read(7)
        file.write(np.where(band == NO_DATA, band, -band), 7)  # vectors as long as before
    with pytest.raises(FieldError, match='altered'): released(box, 2024, source=path)
