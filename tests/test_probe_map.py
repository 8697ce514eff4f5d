"""The map that follows its labels: the same state however fast one clicks, and what goes wrong is said.

The tests play the browser's part: they hand messages to the panel as the browser sends them.
"""
import subprocess
import sys
import threading

import ipyleaflet
import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from alphaearth_nb import live, probe_map
from alphaearth_nb.channel import GIVEN
from alphaearth_nb.core import AlphaEarthError
from alphaearth_nb.fields import make_field
from alphaearth_nb.grids import grid_bounds_lonlat, utm_grid
from alphaearth_nb.labels import LabelSet
from alphaearth_nb.probe_map import ProbeMap, _disagreement, _legend, _prediction
from alphaearth_nb.probe_panel import SAVED

SIDE = 80
GRID = utm_grid((3.2, 51., 3.22, 51.02))[:SIDE, :SIDE]
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE]
TRUTH = (ROWS//20 + COLUMNS//20) % 3


def field_of(seed:int=0, grid=GRID, step:int=1, gap:bool=False, model:str='example'):
    "A field of three classes; every model has directions of its own."
    rng = np.random.default_rng(seed)
    centres = np.linalg.qr(rng.normal(size=(64, 3)))[0].T
    truth = TRUTH[::step, ::step][:grid.shape[0], :grid.shape[1]]
    vectors = centres[truth] + .05*rng.normal(size=(*truth.shape, 64))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    if gap: vectors[:10, :10] = np.nan
    return make_field(vectors.astype(np.float32), grid, '2018', model=model)


def point(row:float, column:float) -> tuple[float, float]:
    west, south, east, north = grid_bounds_lonlat(GRID)
    return west + (column + .5)/SIDE*(east - west), north - (row + .5)/SIDE*(north - south)


def say(shown:ProbeMap, **message) -> None: shown.panel._hear(None, message, [])


def click(shown:ProbeMap, row:int, column:int, serial:int=1, class_id:int=0, value=None) -> None:
    lon, lat = point(row, column)
    say(shown, type='label', lon=lon, lat=lat, serial=serial, class_id=class_id, value=value)


def opened(fields=None, labels=None, names=('a', 'b', 'c'), **words) -> ProbeMap:
    fields, labels = field_of() if fields is None else fields, LabelSet() if labels is None else labels
    shown = ProbeMap(fields, labels, **words)
    for name in names: shown.add_class(name)
    return shown.wait(None)


def label_truth(shown:ProbeMap, count:int=12, seed:int=0) -> None:
    rng = np.random.default_rng(seed)
    for number in range(count):
        row, column = (int(one) for one in rng.integers(12, SIDE, 2))
        click(shown, row, column, number + 1, int(TRUTH[row, column]) + 1)


def watched(shown:ProbeMap, layer:str='prediction') -> dict:
    "What a browser would have on its screen: the newest tile of each name, with its legend."
    tiles, where, on = {}, {}, shown.live.tiles[shown.field]
    def receive(message:dict, buffers=None) -> None:
        if message.get('layer') != layer: return
        places = iter(buffers[len(message['keys']):])
        for name, part, placed in zip(message['keys'], buffers, message['placed']):
            if placed == GIVEN: where[name] = np.frombuffer(next(places), '<u2')
            tiles[name] = bytes(part), message['legend']
    shown.panel.send = receive
    names = [f'{on.max_zoom}/{x}/{y}' for x, y in on.cover(on.max_zoom)]
    say(shown, type='tiles', layer=layer, client='x', all=names, missing=names)
    return tiles


# ---- the same end, however fast

def scene(shown:ProbeMap, number:int, rng:np.random.Generator) -> None:
    "One of the things that a person does."
    if number % 19 == 18: return say(shown, type='undo')
    if number % 23 == 22: return say(shown, type='edit_class', id=1, name=f'name {number}')
    if number % 29 == 28: return say(shown, type='edit_class', id=2, colour=f'#0000{number:02x}')
    row, column = (int(one) for one in rng.integers(0, SIDE, 2))
    click(shown, row, column, number + 1, int(TRUTH[row, column]) + 1)


def test_200_clicks_end_the_same_fast_or_slow():
    "Work that is overtaken leaves nothing behind: the screen is that of one by one, and so is the panel."
    ends = []
    for slow in (True, False):
        shown = opened()
        tiles, rng = watched(shown), np.random.default_rng(1)
        for number in range(200):
            scene(shown, number, rng)
            if slow and number % 4 == 0: shown.wait(None)
        shown.wait(None)
        for name, (part, legend) in tiles.items():
            assert part == _prediction(shown, *map(int, name.split('/')))[0] and legend['levels'] == 25
        ends.append((tiles, shown.panel.classes, shown.card, shown.suggestion, shown.areas(), shown.message,
                     shown._dots.data['features'], shown.prediction().values.tolist()))
        shown.close()
    for one, other in zip(*ends): assert one == other
    assert len(ends[0][0]) > 1 and ends[0][2]['rows'] and 'whole field' not in ends[0][5]


def test_labels_of_other_threads_are_followed():
    "Labels may come from anywhere; the counts that are shown in the end are those of all."
    shown = opened()
    def work(number:int) -> None:
        for step in range(25): shown.labels.add(point(20*number + step % 20, 3*step), number + 1)
    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for one in threads: one.start()
    for one in threads: one.join()
    shown.wait(None)
    assert [one['count'] for one in shown.panel.classes] == [25, 25, 25]
    assert len(shown._dots.data['features']) == 75 and shown._state.version == shown.labels.version
    assert sum(one['hectares'] for one in shown.panel.classes) == pytest.approx(SIDE*SIDE/100)


def test_the_later_of_two_threads_has_the_last_word(monkeypatch):
    "A thread that has read the labels and not shown them yet must not show them after a newer one."
    shown, slow, go, read = opened(), threading.Event(), threading.Event(), probe_map.class_facts
    def halting(labels, hectares):
        found = read(labels, hectares)
        if threading.current_thread().name == 'slow' and not slow.is_set(): slow.set(), go.wait(20)
        return found
    monkeypatch.setattr(probe_map, 'class_facts', halting)
    shown.panel.worker.put = lambda name, job: None   # the refit would list the classes again
    threads = [threading.Thread(target=shown.labels.add, args=(point(30, 30), 1), name=name)
               for name in ('slow', 'quick')]
    threads[0].start()
    assert slow.wait(20)
    threads[1].start()
    threads[1].join(.2)                         # without the lock it is done by now; with it, it waits
    go.set()
    for one in threads: one.join()
    assert shown.panel.classes[0]['count'] == 2


def test_what_is_under_way_at_closing_puts_nothing_back():
    "A fit that ends after the map was closed must not bring its layers back."
    shown = opened()
    label_truth(shown)
    shown.wait(None)
    go, there, update = threading.Event(), threading.Event(), shown.live.update
    def slow():
        there.set()
        go.wait(20)
        return update()
    shown.live.update = slow
    shown.labels.undo()
    assert there.wait(20)
    shown.close()
    go.set()
    assert shown.panel.worker.wait(20)
    assert not {*shown._handles.values(), shown._dots} & {*shown.map.layers}


def test_the_picture_comes_before_the_dots(monkeypatch):
    "While a page waits for a picture, nothing else is computed; a page that sleeps holds nothing up."
    shown = opened()
    label_truth(shown)
    tiles = watched(shown)
    shown.wait(None)
    for patience in (20., .01):
        monkeypatch.setattr(probe_map.ProbePanel.painted, '__defaults__', (patience,))
        version, dots = shown.panel._drawn['prediction'].version, len(shown._dots.data['features'])
        click(shown, 33, 3 + dots, class_id=1)
        assert shown.panel.worker.wait(20) and shown.panel._drawn['prediction'].version == version + 1
        if patience > 1:
            assert len(shown._dots.data['features']) == dots and not shown._behind.wait(.1)
            say(shown, type='painted', layer='prediction', version=version + 1)
        shown.wait(20)
        assert len(shown._dots.data['features']) == dots + 1 and tiles


def test_nothing_old_is_shown_once_labels_are_gone():
    "A card that was being made when the labels went must not appear after they went."
    shown = opened()
    label_truth(shown)
    go, there = threading.Event(), threading.Event()
    card = shown.live.card
    def slow(name:str=''):
        found = card(name)
        there.set()
        go.wait(20)
        return found
    shown.wait(None)
    shown.live.card = slow
    click(shown, 50, 50, 99, 1)
    assert there.wait(20)
    for class_id in (1, 2): say(shown, type='edit_class', id=class_id, gone=True)
    shown.panel.worker.wait()
    go.set()
    shown.wait(None)
    assert (shown.panel.card, shown.panel.suggestion, shown.state.kind) == ({}, {}, 'one class')
    assert [one['hectares'] for one in shown.panel.classes] == [None]


def test_tiles_and_legends_are_of_one_state():
    "A class that is learned between two tiles must not turn the bytes of the others into another class."
    shown = opened()
    for row, column in ((30, 5), (30, 30), (50, 50), (45, 25)):
        if TRUTH[row, column] < 2: click(shown, row, column, 1, int(TRUTH[row, column]) + 1)
    shown.wait(None)
    drawn = shown._state
    row, column = np.argwhere(TRUTH == 2)[500]
    shown.labels.observe(lambda changed: None)
    shown._lock.acquire()                       # the worker has fitted, and cannot tell yet
    try:
        click(shown, int(row), int(column), 2, 3)
        state = shown.live.update()
        assert state is not drawn and shown._state is drawn
        name, on = shown.field, shown.live.tiles[shown.field]
        tile = on.max_zoom, *on.cover(on.max_zoom)[0]
        largest = max(one for one in _prediction(shown, *tile)[0] if one < 255)
        legend = _legend(shown, 'prediction')
        assert largest//legend['levels'] < len(legend['colours']) == len(drawn.classes)
    finally: shown._lock.release()
    assert shown.wait(None)._state.classes == shown.state.classes


def test_wait_says_where_the_time_was_too_short():
    shown = opened()
    go = threading.Event()
    shown._behind.put('long', lambda stale: go.wait(20))
    with pytest.raises(AlphaEarthError, match='still at work after 0.05 s'): shown.wait(.05)
    go.set()
    shown.wait(None)


def test_progress_is_said_and_goes_away(monkeypatch):
    monkeypatch.setattr(live, 'CHUNK_PX', 1000)
    shown, said = opened(), []
    shown.panel.line.observe(lambda change: said.append(change['new']), 'text')
    label_truth(shown)
    shown.wait(None)
    assert any('whole field' in one for one in said)
    assert 'whole field' not in shown.message and shown.panel.line.kind == 'info'


# ---- steps

def test_current_never_points_to_a_deleted_class():
    shown = opened()
    label_truth(shown)
    shown.current = 'b'
    say(shown, type='edit_class', id=2, gone=True)
    assert shown.current == 1
    shown.panel.set_state(dict(current=2))      # the browser chose it in that moment
    assert shown.current == 1
    shown.undo()
    shown.current = 2
    say(shown, type='edit_class', id=2, into=3)
    assert shown.current == 3 and shown.wait(None).state.classes == (1, 3)


def test_undo_brings_a_deleted_class_back_with_its_map():
    shown = opened()
    label_truth(shown)
    before = shown.wait(None).prediction().values
    say(shown, type='edit_class', id=2, gone=True)
    assert 2 not in shown.prediction().values
    say(shown, type='undo')
    assert (shown.prediction().values == before).all()
    assert shown.wait(None).message.startswith('Undone: delete a class. ')


def test_renaming_keeps_the_picture_and_recolouring_only_the_legend():
    shown = opened()
    label_truth(shown)
    shown.wait(None)
    tiles = watched(shown)
    before = shown.wait(None).prediction().values
    version = shown.panel._drawn['prediction'].version
    say(shown, type='edit_class', id=1, name='<b>x</b>')
    say(shown, type='edit_class', id=1, colour='#010203')
    shown.wait(None)
    layer = shown.panel._drawn['prediction']
    assert tiles and layer.version == version and layer.facts['legend']['colours'][0] == [1, 2, 3]
    after = shown.prediction()
    assert (after.values == before).all() and after.attrs['class_names'][1] == '<b>x</b>'


def test_a_page_that_is_loaded_again_takes_back_none_of_the_old_labels():
    "Serial numbers begin anew with the page; its first click was refused, so nothing is to be taken back."
    shown = opened()
    click(shown, 30, 30, 1, 1)
    click(shown, 31, 31, 1, 0)
    say(shown, type='retract', serial=1)
    assert len(shown.labels) == 1


def test_what_goes_wrong_is_said_and_the_next_click_works():
    shown = opened(field_of(gap=True), names=())
    assert 'Name a class' in shown.message
    click(shown, 30, 30)
    assert 'No class is chosen' in shown.message and shown.panel.settled == 1
    for name in 'ab': shown.add_class(name)
    click(shown, 30, 30, 2, 1)
    assert 'second class' in shown.wait(None).message and shown.panel.card == {}
    say(shown, type='next')
    assert shown.wait(None).panel.line.kind == 'info'
    click(shown, 3, 3, 3, 2)
    assert 'no data' in shown.wait(None).message
    say(shown, type='save', what='cog')
    assert 'second class' in shown.wait(None).message and shown.panel.line.kind == 'problem'
    click(shown, 200, 3, 4, 7)
    assert "class is '7'" in shown.message
    click(shown, 50, 50, 5, 2)
    assert shown.wait(None).state.kind == 'classes' and shown.panel.line.kind == 'info'
    assert [row['words'] for row in shown.card['rows']] == [] and 'No score yet' in shown.card['sentence']


# ---- several fields, numbers, estimators

def test_two_models_on_two_grids():
    coarse = utm_grid((3.2, 51., 3.22, 51.02))[:SIDE, :SIDE].zoom_out(2)
    shown = opened({'fine': field_of(), 'coarse': field_of(5, coarse, 2, model='other')})
    shown.field = 'coarse'                      # nothing to predict yet, and nothing to complain of
    assert (shown.wait(None).panel.line.kind, shown.panel.suggestion) == ('info', {})
    shown.field = 'fine'
    label_truth(shown, 20)
    tiles = shown.live.tiles
    assert shown._handles['prediction'].max_native_zoom == max(one.max_zoom for one in tiles.values())
    shown.shown = 'disagreement'
    seen = watched(shown.wait(None), 'disagreement')
    shown.wait(None)
    said = np.concatenate([np.frombuffer(part, np.uint8) for part, _ in seen.values()])
    assert set(np.unique(said)) <= {0, 1, 255} and (said == 0).sum() > 5*(said == 1).sum()
    shown.field = 'coarse'
    assert shown.wait(None).prediction().shape == (SIDE//2, SIDE//2)
    hectares = [one['hectares'] for one in shown.panel.classes]
    assert sum(hectares) == pytest.approx(SIDE*SIDE/100, rel=.01)


def test_numbers_are_labels_too(tmp_path):
    shown = opened(names=())
    shown.says = 'number'
    assert 'Type the number' in shown.wait(None).message
    for serial, (row, column) in enumerate(((30, 5), (30, 30), (50, 50), (45, 25), (70, 70)), 1):
        shown.value = float(TRUTH[row, column])
        click(shown, row, column, serial, 0, shown.value)
    assert shown.wait(None).state.kind == 'values' and shown.card['rows'][0]['words'].endswith('R²')
    assert shown.prediction().dtype == np.float32
    paths = [shown.save(what, tmp_path/what) for what in ('geojson', 'geoparquet', 'cog')]
    assert all(path.stat().st_size for path in paths)
    say(shown, type='save', what='polygons')
    assert 'Save the map as GeoTIFF' in shown.wait(None).message


def test_two_fields_rarely_disagree_on_numbers():
    "Two numbers are never quite the same; only a tenth of their range counts."
    shown = opened({'a': field_of(), 'b': field_of(5)}, names=())
    for row, column in ((30, 5), (30, 30), (50, 50), (45, 25), (70, 70)):
        shown.labels.add(point(row, column), value=float(TRUTH[row, column]))
    shown.wait(None)
    on = shown.live.tiles['a']
    said = [np.frombuffer(_disagreement(shown, on.max_zoom, *one), np.uint8) for one in on.cover(on.max_zoom)]
    assert np.concatenate(said)[np.concatenate(said) < 255].mean() < .5


def test_an_estimator_waits_to_be_trained():
    shown = opened()
    label_truth(shown)
    shown.set_estimator(RandomForestClassifier(20, random_state=0))
    assert shown.wait(None).message.startswith('Train RandomForestClassifier') and shown.panel.trains
    assert shown._handles['prediction'] not in shown.map.layers
    say(shown, type='train')
    assert shown.wait(None).card['rows'] and shown._handles['prediction'] in shown.map.layers
    card = shown.card
    click(shown, 30, 30, 50, 1)
    assert shown.wait(None).message.startswith('Train RandomForestClassifier') and shown.card == card
    shown.set_estimator(None)
    say(shown, type='train')
    assert 'set_estimator chooses another' in shown.message
    assert 'Train' not in shown.wait(None).state.message and not shown.panel.trains


@pytest.mark.parametrize('estimator', [None, RandomForestClassifier(5, random_state=0)])
@pytest.mark.parametrize('kept', [True, False])
def test_the_code_repeats_the_map(tmp_path, monkeypatch, estimator, kept):
    monkeypatch.chdir(tmp_path)
    shown = opened(labels=tmp_path/'x.jsonl' if kept else None, estimator=estimator, seed=3)
    label_truth(shown)
    if estimator is not None: shown.train()
    shown.wait(None)
    names = dict(field=field_of(), print=lambda card: names.update(card=str(card)))
    exec(shown.code().replace('...', 'field'), names)
    assert (names['classes'].values == shown.prediction().values).all()
    assert names['card'] == shown.card['sentence']
    assert str(tmp_path) not in shown.code() and 'seed=3' in shown.code()


# ---- the map of the user

def test_layers_of_the_user_stay_where_they_are():
    host = ipyleaflet.Map(layers=(ipyleaflet.LayerGroup(name='ground'),))
    shown = opened(host=host)
    above = ipyleaflet.LayerGroup(name='mine')
    host.add(above)
    label_truth(shown)
    shown.shown = 'how sure'
    shown.wait(None)
    assert [one.name for one in host.layers] == ['ground', 'embedding', 'prediction', 'mine', 'labels']
    shown.close()
    assert [one.name for one in host.layers] == ['ground', 'mine']
    assert not any(isinstance(one, ipyleaflet.DrawControl) for one in host.controls)
    shown.close()


def test_a_polygon_that_is_drawn_becomes_a_label():
    host = ipyleaflet.Map()
    tools = ipyleaflet.DrawControl()
    host.add(tools)
    shown = opened(host=host)
    corners = ((30, 30), (38, 30), (38, 38), (30, 38), (30, 30))
    drawing = dict(type='Feature', properties={}, geometry=dict(
        type='Polygon', coordinates=[[list(point(*one)) for one in corners]]))
    shown.current = 'b'
    tools._handle_leaflet_event(None, dict(event='draw:created', geo_json=drawing), [])
    tools.set_state(dict(data=[drawing]))
    (one,) = shown.labels.labels
    assert (one.class_id, one.shape['type'], tools.data) == (2, 'Polygon', [])
    for class_id in (1, 2, 3): shown.labels.delete_class(class_id)
    tools._handle_leaflet_event(None, dict(event='draw:created', geo_json=drawing), [])
    assert 'No class is chosen' in shown.message
    shown.close()
    assert tools in host.controls


def test_saving_twice_takes_another_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = opened(labels='mine.labels.jsonl')
    label_truth(shown)
    shown.wait(None)
    for _ in range(2):
        for what in SAVED: say(shown, type='save', what=what)
        shown.wait(None)
    names = {path.name for path in tmp_path.iterdir()}
    assert {f'mine{ending}' for ending in SAVED.values()} <= names
    assert {'mine-2.labels.geojson', 'mine-2.classes.tif', 'mine-2.probe.json'} <= names
    shown.close()


def test_a_map_that_is_let_go_at_the_end_of_the_program_does_not_keep_it():
    "No thread can begin any more when the last objects go, and one that is begun then is waited for forever."
    code = """
from alphaearth_nb.channel import Worker
worker = Worker(print)
class Late:
    def __del__(self, put=worker.put): put('late', lambda stale: None)
kept = Late()
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, '')
