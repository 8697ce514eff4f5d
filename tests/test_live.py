"""The engine of the live map: closed forms against brute force, reads counted, threads, bad labels, files.

Labels come from a real `LabelSet`; fields lie on several grids, in memory and on disk.
"""
import json
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.naive_bayes import GaussianNB

import alphaearth_nb.live as live_page
import alphaearth_nb.live_state as live_state
from alphaearth_nb.core import CheckpointError, ConfigError, FieldError, LabelError, PlaceNotFound
from alphaearth_nb.fields import make_field
from alphaearth_nb.grids import pixels_of_points, utm_grid
from alphaearth_nb.intervals import balanced_accuracy
from alphaearth_nb.labels import LabelSet
from alphaearth_nb.live import LiveProbe
from alphaearth_nb.live_fit import LEAST_NORM, class_targets, fit_linear, ground_blocks, label_means
from alphaearth_nb.probes import fit_probe

SIDE = 64
GRID = utm_grid((3.0, 51.0, 3.1, 51.1))[:SIDE, :SIDE]
NAMES = ('maize', 'grass', 'water')


def area_of(seed:int=0) -> np.ndarray:
    return np.kron(np.random.default_rng(seed).integers(1, 4, (8, 8)), np.ones((8, 8), int))


def field_of(noise:float=1.5, seed:int=1, grid:GeoBox=GRID) -> xr.DataArray:
    "A field of three noisy clusters in patches, with a corner without data."
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(4, 64))[area_of()] + noise*rng.normal(size=(SIDE, SIDE, 64))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    vectors[:5, :5] = np.nan
    return make_field(vectors, grid, '2018', model=f'model {seed}')


FIELD = field_of()


def lonlat(row:float, column:float, grid:GeoBox=GRID) -> tuple[float, float]:
    "Degrees of the centre of a pixel."
    from pyproj import Transformer
    return Transformer.from_crs(grid.crs.proj, 4326, always_xy=True).transform(
        *grid.pix2wld(column + .5, row + .5))


def ring(top:float, left:float, bottom:float, right:float) -> dict:
    "A box of pixels as a polygon."
    corners = ((top, left), (top, right), (bottom, right), (bottom, left), (top, left))
    return {'type': 'Polygon', 'coordinates': [[lonlat(row - .5, column - .5) for row, column in corners]]}


def begun(fields:object=FIELD, clicks:int=24, seed:int=0) -> tuple[LiveProbe, LabelSet]:
    "A live probe with clicks in three classes."
    labels = LabelSet(by='test')
    for name in NAMES: labels.add_class(name)
    for row, column in np.random.default_rng(seed).integers(6, SIDE, (clicks, 2)):
        labels.add(lonlat(row, column), int(area_of()[row, column]))
    live = LiveProbe(fields, labels)
    live.update()
    return live, labels


# ---- what is fitted and scored is what brute force fits and scores

@settings(max_examples=15)
@given(st.integers(0, 10_000), st.integers(4, 90), st.integers(0, 3))
def test_cards_equal_refits(seed, clicks, polygons):
    "Answers of the card come from fits that really left the label, or its whole block, out."
    live, labels = begun(clicks=clicks, seed=seed)
    rng = np.random.default_rng(seed)
    for row, column in rng.integers(6, 50, (polygons, 2)):
        labels.add(ring(row, column, row + 12, column + 9), int(area_of()[row, column]))
    state = live.update()
    if state.kind != 'classes': return
    (x, label), truth = state.basis.pixels['field'], state.basis.truth
    for groups in (np.arange(len(truth)), ground_blocks(state.basis.metres)[0]):
        found = state.fits['field'].left_out(groups[label])
        for one in np.unique(groups):
            out = (groups == one)[label]
            if out.all(): continue
            again = fit_linear(x[~out], class_targets(truth[label][~out], len(state.classes))).scores(x[out])
            np.testing.assert_allclose(found[out], again, atol=1e-6)


