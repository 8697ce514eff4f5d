"""A server that sends byte after byte is left behind: no endless wait, nothing half."""

import numpy as np
import pytest
from object_store import Host, box_of, cut, grid_at, row, some_codes, write_index, write_tile
from stac_server import catalogue, publish

from alphaearth_nb import remote_files, stac
from alphaearth_nb.core import AlphaEarthError, FrameError
from alphaearth_nb.fetch import fetch_frames
from alphaearth_nb.release import released
from alphaearth_nb.synthetic import synthetic_place

QUICK = {'GDAL_HTTP_LOW_SPEED_TIME': '1', 'GDAL_HTTP_MAX_RETRY': '1', 'GDAL_HTTP_RETRY_DELAY': '0.1'}
LONGEST_S = 5*60


@pytest.mark.parametrize('limits', [stac.GDAL, remote_files.REMOTE], ids=['frames', 'released'])
def test_the_longest_wait_for_a_trickle_is_minutes(limits):
    "By the settings that users have: slow for so long, each time that it is tried."
    limits = {name: float(value) for name, value in limits.items() if name.startswith('GDAL_HTTP_')
              and str(value).replace('.', '').isdigit()}
    tries = 1 + limits['GDAL_HTTP_MAX_RETRY']
    assert limits['GDAL_HTTP_LOW_SPEED_LIMIT'] >= 500  # bytes a second
    assert tries*limits['GDAL_HTTP_LOW_SPEED_TIME'] < LONGEST_S
    assert limits['GDAL_HTTP_CONNECTTIMEOUT']*tries < LONGEST_S


def test_a_frame_that_trickles_is_left_behind(tmp_path, monkeypatch):
    "The others arrive; the one is named, and comes the next time."
    monkeypatch.setenv('AE_CACHE_DIR', str(tmp_path/'cache'))
    monkeypatch.setattr(stac, 'GDAL', stac.GDAL | QUICK)
    place = synthetic_place(size_px=40, start='2021-12-31', days=40)
    with catalogue(tmp_path/'stac') as server:
        publish(server, {'sentinel2': place['sentinel2']}, place.grid, limit=3)
        slow = '/files/sentinel2-001/B04.tif'
        server.manner[slow] = 'trickle'
        with pytest.raises(FrameError, match='2 of 3 frames have arrived.*sentinel2-001'):
            fetch_frames(place.grid, '2021-12-01/2022-04-01', server.url, 'sentinel2', quiet=True)
        server.manner.clear()
        frames = fetch_frames(place.grid, '2021-12-01/2022-04-01', server.url, 'sentinel2', quiet=True)
    assert len(frames['sentinel2']) == 3


def test_a_released_file_that_trickles_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(remote_files, 'REMOTE', remote_files.REMOTE | QUICK)
    grid, name, codes = grid_at(600_000, 4_900_000, 16, 600, 60), '2024/16N/xa-0', some_codes(600, 60, 5)
    write_tile(tmp_path/f'{name}.tiff', codes, grid)
    write_index(tmp_path, [row(name, grid)])
    host = Host(tmp_path)
    try:
        box = box_of(grid[100:140, 10:50])
        plan = released(box, 2024, url=host.url, dry_run=True)
        host.manner[f'{name}.tiff'] = 'trickle'
        with pytest.raises(AlphaEarthError): released(box, 2024, url=host.url)
        host.manner.clear()
        field = released(box, 2024, url=host.url)
        assert plan.bytes and np.array_equal(field.values, cut(codes, grid, field.aef.grid))
    finally:
        host.server.shutdown()
        host.server.server_close()
