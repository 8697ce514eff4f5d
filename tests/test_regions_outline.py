"""A region that is a polygon: tiles outside are never opened, the inside is as without an outline."""
import geopandas
import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from region_worker import TILE_PX, ZONE, embedded, ground

from alphaearth_nb.codes import NO_DATA
from alphaearth_nb.core import ConfigError
from alphaearth_nb.fields import read_cog
from alphaearth_nb.release_plan import outside


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    "The codes of the region without an outline."
    return read_cog(embedded(tmp_path_factory.mktemp('whole')).files[0]).values


def polygon(corners) -> shapely.Polygon:
    "A hull of points in pixels, in metres of the zone."
    return shapely.MultiPoint([ZONE.affine @ at for at in corners]).convex_hull


corner = st.tuples(st.integers(-20, 150), st.integers(-20, 120))


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(corners=st.lists(corner, min_size=3, max_size=6))
def test_inside_is_the_same_and_outside_is_no_data(whole, tmp_path_factory, corners):
    shape = polygon(corners)
    if shape.geom_type != 'Polygon' or shape.area < 1e4 or not shape.intersects(
            shapely.box(*ZONE.boundingbox.bbox).buffer(-50)): return
    asked, areas = [], []
    def opener(window):
        asked.append(window)
        return ground(window)
    found = embedded(tmp_path_factory.mktemp('part'), opener, region=geopandas.GeoSeries([shape], crs=32631),
                     report=lambda done, total: areas.append((done, total)))
    codes, beyond = read_cog(found.files[0]).values, outside(shape.buffer(-.5), ZONE)
    within = ~outside(shape.buffer(.5), ZONE)
    sure = within == ~beyond                   # but for centres within half a metre of the outline
    assert np.array_equal(codes[:, sure & within], whole[:, sure & within])
    assert (codes[:, sure & ~within] == NO_DATA).all()
    reach = shape.buffer((TILE_PX + 60)*10)
    assert all(reach.intersects(shapely.box(*window.boundingbox.bbox)) for window in asked)
    area = shape.intersection(shapely.box(*ZONE.boundingbox.bbox)).area/1e6
    assert areas[-1] == pytest.approx((area, area), rel=1e-3)


def test_the_outline_belongs_to_the_region(tmp_path):
    def broken(window): raise OSError('the line is dead')
    one, other = (geopandas.GeoSeries([polygon(corners)], crs=32631)
                  for corners in (((0, 0), (90, 0), (0, 90)), ((0, 0), (80, 0), (0, 90))))
    with pytest.raises(OSError): embedded(tmp_path, broken, region=one)
    with pytest.raises(ConfigError, match='outline'): embedded(tmp_path, broken, region=other)
    with pytest.raises(ConfigError, match='outline'): embedded(tmp_path, broken)
    assert embedded(tmp_path, region=one)


def test_far_tiles_are_never_opened(tmp_path):
    asked = []
    small = geopandas.GeoSeries([polygon(((2, 2), (20, 2), (2, 20)))], crs=32631)
    embedded(tmp_path, lambda window: asked.append(window) or ground(window), region=small)
    assert 1 <= len(asked) <= 4