@pytest.mark.parametrize('clicks', [10, 60, 300])
def test_the_map_is_that_of_the_probe(clicks):
    "`fit_probe` with the same pixels says nearly the same; it leaves the constant out of the least norm."
    labels = begun(clicks=clicks)[1]
    live = LiveProbe(FIELD, labels, ridge=LEAST_NORM)
    live.update()
    theirs = fit_probe(FIELD.aef.codes(), labels.to_geodataframe(), 'linear', intercept=True, splits=0)
    same = live.predict().values == theirs.predict(FIELD.aef.codes()).values
    assert same.mean() > .97
    exact = live.to_probe().predict(FIELD.aef.codes())
    np.testing.assert_array_equal(exact.values, live.predict().values)


def test_polygons_count_as_one_label():
    live, labels = begun(clicks=9)
    labels.add(ring(20, 20, 44, 44), 'maize')
    state = live.update()
    assert state.used == 10 and len(state.basis.pixels['field'][1]) == 9 + 200
    assert live.card().confusion.sum() == 10


def test_a_polygon_is_left_out_as_a_whole():
    "Two polygons of a made-up class, each on other ground, cannot find each other; their own pixels could."
    live, labels = begun(clicks=30)
    made_up = labels.add_class('made up')
    for one in (1, 2):
        row, column = np.argwhere(area_of()[8:, 8:] == one)[0] + 8
        labels.add(ring(row, column, row + 8, column + 8), made_up)
    state = live.update()
    label, truth = state.basis.pixels['field'][1], state.basis.truth
    answers = label_means(state.fits['field'].left_out(label), label).argmax(1)
    assert (answers[truth == 3] != 3).all()
    assert live.card().random.value == pytest.approx(balanced_accuracy(truth, answers, range(4)))


def test_a_lonely_class_is_named_on_the_card():
    live, labels = begun(clicks=0)
    for column in range(10, 60, 5):
        for row, name in ((12, 'maize'), (40, 'grass')): labels.add(lonlat(row, column), name)
    labels.add(ring(50, 50, 53, 53), 'water')
    live.update()
    card = live.card()
    assert card.notes[0] == "'water' with one label only: not in the random score."
    assert card.notes[1].startswith("'water' in one block of ") and card.random and card.blocked


# ---- nothing is done again that did not change

class Counted:
    "Counts the calls of a function."
    def __init__(self, function): self.function, self.calls = function, 0

    def __call__(self, *arguments, **words):
        self.calls += 1
        return self.function(*arguments, **words)


def test_features_are_read_once(monkeypatch):
    read, fit = Counted(live_page.see), Counted(live_state.fit_linear)
    monkeypatch.setattr(live_page, 'see', read)
    monkeypatch.setattr(live_state, 'fit_linear', fit)
    live, labels = begun(clicks=30)
    assert (read.calls, fit.calls) == (30, 1)
    before = live.state
    assert live.update() is before and (read.calls, fit.calls) == (30, 1)
    labels.add(lonlat(30, 30), 'maize')
    live.update()
    assert (read.calls, fit.calls) == (31, 2)
    labels.relabel(31, 'grass')                        # says something else at the same place
    live.update()
    assert (read.calls, fit.calls) == (31, 3)
    labels.rename_class('grass', 'meadow')             # nothing that counts
    assert live.update().names[2] == 'meadow' and (read.calls, fit.calls) == (31, 3)
    labels.add((60., 10.), 'maize')                    # off the field
    assert live.update().used == 31 and (read.calls, fit.calls) == (32, 3)
    labels.undo(), labels.undo(), labels.undo(), labels.undo()
    assert live.update().used == 30 and (read.calls, fit.calls) == (32, 4)


def test_undo_gives_the_map_of_before():
    live, labels = begun()
    before = live.predict().values
    labels.add(lonlat(40, 40), 'water')
    live.update()
    labels.undo()
    live.update()
    np.testing.assert_array_equal(live.predict().values, before)


# ---- two fields, other grids, files

