"""The map of change in Python: bytes say what `called` says, the newest question wins, what is wrong is said.

The tests play the browser's part: they hand messages to the panel as the browser sends them.
"""
import json
import threading
from dataclasses import replace

import ipyleaflet
import numpy as np
import pytest
import rasterio
from affine import Affine
from drawn_years import GRID, field, years
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from alphaearth_nb import change_map
from alphaearth_nb.background import false_alarms, fit_background
from alphaearth_nb.changes import change
from alphaearth_nb.change_map import ChangeMap
from alphaearth_nb.change_panel import (RATES, SHADES_OF, bases_of, change_bytes, cut_of, path_facts,
                                        stops_of)
from alphaearth_nb.core import AlphaEarthError
from alphaearth_nb.fields import make_field
from alphaearth_nb.inspection import pixels_lonlat
from alphaearth_nb.probes import fit_probe


@pytest.fixture(scope='module')
def drawn(): return years(0)


@pytest.fixture(scope='module')
def found(drawn): return change(drawn[0])


@pytest.fixture(scope='module')
def shown(drawn):
    made = ChangeMap(drawn[0]).wait()
    yield made
    made.close()


def hear(made, kind, **more):
    "Hand over a message as the browser sends it."
    made.panel._hear(None, dict(type=kind, **more), [])


def lonlat(row, col): return [float(one[0]) for one in pixels_lonlat(GRID, np.array([row]), np.array([col]))]


# ---- bytes

@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.floats(0, .4), st.integers(1, 12))
def test_bytes_from_the_cut_on_are_what_is_called(found, seed, part, least_px):
    "Whatever the distances, at every stop, with small patches and without."
    rng = np.random.default_rng(seed)
    distance = rng.gamma(8, .002, GRID.shape)
    moved = rng.random(GRID.shape) < part
    distance[moved] = rng.uniform(.01, 2, moved.sum())
    distance[rng.random(GRID.shape) < .1] = np.nan
    distance = distance.astype(np.float32)
    one = replace(found, distance=found.distance.copy(data=distance),
                  calls=false_alarms(distance, fit_background(distance)))
    packed = change_bytes(one, least_px)
    assert ((packed == 255) == np.isnan(distance)).all()
    for rate, stop in zip(RATES, stops_of(one, packed, least_px)):
        called = one.called(rate, least_px).values
        assert ((packed < 255) & (packed >= cut_of(rate)) == called).all()
        assert stop['pixels'] == called.sum() and stop['sentence'] == one.sentence(rate, least_px)
    shade, level = packed[packed < 255] % SHADES_OF, np.sqrt(distance[packed < 255])
    assert (np.diff(shade[np.argsort(level)].astype(int)) >= 0).all()      # farther is never a lighter shade


def test_words_say_that_a_share_is_out_of_reach(found):
    "Few pixels cannot promise one false alarm in ten thousand; that is not the same as no change."
    stops = stops_of(found, change_bytes(found))
    none = [one['sentence'] for one in stops if not one['pixels']]
    assert none and all('with so few false alarms' in one for one in none)
    still = change({2017: found.fields['2017'], 2024: field(found.fields['2017'].aef.vectors(), '2024')})
    assert 'could be told from the background' in still.sentence()


def test_two_other_years_are_what_they_are_from_the_start(drawn, found):
    for pair in (('2017', '2018'), ('2018', '2024')):
        again, asked = change(drawn[0], between=pair), found.at(pair)
        assert asked.between == again.between and asked.facts == again.facts and asked.notes == again.notes
        assert np.array_equal(asked.distance, again.distance, equal_nan=True)
        assert [asked.calls.threshold(one) for one in RATES] == [again.calls.threshold(one) for one in RATES]
    with pytest.raises(AlphaEarthError, match='two different years'): found.at((2017, 2019))


def test_same_colours_in_every_year(found, drawn):
    "Where nothing changed the colours stay, although the years are rotated."
    bases, truth = bases_of(found), drawn[1]
    first = found.fields['2017'].aef.rgb(bases['2017'])[~truth].astype(int)
    for year in ('2018', '2024'):
        turned, raw = (found.fields[year].aef.rgb(bases[one])[~truth].astype(int) for one in (year, '2017'))
        assert np.abs(turned - first).mean() < .8*np.abs(raw - first).mean()


# ---- a pixel's path

