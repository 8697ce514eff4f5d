"""Released files as others might lay them out: bands in another order, blocks at either end, long VRTs."""
import numpy as np
import pytest
import rasterio
from object_store import Host, box_of, cut, grid_at, row, some_codes, write_index, write_tile

from alphaearth_nb import remote_files
from alphaearth_nb.codes import BANDS, NO_DATA
from alphaearth_nb.core import FieldError, PlaceNotFound
from alphaearth_nb.release import released
from alphaearth_nb.remote_files import blocks_under, check_vrt, fetch_span, open_tile, read_tile

GRID = grid_at(600_000, 4_900_000, 16, 1024, 60)
NAME = '2024/16N/xa-0'


@pytest.fixture(scope='module')
def codes(): return some_codes(*GRID.shape, 5)


@pytest.fixture
def host(tmp_path):
    host = Host(tmp_path)
    write_index(tmp_path, [row(NAME, GRID)])
    yield host
    host.server.shutdown()
    host.server.server_close()


def write_mixed(path, codes, order) -> None:
    "Bands in an order of their own, each under its name."
    path.parent.mkdir(parents=True, exist_ok=True)
    place = dict(crs=str(GRID.crs), transform=GRID.affine, height=GRID.height, width=GRID.width)
    with rasterio.open(path, 'w', driver='GTiff', count=64, dtype='int8', nodata=NO_DATA, **place, tiled=True,
                       blockxsize=64, blockysize=64, interleave='band') as file:
        file.write(codes[order])
        file.descriptions = [BANDS[number] for number in order]


def test_bands_go_by_their_names_and_not_by_their_place(host, codes, tmp_path):
    "From a host, several at a time, and from this machine."
    path = tmp_path/f'{NAME}.tiff'
    write_mixed(path, codes, np.random.default_rng(0).permutation(64))
    box = box_of(GRID[100:140, 10:50])
    for how in ({'url': host.url}, {'source': path}):
        field = released(box, 2024, **how)
        assert np.array_equal(field.values, cut(codes, GRID, field.aef.grid)), how
    for window in ((0, 0, 3, 4), (1014, 50, 10, 10)):
        top, left, height, width = window
        found = read_tile(open_tile(host.url + f'{NAME}.tiff'), window)
        assert np.array_equal(found, codes[:, top:top + height, left:left + width])


@pytest.mark.parametrize('upward', [True, False])
def test_the_blocks_of_a_plan_are_those_that_are_read(host, codes, tmp_path, upward):
    "A file of two rows of blocks, the upper of which is empty: the weight is at the end that has data."
    half = codes.copy()
    half[:, :512] = NO_DATA                    # the north
    write_tile(tmp_path/f'{NAME}.tiff', half, GRID, upward=upward)
    tile = open_tile(host.url + f'{NAME}.tiff')
    north, south = (sum(size for _, size in blocks_under(tile, window))
                    for window in ((0, 0, 80, 60), (900, 0, 80, 60)))
    assert tile.upward == upward and south > 5*north
    both = blocks_under(tile, (0, 0, 80, 60), (900, 0, 80, 60), (930, 5, 9, 9))
    assert both == blocks_under(tile, (0, 0, 1024, 60)) and sum(size for _, size in both) == north + south


def test_pauses_grow_between_tries(host, monkeypatch):
    "Half a second, one, two, give or take a half: a host in trouble is left alone for longer each time."
    slept = []
    monkeypatch.setattr(remote_files.time, 'sleep', slept.append)
    host.manner[NAME] = '503'
    with pytest.raises(PlaceNotFound, match='answered with 503'): fetch_span(host.url + NAME, '0-9')
    assert len(slept) == remote_files.TRIES - 1 == len(host.asked) - 1
    for pause, usual in zip(slept, (.5, 1, 2)): assert .5*usual <= pause <= 1.5*usual
    host.manner[NAME], before = '404', len(slept)
    with pytest.raises(PlaceNotFound): fetch_span(host.url + NAME, '0-9')
    assert len(slept) == before                # what cannot succeed is asked once


def test_a_vrt_is_never_read_whole_where_it_is_too_long(tmp_path, monkeypatch):
    "Nor is one of the allowed length and a letter more."
    text = '<VRTDataset rasterXSize="1" rasterYSize="1"></VRTDataset>'
    (tmp_path/'a.vrt').write_text(text)
    monkeypatch.setattr(remote_files, 'LONGEST_VRT', len(text))
    assert check_vrt(tmp_path/'a.vrt').startswith('<VRTDataset')
    (tmp_path/'a.vrt').write_text(text + '\n')
    with pytest.raises(FieldError, match='no XML that can be read'): check_vrt(tmp_path/'a.vrt')
