"""A field that is handed over to Earth Engine arrives whole, once, and is the same when it is read back."""
import json
import os
import stat

import numpy as np
import pytest
from cloud_storage import back_images, storing
from earth_engine import serving, waves
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alphaearth_nb import ee_upload
from alphaearth_nb.codes import NO_DATA
from alphaearth_nb.core import AlphaEarthError, FieldError, FileExists
from alphaearth_nb.ee_fields import decode_image, earthengine_field
from alphaearth_nb.ee_requests import EarthEngineError, Waiting
from alphaearth_nb.ee_upload import UploadPlan, send_file, upload
from alphaearth_nb.fields import make_field
from alphaearth_nb.grids import utm_grid

URI, ASSET = 'gs://mine/fields/one.tif', 'projects/my-project/assets/one'
PAUSES = []
QUICK = Waiting(sleep=PAUSES.append, answer_s=5)
SMALL = 2**18


def some_field(seed=0, side=90):
    "A field with a hole."
    vectors = np.random.default_rng(seed).normal(size=(side, side, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    vectors[10:20, 30:50] = np.nan
    return make_field(vectors, utm_grid((3.2, 51.0, 3.3, 51.1))[:side, :side], '2023', model='mine')


@pytest.fixture
def both(monkeypatch, tmp_path):
    "A store, an Earth Engine that reads from it, and pieces small enough for several."
    import ee
    monkeypatch.setenv('AE_CACHE_DIR', str(tmp_path/'cache'))
    monkeypatch.setattr(ee_upload, 'PIECE', SMALL)
    PAUSES.clear()
    with storing(monkeypatch) as storage, serving(waves) as engine:
        storage.assets = back_images(engine, storage)
        engine.initialize()
        storage.engine = engine
        yield storage
        ee.Reset()


def send(field, **options): return upload(field, URI, ASSET, waiting=QUICK, quiet=True, **options)


def notes(tmp_path): return [path.name for path in (tmp_path/'cache').rglob('*') if path.is_file()]


def test_a_field_comes_back_with_the_same_codes(both, tmp_path):
    import ee
    field = some_field()
    plan = send(field, dry_run=True)
    assert isinstance(plan, UploadPlan) and plan.requests > 2 and not both.asked and not both.engine.asked[9:]
    assert send(field) == ASSET and not notes(tmp_path)
    assert both.pieces[:-1] == [SMALL]*(plan.requests - 1) and sum(both.pieces) == plan.bytes
    image = decode_image(ee.Image(ASSET))
    back = earthengine_field(field.aef.grid, 2023, image=image, waiting=QUICK)
    assert np.array_equal(back.values, field.aef.codes().values) and (back.values == NO_DATA).any()
    manifest = both.assets[ASSET]
    assert manifest['startTime'] == '2023-01-01T00:00:00Z' and manifest['properties']['model'] == 'mine'


def test_what_is_there_is_not_sent_again(both):
    field = some_field()
    send(field)
    sent, asked = len(both.pieces), len(both.engine.asked)
    assert send(field) == ASSET and len(both.pieces) == sent
    assert not any('importExternal' in path for _, path in both.engine.asked[asked:])
    both.assets.clear()                                     # the image was deleted, the file was not
    assert send(field) == ASSET and len(both.pieces) == sent and ASSET in both.assets


def test_another_file_or_image_is_replaced_only_if_asked(both):
    send(some_field())
    before, sent = both.objects[URI], len(both.pieces)
    with pytest.raises(FileExists, match='the image'): send(some_field(1))
    both.assets.clear()
    with pytest.raises(FileExists, match='the file there'): send(some_field(1))
    assert both.objects[URI] == before and len(both.pieces) == sent and not both.assets
    assert send(some_field(1), overwrite=True) == ASSET and both.objects[URI] != before
    assert send(some_field(2), overwrite=True) == ASSET


@pytest.mark.parametrize('fault', ['503', '429', 'reset', 'lost', 'gone', 'trickle'])
def test_what_goes_wrong_for_a_while_is_mended(both, fault, tmp_path):
    "Whole in the end, and nothing that has arrived is sent twice but in a new session."
    both.faults = ['', fault]
    waiting = Waiting(sleep=PAUSES.append, answer_s=.5) if fault == 'trickle' else QUICK
    field = some_field()
    size = send(field, dry_run=True).bytes
    assert upload(field, URI, ASSET, waiting=waiting, quiet=True) == ASSET and not both.faults
    assert len(both.objects[URI][0]) == size and not notes(tmp_path)
    assert sum(both.pieces) == size + (SMALL if fault == 'gone' else 0)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(faults=st.lists(st.sampled_from(['', '503', 'reset', 'lost', 'gone']), max_size=6),
       seed=st.integers(0, 9**9))
def test_any_few_faults_leave_the_whole_file(both, tmp_path, faults, seed):
    content, path = np.random.default_rng(seed).bytes(SMALL*2 + seed % SMALL), tmp_path/'file.tif'
    path.write_bytes(content)
    both.faults = faults if faults.count('gone') < 2 else []
    uri = f'gs://mine/{seed}.tif'
    try: send_file(path, uri, True, QUICK, True)
    except AlphaEarthError:
        both.faults = []
        send_file(path, uri, True, QUICK, True)
    assert both.objects[uri][0] == content


def test_a_call_that_was_stopped_goes_on(both, tmp_path):
    "The next one asks how much has arrived; the note is for the user alone, and gone in the end."
    field, both.faults = some_field(), ['', '', '403']
    with pytest.raises(EarthEngineError, match='403.*that you may write to'): send(field)
    assert notes(tmp_path) == ['session.json'] and URI not in both.objects and not both.assets
    note, = (tmp_path/'cache').rglob('session.json')
    assert stat.S_IMODE(os.stat(note).st_mode) == 0o600
    assert send(field) == ASSET and not notes(tmp_path)
    assert len(both.sessions) == 1 and sum(both.pieces) == len(both.objects[URI][0])


def test_a_note_of_another_file_is_not_gone_on_with(both, tmp_path):
    both.faults = ['', '403']
    with pytest.raises(EarthEngineError): send(some_field())
    assert send(some_field(1)) == ASSET and len(both.sessions) == 2
    both.objects.clear(), both.assets.clear()
    both.faults = ['', '403']
    with pytest.raises(EarthEngineError): send(some_field())
    note, = (tmp_path/'cache').rglob('session.json')
    note.write_text(json.dumps([1]))
    assert send(some_field()) == ASSET


def test_what_is_altered_on_the_way_is_not_kept(both, tmp_path):
    both.faults = ['altered']
    with pytest.raises(AlphaEarthError) as error: send(some_field())
    assert 'hash' in str(error.value) and URI not in both.objects and not both.assets


def test_a_file_that_differs_in_the_end_is_refused(both, monkeypatch):
    keep = both.keep
    monkeypatch.setattr(both, 'keep', lambda uri, content: keep(uri, content[:-1] + b'?'))
    with pytest.raises(FieldError, match='unlike the file that was sent'): send(some_field())
    assert not both.assets


def test_a_bucket_of_others(both):
    with pytest.raises(EarthEngineError, match='storage.objects.create') as error:
        upload(some_field(), URI.replace('mine', 'others'), ASSET, waiting=QUICK, quiet=True)
    assert '\n' not in str(error.value) and not PAUSES


def test_a_fault_that_stays_ends(both):
    both.faults = ['503']*99
    with pytest.raises(EarthEngineError, match='after 8 tries'): send(some_field())
    assert len(PAUSES) == 7 and sum(PAUSES) < 300


def test_an_answer_of_earth_engine_that_was_lost(both):
    "The image was made, but nobody heard of it."
    make = both.engine.functions.Image_load
    import ee
    real, tried = ee.data.startExternalImageIngestion, []
    def deaf(*words):
        found = real(*words)
        tried.append(found)
        if len(tried) == 1: raise ConnectionResetError('gone')
        return found
    ee.data.startExternalImageIngestion = deaf
    try: assert send(some_field()) == ASSET
    finally: ee.data.startExternalImageIngestion = real
    assert len(PAUSES) == 1 and make
