"""The same pixel through Earth Engine and through the files, identical to the bit, with the real client."""
import numpy as np
import pytest
from earth_engine import coded, everywhere, serving, waves
from hypothesis import given, settings
from hypothesis import strategies as st
from object_store import Host, box_of, grid_at, row, write_index, write_tile

from alphaearth_nb.codes import NO_DATA
from alphaearth_nb.grids import lonlat_transformer
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


# ---- across zones

ACROSS = (5.99, 51.0, 6.006, 51.008)


def test_across_zones_each_pixel_is_that_of_its_own(host):
    "The grid is that of the larger share; pixels beyond the border are the nearest of the other zone."
    plan = released(ACROSS, source='earthengine', dry_run=True)
    field = released(ACROSS, source='earthengine')
    assert plan.zone == field.attrs['zone'] == '31N' and field.rio.crs.to_epsg() == 32631
    assert 'from Earth Engine' in str(plan) and plan.requests == 2 and field.attrs['origin'] == 'Earth Engine'
    assert field.attrs['resampled'] == plan.resampled == 'nearest pixel of zone 32N (37%)'
    x, y = np.meshgrid(field.x.values, field.y.values)
    lon, lat = lonlat_transformer(field.aef.grid).transform(x, y)
    there = lonlat_transformer(grid_at(0, 0, 32, 1, 1), back=True).transform(lon, lat)
    own = coded(waves)('31N', *(np.floor(axis/10).astype(int) for axis in (x, y)), 2024)
    other = coded(waves)('32N', *(np.floor(axis/10).astype(int) for axis in there), 2024)
    expected = np.where((lon < 6)[..., None], own, other)
    assert np.array_equal(field.values, np.moveaxis(expected, -1, 0)) and (lon >= 6).any()
    lazy = released(ACROSS, source='earthengine', lazy=True)
    assert np.array_equal(lazy.values, field.values)


def test_across_zones_a_polygon_and_one_zone_alone(host):
    import shapely
    disc = shapely.Point(6, 51.004).buffer(.004)
    field, alone = (released(disc, [2024], zone=zone, source='earthengine')[2024] for zone in ('', '31N'))
    both = field.aef.grid == alone.aef.grid and alone.attrs.get('resampled') is None
    lon, _ = lonlat_transformer(field.aef.grid).transform(*np.meshgrid(field.x.values, field.y.values))
    missing = (field.values == NO_DATA).all(0)
    assert both and np.array_equal(missing, (alone.values == NO_DATA).all(0)) and .1 < missing.mean() < .4
    same = (field.values == alone.values).all(0)
    assert same[lon < 6].all() and not same[(lon >= 6) & ~missing].all()