def test_path_says_which_years_have_no_data(drawn):
    "JSON holds no NaN; a first year without data has no distance, not the distance of itself."
    given = dict(drawn[0])
    for year, rows in ((2017, slice(0, 4)), (2018, slice(2, 6))):
        vectors = given[year].aef.vectors().copy()
        vectors[rows] = np.nan
        given[year] = field(vectors, str(year))
    told = change(given)
    bases = bases_of(told)
    facts = [path_facts(told, bases, *lonlat(row, 40)) for row in (1, 3, 5, 7)]
    assert [one.get('note', '') for one in facts] == [
        'No data here in 2017.', 'No data here in 2017, 2018.', 'No data here in 2018.', '']
    assert [[step['distance'] is None for step in one['steps']] for one in facts] == [
        [True]*3, [True]*3, [False, True, False], [False]*3]
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert np.isnan(told.trajectory(*lonlat(1, 40))[0]['cosine'])


# ---- the newest question wins

def test_the_newest_pair_is_the_one_that_stays(shown):
    "However fast the years are changed, what is shown in the end is what was asked for last."
    for pair in (('2017', '2018'), ('2018', '2024'), ('2017', '2024'), ('2018', '2024')): shown.between = pair
    shown.least_px, shown.rate = 4, .1
    said = shown.wait().change
    assert said.between == ('2018', '2024') and 'from 2018 to 2024' in shown.panel.stops[3]['sentence']
    assert np.array_equal(shown._bytes, change_bytes(said, 4))
    listed = [one['pixels'] for one in said.patches(.1, 4, 10)]
    assert [one['pixels'] for one in shown.panel.patches] == listed
    assert shown.map.layers[-1].name == 'change, 2018 to 2024'
    shown.between, shown.least_px, shown.rate = ('2017', '2024'), 1, .05
    assert shown.wait().change.between == ('2017', '2024')


def test_share_and_smallest_patch_are_followed(shown):
    "Each alone changes what is listed, and only the patch changes the bytes."
    for least_px in (9, 1):
        shown.least_px = least_px
        assert np.array_equal(shown.wait()._bytes, change_bytes(shown.change, least_px))
    kept = shown._bytes
    for rate in (1/2, 1/50, 1/20):
        shown.rate = rate
        listed = [one['pixels'] for one in shown.wait().panel.patches]
        assert listed == [one['pixels'] for one in shown.change.patches(rate, 1, 10)]
    assert shown._bytes is kept


def test_what_is_old_is_not_shown(drawn, monkeypatch):
    "A pair whose comparison ends after another one was asked for is thrown away."
    begun, go_on, real = threading.Event(), threading.Event(), change_map.change
    def slow(*args, **words):
        begun.set()
        go_on.wait(30)
        return real(*args, **words)
    monkeypatch.setattr(change_map, 'change', slow)
    made = ChangeMap(drawn[0], between=(2017, 2018))
    seen = []
    made.panel.observe(lambda told: seen.append(told['new'][0]['sentence']), 'stops')
    assert begun.wait(30)
    made.between = ('2017', '2024')
    go_on.set()
    assert made.wait(60).change.between == ('2017', '2024')
    assert seen and all('to 2018' not in one for one in seen)
    made.close()


@pytest.mark.parametrize('fails', [False, True])
def test_closing_while_years_are_compared_leaves_nothing_behind(drawn, monkeypatch, fails):
    begun, go_on, real = threading.Event(), threading.Event(), change_map.change
    def slow(*args, **words):
        begun.set()
        go_on.wait(30)
        if fails: raise AlphaEarthError('too few pixels')
        return real(*args, **words)
    monkeypatch.setattr(change_map, 'change', slow)
    host = ipyleaflet.Map()
    before = host.layers
    made = ChangeMap(drawn[0], host=host)
    assert begun.wait(30)
    made.close()
    go_on.set()
    made._behind.wait(30)
    assert host.layers == before and 'Error' not in made.message       # nor was it tried


# ---- what the browser says

