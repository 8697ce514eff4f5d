"""The same pixel through Earth Engine and through the files, identical to the bit, with the real client."""
import numpy as np
import pytest
from earth_engine import coded, everywhere, serving, waves
from hypothesis import given, settings
from hypothesis import strategies as st
from object_store import Host, box_of, grid_at, row, write_index, write_tile

from alphaearth_nb.codes import NO_DATA
from alphaearth_nb.core import ConfigError
from alphaearth_nb.release import released

GRID = grid_at(510_000, 5_651_000, 31, 100, 100)


@pytest.fixture(scope='module')
def host(tmp_path_factory):
    "A file with the codes that the loopback Earth Engine has, and both servers."
    import ee
    folder = tmp_path_factory.mktemp('both')
    columns = round(GRID.affine.c/10) + np.arange(GRID.width)
    rows = round(GRID.affine.f/10) - 1 - np.arange(GRID.height)
    codes = np.moveaxis(coded(waves)('31N', *np.meshgrid(columns, rows), 2024), -1, 0)
    write_tile(folder/'2024/31N/xa-0.tiff', codes.astype(np.int8), GRID)
    write_index(folder, [row('2024/31N/xa-0', GRID)])
    host = Host(folder)
    with serving(everywhere()) as running:
        running.initialize()
        yield host
        ee.Reset()
    host.server.shutdown()


@settings(max_examples=8)
@given(data=st.data())
def test_the_same_pixel_through_earth_engine_and_files(host, data):
    top, left = (data.draw(st.integers(0, 90)) for _ in range(2))
    height, width = (data.draw(st.integers(1, 40)) for _ in range(2))
    grid = GRID[top:min(99, top + height), left:min(99, left + width)]
    files, service = (released(box_of(grid), 2024, lazy=True, **how).compute()
                      for how in ({'url': host.url}, {'source': 'earthengine'}))
    assert service.aef.grid == files.aef.grid and service.attrs['zone'] == '31N'
    inside = (files.values != NO_DATA).all(0)       # a box in degrees may reach a pixel beyond the file
    assert inside.any() and np.array_equal(service.values[:, inside], files.values[:, inside])


def test_polygon_years_and_plan(host):
    import shapely
    west, south, east, north = box_of(GRID[20:60, 20:60])
    disc = shapely.Point((west + east)/2, (south + north)/2).buffer((north - south)/2.2)
    plans = released(disc, [2023, 2024], source='earthengine', dry_run=True)
    fields = released(disc, [2023, 2024], source='earthengine')
    files = released(disc, 2024, url=host.url)
    assert [*plans] == [*fields] == [2023, 2024]
    assert all(plan.bytes and plan.requests for plan in plans.values())
    assert np.array_equal(fields[2024].values, files.values) and (files.values == NO_DATA).any()
    with pytest.raises(ConfigError, match="across 31N and 32N.*zone='31N'"):
        released((5.9, 50, 6.05, 50.1), source='earthengine')
