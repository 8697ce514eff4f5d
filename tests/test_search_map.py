"""The map that searches by example: what is seen is what Python says, however fast one clicks.

The tests play the browser's part: they hand messages to the panel as the browser sends them.
"""
import threading
from dataclasses import replace

import ipyleaflet
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphaearth_nb.codes import quantize
from alphaearth_nb.core import AlphaEarthError, ConfigError
from alphaearth_nb.field_states import as_field
from alphaearth_nb.fields import make_field
from alphaearth_nb.grids import utm_grid
from alphaearth_nb.inspection import pixels_lonlat
from alphaearth_nb.labels import LabelSet
from alphaearth_nb.probe_map import ProbeMap
from alphaearth_nb.search_map import SearchMap, _taken
from alphaearth_nb.search_panel import (
    KINDS, LEVELS, LIKE, ONLY_UNLIKE, SAVED, UNLIKE, Cut, example_places, examples_of, level_edges,
    levels_of_scores,
)
from alphaearth_nb.searching import Search, search, threshold_at

SIDE = 80
GRID = utm_grid((3.2, 51., 3.22, 51.02))[:SIDE, :SIDE]
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE]
TRUTH = (ROWS//20 + COLUMNS//20) % 3


def field_of(gap:bool=False, state:str='unit', model:str='example'):
    "A field of three kinds of ground in squares of 200 m."
    rng = np.random.default_rng(0)
    centres = np.linalg.qr(rng.normal(size=(64, 3)))[0].T
    vectors = centres[TRUTH] + .05*rng.normal(size=(SIDE, SIDE, 64))
    vectors = (vectors/np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)
    if gap: vectors[:10, :10] = np.nan
    if state == 'unit': return make_field(vectors, GRID, '2018', model=model)
    codes = np.ascontiguousarray(np.moveaxis(quantize(vectors), -1, 0))
    return as_field(codes, GRID, dict(state='codes', model=model, valid_period='2018-01-01/2019-01-01'))


def point(row:float, column:float) -> tuple[float, float]:
    lon, lat = pixels_lonlat(GRID, [row], [column])
    return float(lon[0]), float(lat[0])


def say(shown:SearchMap, **message) -> None: shown.panel._hear(None, message, [])


def click(shown:SearchMap, row:int, column:int, kind:str=LIKE, serial:int=1) -> None:
    lon, lat = point(row, column)
    say(shown, type='mark', lon=lon, lat=lat, serial=serial, kind=kind)


def opened(field=None, examples=None, **words) -> SearchMap:
    field, examples = field_of() if field is None else field, LabelSet() if examples is None else examples
    return SearchMap(field, examples, **words).wait(None)


def watched(shown:SearchMap, layer:str='similarity') -> dict:
    "What a browser would have on its screen: the newest version of each tile."
    tiles, on = {}, shown.tiles
    def receive(message:dict, buffers=None) -> None:
        if message.get('layer') != layer: return
        for name, part in zip(message['keys'], buffers): tiles[name] = message['version'], bytes(part)
        say(shown, type='painted', layer=layer, version=message['version'])
    shown.panel.send = receive
    names = [f'{on.max_zoom}/{x}/{y}' for x, y in on.cover(on.max_zoom)]
    say(shown, type='tiles', layer=layer, client='x', all=names, missing=names)
    return tiles


# ---- scores in a byte

@settings(max_examples=60)
@given(st.integers(0, 2**31), st.floats(-1, 1), st.floats(1e-7, 2), st.floats(-1.2, 1.2),
       st.integers(1, 5000))
def test_a_level_is_reached_exactly_where_its_edge_is(seed, low, span, score, size):
    "For every threshold of the slider and the one that was chosen, whatever the scores."
    rng = np.random.default_rng(seed)
    score = float(np.float32(score))
    edges, level = level_edges(low, low + span, score)
    assert edges[level] == np.float32(score) and (np.diff(edges) > 0).all()
    scores = rng.uniform(low, low + span, size).astype(np.float32)
    picked = rng.choice(edges, size)
    scores[::3] = picked[::3]
    scores[1::3] = np.nextafter(picked[1::3], np.float32(-2))
    scores[rng.random(size) < .1] = np.nan
    levels = levels_of_scores(scores, edges)
    for one in {0, level, LEVELS - 1, *rng.integers(0, LEVELS, 20).tolist()}:
        assert ((levels >= one) & (levels < LEVELS) == (scores >= edges[one])).all()
    assert ((levels == 255) == np.isnan(scores)).all()


def counted(facts:dict, level:int) -> tuple:
    "What the browser counts from the numbers that it has."
    shares = [np.mean(np.array(facts[kind]) >= level) if facts[kind] else np.nan
              for kind in ('like', 'unlike')]
    return sum(facts['counts'][level:])/sum(facts['counts']), *shares


@pytest.mark.parametrize('state', ['unit', 'codes'])
@pytest.mark.parametrize('like, unlike', [(1, 0), (2, 1), (7, 3)])
def test_what_the_browser_counts_is_what_python_counts(state, like, unlike):
    field, rng = field_of(True, state), np.random.default_rng(like)
    places = [[point(*one) for one in rng.permutation(np.argwhere((TRUTH == kind) & (ROWS > 12)))[:count]]
              for kind, count in ((2, like), (1, unlike))]
    cut = Cut.of(search(field, places[0], places[1], listed=False))
    facts, found = cut.facts(), cut.search
    for level in {cut.level, 0, LEVELS - 1, *rng.integers(0, LEVELS, 30).tolist()}:
        wanted = threshold_at(found.scores.values, found.ours, found.theirs, float(cut.edges[level]))
        said = wanted.area, wanted.found, wanted.slips
        np.testing.assert_allclose(counted(facts, level), said, atol=1e-12)
    assert facts['pixel_ha'] == pytest.approx(.01, rel=1e-2)


def test_an_example_below_all_pixels_reaches_no_threshold():
    "Held out, an example may score lower than anything in the field; without a score it is not counted."
    found = search(field_of(), point(50, 50), listed=False)
    low = float(np.nanmin(found.scores))
    cut = Cut.of(replace(found, ours=np.array([low - .1, low, 2., np.nan], np.float32)))
    assert cut.facts()['like'] == [-1, *levels_of_scores(np.float32([low, 2.]), cut.edges)]
    assert counted(cut.facts(), 0)[1] == cut.at(0).search.threshold.found == 2/3


# ---- the same end, however fast

def scene(shown:SearchMap, number:int, rng:np.random.Generator) -> None:
    "One of the things that a person does."
    facts = shown.panel.facts
    if number % 7 == 6: return say(shown, type='undo')
    if number % 11 == 10: return say(shown, type='redo')
    if number % 5 == 4:
        if facts: say(shown, type='cut', level=3*number, version=facts['version'], serial=number)
        return
    row, column = (int(one) for one in rng.integers(0, SIDE, 2))
    click(shown, row, column, LIKE if TRUTH[row, column] == 2 else UNLIKE, number + 1)


def test_80_actions_end_the_same_fast_or_slow():
    "Work that is overtaken leaves nothing behind: screen and panel are those of one by one."
    ends = []
    for slow in (True, False):
        shown = opened()
        tiles, rng = watched(shown), np.random.default_rng(1)
        for number in range(80):
            scene(shown, number, rng)
            if slow and number % 4 == 0: shown.wait(None)
        click(shown, 50, 50, LIKE, 99)
        shown.wait(None)
        version, panel = shown.panel._drawn['similarity'].version, shown.panel
        for name, (drawn, part) in tiles.items():
            assert drawn == version == panel.facts['version']
            assert part == _taken(shown, shown._cut.levels, *map(int, name.split('/')))
        facts = {name: panel.facts[name] for name in panel.facts if name != 'version'}
        ends.append(({name: part for name, (_, part) in tiles.items()}, facts, panel.places, panel.counts,
                     panel.marks, shown.message, shown._rings.data))
        like, unlike = (example_places(shown.examples, kind) for kind in KINDS)
        alone = search(field_of(), like, unlike)
        assert shown.places.equals(alone.places) and shown.search.threshold == alone.threshold
        shown.close()
    for one, other in zip(*ends): assert one == other
    assert len(ends[0][0]) > 1 and len(ends[0][2]) > 3


def test_examples_of_other_threads_are_followed():
    shown = opened()
    def work(number:int) -> None:
        for step in range(15): shown.mark(*point(20*number + step, 3*step), KINDS[number])
    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for one in threads: one.start()
    for one in threads: one.join()
    shown.wait(None)
    assert shown.panel.counts == [15, 15] and len(shown.panel.marks) == 30 and shown.search.ours.size == 15


def test_a_threshold_for_an_older_picture_is_passed_over():
    "A level means another score as soon as there is another example."
    shown = opened()
    click(shown, 50, 50)
    old = dict(shown.wait(None).panel.facts)
    go = threading.Event()
    shown.panel.worker.put('long', lambda stale: go.wait(20))
    click(shown, 51, 55)
    say(shown, type='cut', level=3, version=old['version'], serial=1)   # sent before the browser knew
    go.set()
    assert shown.search.threshold.rule != 'given' and shown.panel.facts['serial'] == 0
    now = shown.panel.facts
    say(shown, type='cut', level=3, version=now['version'], serial=1)
    assert shown.search.threshold.rule == 'given' and shown.panel.facts['level'] == 3
    assert shown.panel.facts['counts'] == now['counts']
    click(shown, 58, 58)
    assert shown.search.threshold.rule != 'given'


def test_an_old_list_never_comes_after_a_newer_search(monkeypatch):
    "Places that were being looked for when the examples went must not appear after they went."
    shown, there, go, listed = opened(), threading.Event(), threading.Event(), Search.listed
    def slow(found:Search) -> Search:
        done = listed(found)
        there.set()
        go.wait(20)
        return done
    monkeypatch.setattr(Search, 'listed', slow)
    click(shown, 50, 50)
    assert there.wait(20)
    shown.undo()
    assert shown.panel.worker.wait(20)
    go.set()
    shown.wait(None)
    assert (shown.panel.places, shown.panel.facts, shown.search) == ([], {}, None)


def test_of_many_thresholds_the_last_counts():
    shown = opened()
    click(shown, 50, 50)
    version = shown.wait(None).panel.facts['version']
    for serial, level in enumerate((200, 180, 90, 120), 1):
        say(shown, type='cut', level=level, version=version, serial=serial)
    shown.wait(None)
    assert (shown.panel.facts['level'], shown.panel.facts['serial']) == (120, 4)
    assert shown.threshold == float(shown._cut.edges[120]) and shown.panel.facts['version'] == version
    assert len(shown.panel.places) == len(shown.places)


def test_a_threshold_from_python_is_that_number_and_the_rule_comes_back():
    shown = opened()
    with pytest.raises(ConfigError, match='with an example'): shown.threshold = .5
    click(shown, 50, 50)
    chosen, tiles = shown.threshold, watched(shown)
    shown.threshold = .3
    shown.wait(None)
    level, scores = shown.panel.facts['level'], shown.search.scores.values
    said = np.concatenate([np.frombuffer(part, np.uint8) for _, part in tiles.values()])
    assert shown.threshold == .3 and (shown._cut.levels >= level).sum() == (scores >= np.float32(.3)).sum()
    assert set(np.unique(said)) >= {255} and ((said >= level) & (said < 254)).any()
    with pytest.raises(ConfigError, match='a cosine'): shown.threshold = np.nan
    shown.threshold = None
    assert shown.threshold == chosen and 'threshold=' not in shown.code()


# ---- examples

def test_steps_go_over_classes_that_nobody_made():
    shown = opened()
    for serial, (row, kind) in enumerate(((50, LIKE), (30, UNLIKE)), 1): click(shown, row, 50, kind, serial)
    assert shown.undo() == 'add a label' and shown.wait(None).panel.counts == [1, 0]
    assert shown.undo() == 'add a label' and shown.wait(None).panel.counts == [0, 0]
    assert shown.search is None and shown.panel.facts == {} and shown.panel.places == []
    assert shown.undo() == '' and shown.message == 'There is nothing to undo.'
    assert [shown.redo(), shown.redo(), shown.redo()] == ['add a label', 'add a label', '']
    assert shown.wait(None).panel.counts == [1, 1]
    say(shown, type='undo')
    assert shown.wait(None).message.startswith('Undone: add an example. ')


def test_labels_of_other_classes_are_left_alone():
    labels = LabelSet()
    labels.add_class('forest')
    number = labels.add(point(50, 50), 'forest')
    shown = opened(examples=labels)
    assert shown.panel.counts == [0, 0] and shown.search is None and shown.panel.marks == []
    lon, lat = point(50, 50)
    say(shown, type='remove', lon=lon, lat=lat, reach=.01)
    assert [one.id for one in labels.labels] == [number] and 'No example is that near' in shown.message
    click(shown, 51, 50)
    say(shown, type='remove', lon=lon, lat=lat, reach=.01)
    assert [one.id for one in labels.labels] == [number]
    click(shown, 50, 50)
    say(shown, type='tick', lon=lon, lat=lat, kind=LIKE)
    say(shown, type='tick', lon=lon, lat=lat, kind=UNLIKE)
    assert [len(examples_of(labels, kind)) for kind in KINDS] == [0, 1] and labels.labels[0].class_id == 1


def test_ticks_are_examples_and_can_be_taken_back():
    shown = opened(apart_m=150)
    click(shown, 50, 50)
    one = shown.wait(None).panel.places[3]
    assert one['judged'] == ''
    for kind, counts in ((UNLIKE, [1, 1]), (LIKE, [2, 0]), (LIKE, [1, 0])):
        say(shown, type='tick', lon=one['lon'], lat=one['lat'], kind=kind)
        assert shown.wait(None).panel.counts == counts
    shown.tick(4, right=False)
    wrong = [one['rank'] for one in shown.wait(None).panel.places if one['judged'] == UNLIKE]
    for rank in wrong: shown.tick(rank, right=False)      # Python takes nothing back
    assert shown.wait(None).panel.counts == [1, 1]


def test_examples_are_there_again_and_have_a_file_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = SearchMap(field_of())
    probe = ProbeMap(field_of())
    click(shown, 50, 50)
    click(shown, 30, 50, UNLIKE, 2)
    places, name = shown.places, shown.examples.path.name
    assert name == 'example-2018.search.jsonl' != probe.labels.path.name and name in shown.panel.line.kept
    probe.close()
    shown.close()
    again = SearchMap(field_of())
    assert again.places.equals(places) and again.panel.marks and len(again._rings.data['features']) == 2
    again.close()
    read = opened(examples=LabelSet(name, read_only=True))
    click(read, 51, 51)
    assert 'open for writing' in read.message and read.places.equals(places)


def test_the_first_of_two_quick_clicks_is_taken_back():
    shown = opened()
    click(shown, 50, 50, serial=4)
    say(shown, type='retract', serial=4)
    say(shown, type='retract', serial=4)
    assert len(shown.examples) == 0 and shown.examples.redo() == 'add a label'


def test_a_polygon_that_is_drawn_is_one_example():
    host = ipyleaflet.Map()
    tools = ipyleaflet.DrawControl()
    host.add(tools)
    shown = opened(host=host)
    corners = [[list(point(*one)) for one in ((42, 42), (58, 42), (58, 58), (42, 58), (42, 42))]]
    drawing = dict(type='Feature', properties={}, geometry=dict(type='Polygon', coordinates=corners))
    tools._handle_leaflet_event(None, dict(event='draw:created', geo_json=drawing), [])
    tools.set_state(dict(data=[drawing]))
    assert shown.wait(None).panel.counts == [1, 0] and tools.data == [] and shown.search.ours.size == 1
    assert TRUTH[shown.places.row, shown.places.column].max() == TRUTH[50, 50]
    far = dict(drawing, geometry=dict(type='Polygon', coordinates=[[[9, 45], [9.1, 45], [9, 45.1], [9, 45]]]))
    tools._handle_leaflet_event(None, dict(event='draw:created', geo_json=far), [])
    assert 'off the field' in shown.message and len(shown.examples) == 1


# ---- what goes wrong

def test_what_goes_wrong_is_said_and_nothing_is_lost():
    shown, sent = opened(field_of(gap=True)), []
    shown.panel.send = lambda message, buffers=None: sent.append(message)
    click(shown, 3, 3, serial=7)
    assert 'no data' in shown.message and shown.panel.line.kind == 'problem' and len(shown.examples) == 0
    assert dict(type='refused', serial=7) in sent
    click(shown, 30, 50, UNLIKE)
    assert shown.wait(None).message == ONLY_UNLIKE and shown.search is None
    say(shown, type='save', what='hits')
    assert 'with an example' in shown.wait(None).message
    click(shown, 50, 50)
    assert shown.wait(None).panel.line.kind == 'info'
    shown.examples.remove(examples_of(shown.examples, UNLIKE)[0].id)
    before = shown.wait(None).places
    click(shown, 50, 50, UNLIKE)                     # the same pixel is both: nothing can be found
    shown.wait(None)
    assert 'different from each other' in shown.message and shown.panel.line.kind == 'problem'
    assert len(shown.places) == len(before) and len(shown.examples) == 2
    say(shown, type='undo')
    assert shown.wait(None).panel.line.kind == 'info'
    say(shown, type='text', text='ponds')
    assert 'Pass model=' in shown.wait(None).message and shown.texts == []
    say(shown, type='mark', lon='a', lat=1, serial=1, kind=LIKE)
    assert shown.panel.line.kind == 'problem'


def test_fields_that_cannot_be_searched_are_refused_before_anything_is_begun(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    field, codes = field_of(), field_of(state='codes')
    for bad, words in ((codes.assign_attrs(state='unit'), 'float'),
                       (field.assign_attrs(state='raw'), 'codes'),
                       (field[:3], 'A00 to A63'), (field.values, 'an embedding field'),
                       ('nowhere.tif', 'an existing GeoTIFF')):
        with pytest.raises(AlphaEarthError, match=words): SearchMap(bad)
    with pytest.raises(AlphaEarthError, match='codes of unit vectors'): SearchMap(codes.copy(data=codes//2))
    assert not list(tmp_path.iterdir())


def test_a_file_and_both_states_find_the_same(tmp_path):
    codes = field_of(state='codes')
    codes.aef.to_cog(tmp_path/'field.tif')
    found = []
    for field in (codes, tmp_path/'field.tif', field_of()):
        shown = opened(field)
        for row, kind in ((50, LIKE), (30, UNLIKE)): click(shown, row, 50, kind)
        found.append(shown.search)
    assert found[0].places.equals(found[1].places)
    np.testing.assert_allclose(found[2].scores, found[0].scores, atol=.03)
    assert found[0].field.dtype == np.int8


# ---- kinds, the map of the user, files

def test_kinds_follow_the_hits_and_never_outlive_them():
    shown = opened()
    shown.shown = 'kinds'
    click(shown, 50, 50)
    shown.threshold = -.5
    shown.wait(None)
    assert len(shown.panel.kinds) == 4 and shown._handles['kinds'] in shown.map.layers
    assert sum(one['hectares'] for one in shown.panel.kinds) == pytest.approx(SIDE*SIDE/100, rel=1e-2)
    shown.split = 2
    assert len(shown.wait(None).panel.kinds) == 2
    drawn = watched(shown, 'kinds')
    shown.wait(None)
    assert {one for _, part in drawn.values() for one in part} == {0, 1, 255}
    shown.shown = 'similarity'
    click(shown, 30, 50, UNLIKE)
    shown.wait(None).shown = 'kinds'                      # looked at again: of the hits that there are now
    hits = shown.wait(None).search.hits().values
    assert (shown._clusters.map.values > 0).tolist() == hits.tolist()
    shown.threshold = 1.5
    shown.wait(None)
    assert shown.panel.kinds == [] and shown._handles['kinds'] not in shown.map.layers
    for _ in range(2): shown.undo()
    assert shown.wait(None).panel.kinds == [] and shown.search is None


def test_layers_of_the_user_stay_where_they_are():
    host = ipyleaflet.Map(layers=(ipyleaflet.LayerGroup(name='ground'),))
    shown = opened(host=host)
    host.add(ipyleaflet.LayerGroup(name='mine'))
    click(shown, 50, 50)
    shown.wait(None)
    assert [one.name for one in host.layers] == ['ground', 'embedding', 'similarity', 'mine', 'examples']
    shown.close()
    shown.close()
    assert [one.name for one in host.layers] == ['ground', 'mine']
    assert not any(isinstance(one, ipyleaflet.DrawControl) for one in host.controls)


def test_saving_twice_takes_another_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = opened(examples='mine.search.jsonl')
    click(shown, 50, 50)
    for _ in range(2):
        for what in SAVED: say(shown, type='save', what=what)
        shown.wait(None)
    names = {path.name for path in tmp_path.iterdir()}
    assert {f'mine{ending}' for ending in SAVED.values()} <= names
    assert {f'mine-2{ending}' for ending in SAVED.values()} <= names
    shown.close()


def test_wait_says_where_the_time_was_too_short():
    shown, go = opened(), threading.Event()
    shown._behind.put('long', lambda stale: go.wait(20))
    with pytest.raises(AlphaEarthError, match='still at work after 0.05 s'): shown.wait(.05)
    go.set()
    shown.wait(None)
