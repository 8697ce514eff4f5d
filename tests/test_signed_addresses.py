"""Tokens of Planetary Computer: asked for once, renewed in time, and found in no file, message or log."""
import contextlib
import json
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from stac_server import catalogue, publish

from alphaearth_nb.core import FrameError, PlaceNotFound
from alphaearth_nb.fetch import fetch_frames
from alphaearth_nb.stac import PROVIDERS, PlanetaryTokens, Provider
from alphaearth_nb.synthetic import synthetic_place

HREF = 'https://store.blob.core.windows.net/sentinel2-l2/31/U/B04.tif'
SECRET = 'st=2023&sig=a%2Fb%3D'


@contextlib.contextmanager
def token_office(*good_for_s:float):
    "Hands out sig=1, sig=2 … that are good for these seconds, the last for all later ones; what was asked."
    asked = []

    class Office(BaseHTTPRequestHandler):
        def log_message(self, *words): pass

        def do_GET(self):
            asked.append(self.path)
            left = good_for_s[min(len(asked), len(good_for_s)) - 1]
            ends = datetime.fromtimestamp(time.time() + left, UTC).strftime('%Y-%m-%dT%H:%M:%SZ')
            text = json.dumps({'msft:expiry': ends, 'token': f'sig={len(asked)}'}).encode()
            if left == 0: text = b'{"message": "busy"}'
            self.send_response(200 if left >= 0 else 503)
            self.send_header('Content-Length', str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    server = ThreadingHTTPServer(('127.0.0.1', 0), Office)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try: yield PlanetaryTokens(f'http://127.0.0.1:{server.server_address[1]}/token'), asked
    finally: server.shutdown(), server.server_close()


# ---- handed out

def test_a_token_serves_a_container_until_it_is_about_to_end():
    with token_office(3600) as (sign, asked):
        assert [sign(HREF), sign(HREF.replace('B04', 'B08'))] == [f'{HREF}?sig=1',
                                                                  f'{HREF.replace("B04", "B08")}?sig=1']
        assert sign(HREF.replace('store', 'other')).endswith('?sig=2')
        assert sign(HREF.replace('sentinel2-l2', 'landsat-c2')).endswith('?sig=3')
        assert asked == ['/token/store/sentinel2-l2', '/token/other/sentinel2-l2', '/token/store/landsat-c2']


def test_a_token_is_renewed_five_minutes_before_it_ends():
    "Reading a frame may take minutes: what is still good now may not be then."
    with token_office(290, 310, 3600) as (sign, asked):
        assert sign(HREF).endswith('?sig=1')
        assert sign(HREF).endswith('?sig=2')           # the first had less than five minutes left
        assert sign(HREF).endswith('?sig=2') and len(asked) == 2
        place = 'store/sentinel2-l2'
        token, good_until = sign.tokens[place]
        sign.tokens[place] = token, good_until - 60    # a minute later
        assert sign(HREF).endswith('?sig=3') and sign(HREF).endswith('?sig=3') and len(asked) == 3


@pytest.mark.parametrize('href', [
    'https://sentinel-cogs.s3.us-west-2.amazonaws.com/a.tif', 'http://store.blob.core.windows.net/c/a.tif',
    'https://store.blob.core.windows.net.evil.org/c/a.tif',
    'https://evil.org/store.blob.core.windows.net/c/a.tif',
    'https://a.b.blob.core.windows.net/c/a.tif', f'{HREF}?sig=of-somebody', '/home/a.tif', ''])
def test_other_addresses_stay_as_they_are(href):
    "And nobody learns a token who should not."
    with token_office(3600) as (sign, asked): assert sign(href) == href and not asked


@pytest.mark.parametrize('answer', [-1, 0], ids=['busy', 'no token'])
def test_no_token_is_one_sentence(answer):
    with token_office(answer) as (sign, _):
        with pytest.raises(PlaceNotFound, match='Try again in a minute') as error: sign(HREF)
    assert 'store/sentinel2-l2' in str(error.value) and '\n' not in str(error.value)
    gone = PlanetaryTokens('http://127.0.0.1:9/token')
    with pytest.raises(PlaceNotFound, match='the token for store/sentinel2-l2'): gone(HREF)


def test_the_preset_signs_and_nothing_shows_it():
    assert isinstance(PROVIDERS['planetary-computer'].sign, PlanetaryTokens)
    sign = PlanetaryTokens()
    sign.tokens['store/sentinel2-l2'] = (SECRET, time.time() + 3600)
    provider = Provider(name='PC', url='https://x', sign=sign)
    assert SECRET in sign(HREF) and 'sig' not in f'{provider}{provider!r}{sign!r}'


# ---- in use

@pytest.fixture(scope='module')
def place(): return synthetic_place(size_px=32, start='2021-12-31', days=20)


@pytest.fixture
def signed(place, tmp_path, monkeypatch):
    "A catalogue whose files are read with a token; what they were asked with."
    monkeypatch.setenv('AE_CACHE_DIR', str(tmp_path/'cache'))
    with catalogue(tmp_path/'files') as server:
        publish(server, {'sentinel2': place['sentinel2']}, place.grid)
        served, found = server.answer, []

        def answer(handler, with_body):
            if '/files/' in handler.path: found.append(urlsplit(handler.path).query)
            return served(handler, with_body)
        server.answer = answer
        def sign(href:str) -> str: return f'{href}?{SECRET}'
        yield server, Provider(name='PC', url=server.url, sign=sign), found


def test_a_token_is_used_and_lies_in_no_file(signed, place, tmp_path):
    "Neither in the cache nor in a place that is kept; nor in what a plan or a sequence says."
    server, provider, asked = signed
    plan = fetch_frames(place.grid, '2021-12/2022-02', provider, 'sentinel2', dry_run=True)
    frames = fetch_frames(place.grid, '2021-12/2022-02', provider, 'sentinel2', quiet=True)
    assert set(asked) == {SECRET} and len(frames['sentinel2']) > 2
    frames.to_zarr(tmp_path/'kept.zarr')
    found = [file for folder in ('cache', 'kept.zarr') for file in (tmp_path/folder).rglob('*')]
    files = [file for file in found if file.is_file()]
    assert len(files) > 5 and not [one for one in files if b'sig=' in one.read_bytes() or 'sig' in one.name]
    assert 'sig=' not in f'{plan}{frames!r}{frames._repr_html_()}{frames.notes}{frames.origin}'


@pytest.mark.parametrize('manner', ['404', '403', 'half', 'no raster'])
def test_a_token_is_in_no_message_and_no_log(signed, place, manner, caplog, capfd):
    "Of a file that fails the address is told without its token; the notes of a sequence have none either."
    server, provider, _ = signed
    if manner == 'no raster': (server.folder/'sentinel2-001'/'B04.tif').write_bytes(b'<html>'*900)
    else: server.manner['/files/sentinel2-001/B04.tif'] = manner
    words = place.grid, '2021-12/2022-02', provider, 'sentinel2'
    with pytest.raises(FrameError, match='sentinel2-001') as error: fetch_frames(*words, quiet=True)
    frames = fetch_frames(*words, allow_missing=True, quiet=True)
    assert any('could not be read' in note for note in frames.notes)
    said = f'{error.value}{frames.notes}{caplog.text}{"".join(capfd.readouterr())}'
    assert 'sig=' not in said and SECRET not in said