def test_fields_on_other_grids():
    "Labels count where all fields have data; each field is predicted on its own grid."
    half = FIELD.isel(x=slice(20, SIDE))
    live, labels = begun({'a': FIELD, 'b': half, 'c': field_of(2.5, seed=2)})
    state = live.update()
    outside = sum(pixels_of_points(half.aef.grid, *np.array([one.shape['coordinates']]).T)[0][0] < 0
                  for one in labels.labels)
    assert state.left_out == {"lies off the field of 'b'": outside} and state.used == 24 - outside
    assert live.predict('b').shape == (SIDE, SIDE - 20) and live.predict('c').shape == (SIDE, SIDE)
    np.testing.assert_array_equal(live.predict('b').values, live.predict('a').values[:, 20:])
    zoom = live.tiles['a'].max_zoom
    for x, y in live.tiles['a'].cover(zoom):
        same, differ = live.disagreement('a', 'b', zoom, x, y), live.disagreement('a', 'c', zoom, x, y)
        assert set(np.unique(same)) <= {0, 255} and set(np.unique(differ)) <= {0, 1, 255}
        answers = [live.tile(name, zoom, x, y)[0] for name in 'ac']
        np.testing.assert_array_equal(differ == 255, (answers[0] == 255) | (answers[1] == 255))


def test_degrees():
    "On a grid in degrees pixels become smaller to the north."
    grid = GeoBox((SIDE, SIDE), Affine(1e-3, 0, 3.0, 0, -1e-3, 60.0), 'EPSG:4326')
    live = LiveProbe(field_of(grid=grid), labels := LabelSet())
    for name in NAMES: labels.add_class(name)
    for row, column in np.random.default_rng(0).integers(6, SIDE, (30, 2)):
        labels.add(lonlat(row, column, grid), int(area_of()[row, column]))
    live.update()
    live.predict()
    cells = (111.195e3*1e-3)**2*np.cos(np.radians(60 - 1e-3*(np.arange(SIDE) + .5)))/1e4
    whole = cells.sum()*SIDE - cells[:5].sum()*5
    assert sum(live.areas().values()) == pytest.approx(whole, rel=1e-3)


@pytest.fixture(scope='module')
def files(tmp_path_factory) -> dict:
    "The field as a COG, and with its rows from the south."
    import rasterio
    folder = tmp_path_factory.mktemp('live')
    north = FIELD.aef.to_cog(folder/'north.tif')
    with rasterio.open(north) as file: codes, profile = file.read(), file.profile
    a, b, c, d, e, f = tuple(profile['transform'])[:6]
    profile |= {'driver': 'GTiff', 'transform': Affine(a, b, c, d, -e, f + e*SIDE)}
    profile = {key: value for key, value in profile.items() if not key.startswith('block') and key != 'tiled'}
    with rasterio.open(folder/'south.tif', 'w', **profile) as file: file.write(codes[:, ::-1])
    return {'north': north, 'south': folder/'south.tif'}


@pytest.mark.parametrize('which', ['north', 'south'])
def test_files_answer_like_memory(files, which):
    memory, labels = begun()
    live = LiveProbe(files[which], labels)
    live.update()
    np.testing.assert_allclose(live.state.weights['field'], memory.state.weights['field'], atol=1e-6)
    np.testing.assert_array_equal(live.predict().values, memory.predict().values)
    assert live.suggest() is not None and live.fields['field'].codes is None


# ---- bad input

def test_messages_lead_on():
    live, labels = begun(clicks=0)
    assert live.state.message == 'Pick a class (1–9), then click the map.'
    with pytest.raises(LabelError, match='Pick a class'): live.predict()
    with pytest.raises(LabelError, match='Pick a class'): live.to_probe()
    assert live.card().sentence == live.state.message
    labels.add(lonlat(20, 20), 'maize')
    assert live.update().message == 'Label a second class to see a prediction.'
    zoom = live.tiles['field'].min_zoom
    best, sure = live.tile('', zoom, *live.tiles['field'].cover(zoom)[0])
    assert (best == 255).all() and (sure == 0).all()
    labels.add((10., 10.), 'grass')
    assert live.update().message == ('Label 2 lies off the field and is not used. '
                                     'Label a second class to see a prediction.')
    labels.add(lonlat(2, 2), 'grass')
    assert '2 lies off the field, 3 lies on no data' in live.update().message
    labels.add(lonlat(30, 30), 'grass')
    assert live.update().kind == 'classes' and "'water' has no label yet" in live.state.message


