"""Maps that users have: geemap, leafmap and ipyleaflet take fields, offline and without signing in."""
import ipyleaflet
import numpy as np
import pytest

from alphaearth_nb.compare_map import CompareMap
from alphaearth_nb.core import ConfigError
from alphaearth_nb.fields import make_field
from alphaearth_nb.grids import utm_grid
from alphaearth_nb.maps import add_field, host_map

HOSTS = ['ipyleaflet', 'leafmap', 'geemap']


def field(seed:int, model:str):
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:40, :40]
    centres = np.linalg.qr(np.random.default_rng(9).normal(size=(64, 5)))[0].T
    vectors = centres[(rows//9 + 2*(columns//13)) % 5] + .05*rng.normal(size=(40, 40, 64))
    grid = utm_grid((3.2, 51., 3.2091, 51.0057))[:40, :40]
    return make_field(vectors/np.linalg.norm(vectors, axis=-1, keepdims=True), grid, '2018', model=model)


@pytest.fixture(scope='module')
def pair(): return field(0, '<i>mine</i>'), field(1, 'theirs')


def of_the_user(name:str) -> ipyleaflet.Map:
    "A map as a user makes it."
    if name == 'ipyleaflet': return ipyleaflet.Map()
    module = pytest.importorskip(f'{name}.{name}')
    return module.Map(ee_initialize=False) if name == 'geemap' else module.Map()


@pytest.mark.parametrize('name', HOSTS)
def test_a_host_is_made_by_its_name(name):
    if name != 'ipyleaflet': pytest.importorskip(name)
    assert type(host_map(name)).__module__.partition('.')[0] == name


@pytest.mark.parametrize('name', HOSTS)
def test_a_field_lies_on_the_map_of_the_user(name, pair):
    host = of_the_user(name)
    before = host.layers
    layer = add_field(host, pair[0])
    assert host.layers == (*before, layer) and layer.name == '&lt;i&gt;mine&lt;/i&gt;, 2018'
    (south, west), (north, east) = layer.bounds
    assert south < host.center[0] < north and west < host.center[1] < east
    host.remove(layer)
    assert host.layers == before


@pytest.mark.parametrize('name', HOSTS)
def test_two_fields_are_compared_on_the_map_of_the_user(name, pair):
    "All views, a click, and back to what it was."
    host = of_the_user(name)
    before = host.layers
    shown = CompareMap(*pair, host=host)
    assert shown.map is host and shown.agreement.procrustes_cosine > .6, shown.message
    assert [one.name for one in host.layers[-2:]] == ['&lt;i&gt;mine&lt;/i&gt;, 2018', 'theirs, 2018']
    shown.view = 'agreement'
    assert host.layers[-1].name == 'agreement'
    shown.view = 'linked'
    assert type(shown._other) is type(host) and shown._other.layers[-1].name == 'theirs, 2018'
    assert shown.inspect(*reversed(host.center))['shared'] >= 0
    shown.close()
    assert host.layers == before and host.comm is not None


def test_a_map_that_answers_no_clicks_is_refused():
    folium = pytest.importorskip('folium')
    with pytest.raises(ConfigError, match='folium.*cannot answer clicks'):
        add_field(folium.Map(), field(0, 'mine'))
