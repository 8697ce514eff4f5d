"""The outline under maps: small, on the Earth, with its source, and without lines that are none."""
import hashlib
import json
from itertools import pairwise

import make_outline
import numpy as np
import pytest
from pages import PACKAGE, ROOT

MOST_KB = 150
OUTLINE = PACKAGE/'static'/'outline.json'


@pytest.fixture(scope='module')
def lines() -> dict[str, list[np.ndarray]]:
    "Coasts and borders, each a list of lines (n, 2) in degrees."
    told = json.loads(OUTLINE.read_text(encoding='utf-8'))
    return {one['properties']['kind']: [np.array(line) for line in one['geometry']['coordinates']]
            for one in told['features']}


def test_it_is_small_and_says_where_it_comes_from():
    assert OUTLINE.stat().st_size <= MOST_KB*1000
    source = json.loads(OUTLINE.read_text(encoding='utf-8'))['source']
    assert source == make_outline.SOURCE and 'public domain' in source['licence']
    notice = (ROOT/'data_samples'/'README.md').read_text(encoding='utf-8')
    assert f'| `{hashlib.sha256(OUTLINE.read_bytes()).hexdigest()}` |' in notice


def test_lines_lie_on_the_earth_and_none_closes_a_polygon_along_its_edge(lines):
    "An edge along the antimeridian or across the whole map would be seen as a line on the ground."
    assert set(lines) == {'coast', 'border'}
    for line in lines['coast'] + lines['border']:
        assert line.shape[0] >= 2 and (np.abs(line) <= (180, 85)).all()
        for start, end in pairwise(line):
            assert (start != end).any() and abs(start[0] - end[0]) < 90
            assert not (min(abs(start[0]), abs(end[0])) > 179.9 and abs(start[1] - end[1]) > .1)


@pytest.mark.parametrize(('kind', 'longitude', 'latitude'), [
    ('coast', 2.92, 51.23), ('coast', 18.42, -33.91), ('coast', 139.9, 35.4), ('coast', -122.5, 37.8),
    ('border', 3.2, 50.75), ('border', -110, 49), ('border', -54.6, -25.6), ('border', 33, 22)])
def test_lines_pass_where_they_should(lines, kind, longitude, latitude):
    "Ostend, Cape Town, Tokyo Bay, San Francisco; Lille, the 49th parallel, Iguazu, Wadi Halfa: within 40 km."
    from shapely import MultiLineString, Point
    shrink = np.array([np.cos(np.radians(latitude)), 1.])
    found = MultiLineString([line*shrink for line in lines[kind]])
    assert found.distance(Point(np.array([longitude, latitude])*shrink)) < .36