SHAPES = st.sampled_from([
    {'type': 'Point', 'coordinates': list(lonlat(30, 30))}, {},
    {'type': 'Point'}, {'type': 'Point', 'coordinates': []}, {'type': 'Bubble', 'coordinates': [1, 2]},
    {'type': 'Point', 'coordinates': [float('nan'), 51]}, {'type': 'Point', 'coordinates': [1e9, -1e9]},
    {'type': 'Point', 'coordinates': [0, 90]}, {'type': 'Polygon', 'coordinates': [[[3, 51]]*4]}, None,
    {'type': 'Polygon', 'coordinates': [[[-180, -80], [180, -80], [180, 84], [-180, 84], [-180, -80]]]},
    {'type': 'LineString', 'coordinates': [[3, 51], [3.1, 51.1]]}])


@settings(max_examples=40)
@given(st.lists(st.tuples(SHAPES, st.integers(0, 5), st.none() | st.floats()), max_size=6))
def test_bad_labels_do_not_stop_the_loop(bad):
    "Whatever a label is, it counts or it has a reason."
    live, labels = begun(clicks=12)
    first = labels.labels[0]
    every = [*labels.labels, *(replace(first, id=100 + number, shape=shape, class_id=class_id, value=value)
                               for number, (shape, class_id, value) in enumerate(bad))]
    live.labels = type('Any', (), dict(version='other', labels=every, classes=labels.classes))
    state = live.update()
    assert state.used + sum(state.left_out.values()) == len(every) and state.used >= 12
    assert set(state.reasons) <= {one.id for one in every} and live.predict() is not None
    live.suggest(), live.card()


def test_bad_fields_are_refused(tmp_path):
    with pytest.raises(FieldError, match='an embedding field or a path'):
        LiveProbe(np.zeros((3, 3)), LabelSet())
    with pytest.raises(PlaceNotFound, match='must be a file'): LiveProbe(tmp_path/'no.tif', LabelSet())
    with pytest.raises(ConfigError, match='one field or more'): LiveProbe({}, LabelSet())


# ---- the next place

@settings(max_examples=20)
@given(st.integers(0, 1000), st.integers(0, 40), st.integers(0, 12))
def test_suggestions_are_free_and_repeat(seed, clicks, skip):
    "Never a labelled pixel or one without data; the same labels give the same place."
    live, labels = begun(clicks=clicks, seed=seed)
    labels.add(ring(10, 10, 40, 40), 'maize')
    live.update()
    found, again = live.suggest(skip), LiveProbe(FIELD, labels)
    again.update()
    assert again.suggest(skip) == found and found.reason.endswith(('.', '?'))
    row, column = (int(each[0]) for each in pixels_of_points(GRID, [found.lon], [found.lat]))
    taken = {tuple(int(each[0]) for each in pixels_of_points(GRID, *np.array([one.shape['coordinates']]).T))
             for one in labels.labels[:clicks]}
    assert np.isfinite(FIELD.values[:, row, column]).all() and (row, column) not in taken
    assert not (10 <= row < 40 and 10 <= column < 40)


def test_where_two_fields_disagree_comes_first():
    "The second field is the first but for a square, where it shows other ground."
    vectors = FIELD.aef.vectors().copy()
    vectors[16:32, 16:32] = vectors[16:32, 16:32][::-1, ::-1]     # other patches of the same square
    live, labels = begun({'a': FIELD, 'b': make_field(vectors, GRID, '2018', model='b')}, clicks=0)
    for row, column in np.random.default_rng(1).integers(36, SIDE, (60, 2)):
        labels.add(lonlat(row, column), int(area_of()[row, column]))
    assert live.update().kind == 'classes'
    for skip in range(3):
        found = live.suggest(skip)
        row, column = (int(each[0]) for each in pixels_of_points(GRID, [found.lon], [found.lat]))
        assert 16 <= row < 32 and 16 <= column < 32
        assert "'a' sees " in found.reason and "'b' sees " in found.reason