def test_messages_are_answered_and_rubbish_is_said(shown, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hear(shown, 'click', lon=lonlat(30, 40)[0], lat=lonlat(30, 40)[1])
    assert [one['year'] for one in shown.trajectory] == ['2017', '2018', '2024']
    hear(shown, 'click', lon='somewhere', lat=None)
    assert 'ValueError' in shown.wait().message
    hear(shown, 'save', what='csv')
    assert "one of ('geotiff', 'geojson')" in shown.wait().message
    for _ in range(2): hear(shown, 'save', what='geotiff') or shown.wait()
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written == ['change-2017-2024-2.tif', 'change-2017-2024.tif']
    assert shown.message == 'Written: change-2017-2024-2.tif'
    with rasterio.open('change-2017-2024.tif') as file:
        assert ((file.read(1) == 2) == shown.change.called(.05).values).all()
        assert json.loads(file.tags()['change'])['says'] == shown.change.sentence()
    hear(shown, 'nonsense')
    hear(shown, 'code')
    assert shown.wait().panel.code == shown.code()
    shown.panel.code = ''


def test_tiles_travel_as_one_byte_a_pixel_for_every_stop(shown, monkeypatch):
    "Moving the slider sends no pixels."
    sent = []
    monkeypatch.setattr(shown.panel, 'send', lambda message, buffers=None: sent.append(message))
    zoom = shown.panel.near
    names = ['/'.join(map(str, (zoom, *one))) for one in shown._tiles['2017'].cover(zoom)]
    hear(shown, 'tiles', layer='change', client='page', all=names, missing=names)
    shown.wait()
    assert sorted(name for one in sent for name in one['keys']) == sorted(names)
    sent.clear()
    for rate in RATES: shown.rate = rate
    shown.rate = .05
    shown.wait()
    assert not sent


def test_probe_names_patches_and_table(drawn):
    fields, truth = drawn
    probe = fit_probe(fields[2024], np.where(truth, 2, 1), 'linear', splits=0)
    made = ChangeMap(fields, probe=probe, probe_year=2024).wait()
    assert (made.patches[0]['before'], made.patches[0]['after']) == ('1', '2')
    direct = made.change.transitions(.05)
    assert np.array_equal(made.transitions.hectares, direct.hectares)
    assert made.panel.table['hectares'] == direct.hectares.tolist()
    inside = made.change.called(.05).values
    classes = made.change.probe.predict(fields[2024]).values
    patch = made.patches[0]
    assert truth[patch['row'] + 3, patch['col'] + 3] and inside.sum() > 100
    assert (classes[truth] == 2).mean() > .9
    made.close()


def test_codes_are_shown_like_unit_vectors(drawn, shown):
    coded = ChangeMap({year: one.aef.codes() for year, one in drawn[0].items()}).wait()
    assert (coded._bytes // SHADES_OF == shown._bytes // SHADES_OF).mean() > .9
    assert [one.name for one in coded.map.layers[1:]] == [one.name for one in shown.map.layers[1:]]
    coded.close()


def test_a_grid_in_degrees_has_no_areas_and_says_so(drawn):
    grid = GeoBox(GRID.shape, Affine(1e-4, 0, 5, 0, -1e-4, 51), 'EPSG:4326')
    fields = {year: make_field(one.aef.vectors(), grid, str(year), model='drawn')
              for year, one in drawn[0].items()}
    made = ChangeMap(fields).wait()
    assert made.panel.stops[4]['hectares'] is None and made.panel.stops[4]['pixels'] > 100
    assert 'in metres' in made.message and made.panel.patches == []
    made.close()


# ---- bad input, said at construction

BAD = {
    'one year': (lambda f: {2017: f[2017]}, 'two years or more'),
    'no mapping': (lambda f: [f[2017], f[2024]], 'two years or more'),
    'raw codes': (lambda f: {2017: f[2017].aef.codes().values, 2024: f[2024]}, 'an embedding field'),
    'codes said to be vectors': (lambda f: {2017: f[2017].aef.codes().assign_attrs(state='unit'),
                                            2024: f[2024]}, 'state'),
    'another model': (lambda f: {2017: f[2017], 2024: field(f[2024].aef.vectors(), '2024', 'other')},
                      'the model'),
    'another grid': (lambda f: {2017: f[2017], 2024: f[2024][:, 1:]}, 'the grid of 2024'),
    'another year': (lambda f: {2016: f[2017], 2024: f[2024]}, 'of 2016'),
    'a year twice': (lambda f: {2017: f[2017], '2017': f[2017]}, 'different years'),
}
WORDS = {'a share between': (dict(rate=.07), '1/2'), 'patches of nothing': (dict(least_px=0), 'least_px'),
         'years that are not there': (dict(between=(2017, 2030)), 'two different years'),
         'a year of the probe': (dict(probe_year=2030), 'probe_year')}


@pytest.mark.parametrize('name', [*BAD, *WORDS])
def test_bad_input_is_refused_before_anything_is_on_the_map(name, drawn):
    host, fields = ipyleaflet.Map(), {year: drawn[0][year] for year in (2017, 2024)}
    before = host.layers
    work, words = BAD.get(name, (lambda f: f, None))
    more, words = WORDS.get(name, ({}, words))
    if 'probe_year' in more:
        more = more | dict(probe=fit_probe(fields[2024], np.where(drawn[1], 2, 1), 'linear', splits=0))
    with pytest.raises(Exception) as caught: ChangeMap(work(fields), host=host, **more)
    assert words in str(caught.value) and '\n' not in str(caught.value)
    assert host.layers == before


def test_a_probe_of_another_model_is_refused(drawn):
    other = field(drawn[0][2024].aef.vectors(), '2024', 'other')
    probe = fit_probe(other, np.where(drawn[1], 2, 1), 'linear', splits=0)
    with pytest.raises(AlphaEarthError, match='model'): ChangeMap(drawn[0], probe=probe)