def test_everything_labelled_leaves_nothing_to_suggest():
    live, labels = begun(clicks=6)
    labels.add(ring(-1, -1, SIDE + 1, SIDE + 1), 'maize')
    live.update()
    assert live.suggest() is None


# ---- threads

def test_a_prediction_keeps_the_state_it_began_with(monkeypatch):
    "Labels that come meanwhile change the next prediction, not half of this one."
    monkeypatch.setattr(live_page, 'CHUNK_PX', 8*SIDE)
    live, labels = begun()
    before = live.predict().values
    def meddle(share):
        labels.add(lonlat(6 + int(50*share), 9), 'water')
        live.update()
    np.testing.assert_array_equal(live.predict(progress=meddle).values, before)
    assert (live.predict().values != before).any()


def test_cancelled_is_asked_between_pieces(monkeypatch):
    monkeypatch.setattr(live_page, 'CHUNK_PX', 8*SIDE)
    live, _ = begun()
    shares = []
    assert live.predict(progress=shares.append, cancelled=lambda: len(shares) == 3) is None
    assert shares == [8/SIDE, 16/SIDE, 24/SIDE] and live.areas() == {}


def test_updates_and_predictions_at_once():
    "Clicks in one thread, tiles and predictions in two others: each answer belongs to one state."
    live, labels = begun({'a': FIELD, 'b': field_of(2., seed=3)})
    zoom = live.tiles['a'].min_zoom
    tile, wrong, stop = (zoom, *live.tiles['a'].cover(zoom)[0]), [], threading.Event()
    def ask():
        try:
            while not stop.is_set():
                live.tile('a', *tile), live.disagreement('a', 'b', *tile), live.suggest(), live.card('b')
                assert set(np.unique(live.predict('b'))) <= {0, 1, 2, 3}
        except BaseException as error: wrong.append(error)
    def follow():
        try:
            while not stop.is_set(): live.update()
        except BaseException as error: wrong.append(error)
    threads = [threading.Thread(target=one) for one in (ask, ask, follow)]
    for one in threads: one.start()
    rng, end = np.random.default_rng(5), time.monotonic() + 3
    while time.monotonic() < end and not wrong:
        row, column = rng.integers(6, SIDE, 2)
        labels.add(lonlat(row, column), int(area_of()[row, column]))
        if rng.random() < .3: labels.undo()
    stop.set()
    for one in threads: one.join()
    if wrong: raise wrong[0]
    assert live.update().used == len(labels)


# ---- numbers, estimators, files

def test_numbers_in_closed_form():
    "R² and the mean error are those of fits that left each label out."
    live = LiveProbe(FIELD, labels := LabelSet())
    truth = 100 + 40*FIELD.values[3]
    for row, column in np.random.default_rng(0).integers(6, SIDE, (90, 2)):
        labels.add(lonlat(row, column), value=float(truth[row, column]))
    state = live.update()
    x, numbers = state.basis.pixels['field'][0], state.basis.truth
    others = lambda i: fit_linear(np.delete(x, i, 0), np.delete(numbers, i)[:, None], constant=10.)
    again = np.array([others(i).scores(x[i:i + 1])[0, 0] for i in range(len(x))])
    card = live.card()
    assert card.mae_random.value == pytest.approx(np.abs(again - numbers).mean(), abs=1e-5)
    spread = ((numbers - numbers.mean())**2).sum()
    assert card.random.value == pytest.approx(1 - ((again - numbers)**2).sum()/spread, abs=1e-6)
    assert state.limits == (numbers.min(), numbers.max()) and 'mean error' in card.sentence
    live.set_estimator(RandomForestRegressor(10, random_state=0))
    live.update(), live.train()
    assert np.nanmin(live.predict()) >= numbers.min() and live.card().random.value < 1
    with pytest.raises(LabelError, match='Use predict for a map'): live.to_probe()


def test_numbers_of_two_fields():
    "Numbers that are a tenth of the range apart are different."
    live = LiveProbe({'a': FIELD, 'b': field_of(2.5, seed=2)}, labels := LabelSet())
    for row, column in np.random.default_rng(0).integers(6, SIDE, (60, 2)):
        labels.add(lonlat(row, column), value=float(area_of()[row, column]))
    live.update()
    zoom = live.tiles['a'].max_zoom
    for tile in live.tiles['a'].cover(zoom):
        differ = live.disagreement('a', 'b', zoom, *tile)
        one, other = (live.tile(name, zoom, *tile)[0].astype(int) for name in 'ab')
        there = (one < 255) & (other < 255)
        np.testing.assert_array_equal(differ < 255, there)
        np.testing.assert_array_equal(differ[there] == 1, np.abs(one - other)[there] > 25)
        assert 0 < differ[there].mean() < (one != other)[there].mean()


@pytest.mark.parametrize('estimator', [GaussianNB(), RandomForestClassifier(20, random_state=0)])
def test_any_estimator(estimator):
    live, labels = begun(clicks=60)
    live.set_estimator(estimator)
    assert live.update().stale and not live.state.estimators
    live.train()
    probe = live.to_probe()
    np.testing.assert_array_equal(probe.predict(FIELD.aef.codes()).values, live.predict().values)
    assert not hasattr(estimator, 'classes_') and probe.kind == type(estimator).__name__
    with pytest.raises(CheckpointError, match="of kind 'linear'"): live.probe_to_json('never.json')
    labels.delete_class('water')                       # the old fit names a class that is gone
    assert live.update().stale and set(np.unique(live.predict())) <= {0, 1, 2}
    assert live.suggest() is not None and live.card().random.value > .4


def test_json_round_trip(tmp_path):
    live, labels = begun()
    live.probe_to_json(tmp_path/'probe.json')
    read = LiveProbe.probe_from_json(tmp_path/'probe.json')
    np.testing.assert_array_equal(read.predict(FIELD).values, live.to_probe().predict(FIELD).values)
    content = json.loads((tmp_path/'probe.json').read_text())
    assert [one['name'] for one in content['classes']] == list(NAMES)
    assert content['classes'][0]['colour'] == labels.classes[0].colour and len(content['labels_sha256']) == 64
    labels.add(lonlat(40, 40), 'maize')
    live.update()
    live.probe_to_json(tmp_path/'probe.json', overwrite=True)
    assert json.loads((tmp_path/'probe.json').read_text())['labels_sha256'] != content['labels_sha256']


FORGED = [('classes', []), ('weights', [[1.]]), ('weights', 'x'), ('offset', []), ('identity', {}),
          ('identity', 3), ('notes', 3), ('labels_sha256', None), ('classes', [{'id': 1}]),
          ('classes', [{'id': -1, 'name': 'a', 'colour': '#112233', 'pixels': 1}]),
          ('classes', [{'id': 1, 'name': 7, 'colour': '#112233', 'pixels': 1}]),
          ('classes', [{'id': 1, 'name': 'a', 'colour': 'javascript:', 'pixels': 1}])]


@pytest.mark.parametrize('entry, value', FORGED)
def test_forged_files_are_refused(tmp_path, entry, value):
    "A right checksum over wrong content is no passport."
    import hashlib
    live, _ = begun()
    live.probe_to_json(tmp_path/'probe.json')
    content = json.loads((tmp_path/'probe.json').read_text()) | {entry: value}
    content.pop('sum')
    content['sum'] = hashlib.sha256(live_state._text(content).encode()).hexdigest()
    (tmp_path/'probe.json').write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match='Export it again'):
        LiveProbe.probe_from_json(tmp_path/'probe.json')
