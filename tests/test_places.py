"""Places that are downloaded: the real pooch against a server on this machine that also misbehaves."""
import contextlib
import hashlib
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from alphaearth_nb import places
from alphaearth_nb.core import FrameError, PlaceNotFound
from alphaearth_nb.places import download_place, open_frames, read_worldcereal

NAME = 'heath2018'
LISTED = ('flanders2018', 'flanders2019')


class Server:
    "Serves files by path; `broken` tells how one of them is served instead."

    def __init__(self, files:dict[str, bytes]):
        self.files, self.broken, self.asked = files, {}, []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments): pass

            def do_GET(self):
                path = self.path.lstrip('/')
                outer.asked.append(path)
                how = outer.broken.get(path, 'whole')
                content = outer.files.get(path)
                if how == 'once half': how, outer.broken[path] = 'half', 'whole'
                if content is None or how == 'refused': return self.send_error(403 if content else 404)
                if how == 'other': content = content[:-1] + bytes([content[-1] ^ 1])
                self.send_response(200)
                self.send_header('Content-Length', str(len(content)))
                self.end_headers()
                self.wfile.write(content[:len(content)//2] if how == 'half' else content)

        self.server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.base = f'http://127.0.0.1:{self.server.server_address[1]}'
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def write_place(folder:Path) -> Path:
    "A small place: radar and four bands of Sentinel-2."
    folder.mkdir()
    rng = np.random.default_rng(0)
    times = np.array(['2018-05-01T10:53', '2018-05-06T10:53'], 'datetime64[ns]')
    kinds = {'S2_L2A_10m_A.nc': (10, 8, ('B02', 'B03', 'B04', 'B08'), np.uint16, 2000),
             'S1_GRD-ASCENDING_20m_A.nc': (20, 4, ('VV', 'VH'), np.int32, 100_000)}
    for name, (pixel, side, bands, kind, high) in kinds.items():
        centres = pixel*(np.arange(side) + .5)
        coords = {'timestamp': times, 'y': 5_629_120 - centres, 'x': 501_360 + centres}
        values = {band: (('timestamp', 'y', 'x'), rng.integers(1, high, (2, side, side)).astype(kind))
                  for band in bands}
        xr.Dataset(values, coords, attrs={'epsg': '32631'}).to_netcdf(folder/name, engine='h5netcdf')
    return folder


def entry(folder:Path, base:str) -> dict:
    "What the table would list for a folder."
    files = {f'place/{file.name}': [file.stat().st_size, hashlib.sha256(file.read_bytes()).hexdigest()]
             for file in sorted(folder.iterdir())}
    return {'what': 'a heath', 'base': base, 'origin': 'a test', 'licence': 'MIT', 'attribution': 'nobody',
            'files': files}


@pytest.fixture
def heath(tmp_path, monkeypatch):
    "A listed place that only the server has: (server, folder of the originals)."
    original = write_place(tmp_path/'original')
    server = Server({f'place/{file.name}': file.read_bytes() for file in original.iterdir()})
    table = {NAME: entry(original, server.base + '/')}
    monkeypatch.setattr(places, 'listed_places', lambda: table)
    monkeypatch.setenv('AE_CACHE_DIR', str(tmp_path/'cache'))
    yield server, original
    with contextlib.suppress(OSError): server.stop()


def in_cache() -> set[str]:
    folder = Path(os.environ['AE_CACHE_DIR'])
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def test_open_frames_downloads_a_listed_place(heath):
    server, original = heath
    frames = open_frames(NAME)
    assert frames.sources == ('sentinel2', 'sentinel1') and frames.name == f'wc_{NAME}'
    assert np.array_equal(frames['sentinel1'].values, read_worldcereal(original)['sentinel1'].values)
    assert frames.origin == 'a test (MIT, nobody)'
    assert in_cache() == {f'wc_{NAME}'} and len(server.asked) == 2
    for file in original.iterdir():
        assert Path(os.environ['AE_CACHE_DIR'], f'wc_{NAME}', file.name).read_bytes() == file.read_bytes()


def test_second_call_needs_no_network(heath):
    server, _ = heath
    open_frames(NAME)
    server.stop()
    assert open_frames(NAME).sources == ('sentinel2', 'sentinel1')
    assert len(server.asked) == 2


def test_wrong_hash_is_refused_and_nothing_is_left_under_the_name(heath):
    server, original = heath
    last = f'place/{sorted(file.name for file in original.iterdir())[-1]}'
    server.broken[last] = 'other'
    with pytest.raises(PlaceNotFound, match='another SHA-256 than listed') as error: open_frames(NAME)
    assert '\n' not in str(error.value) and server.base in str(error.value)
    assert in_cache() == {f'.wc_{NAME}.part'}
    assert [file.name for file in Path(os.environ['AE_CACHE_DIR'], f'.wc_{NAME}.part').iterdir()] \
        == ['S1_GRD-ASCENDING_20m_A.nc'], 'what is right is kept, what is wrong is not'
    with pytest.raises(PlaceNotFound): open_frames(NAME)
    assert f'.wc_{NAME}.part' not in places._known()


def test_server_that_dies_half_way_is_tried_once_more(heath):
    server, original = heath
    path = 'place/S2_L2A_10m_A.nc'
    server.broken[path] = 'once half'
    assert open_frames(NAME).sources == ('sentinel2', 'sentinel1')
    assert server.asked.count(path) == 2


def test_download_is_resumed_file_by_file(heath):
    server, _ = heath
    first, second = 'place/S1_GRD-ASCENDING_20m_A.nc', 'place/S2_L2A_10m_A.nc'
    server.broken[second] = 'half'
    with pytest.raises(PlaceNotFound, match='broke off'): open_frames(NAME)
    assert in_cache() == {f'.wc_{NAME}.part'}
    assert server.asked == [first, second, second]
    server.broken.clear()
    assert open_frames(NAME).sources == ('sentinel2', 'sentinel1')
    assert server.asked == [first, second, second, second], 'what had arrived is not asked for again'
    assert in_cache() == {f'wc_{NAME}'}


def test_part_that_was_altered_and_strays_are_mended(heath):
    server, original = heath
    server.broken['place/S2_L2A_10m_A.nc'] = 'half'
    with pytest.raises(PlaceNotFound): open_frames(NAME)
    part = Path(os.environ['AE_CACHE_DIR'], f'.wc_{NAME}.part')
    (part/'S1_GRD-ASCENDING_20m_A.nc').write_bytes(b'cut')
    (part/'tmp0815').write_bytes(b'left by a process that was killed')
    server.broken.clear()
    open_frames(NAME)
    here = Path(os.environ['AE_CACHE_DIR'], f'wc_{NAME}')
    assert {file.name: file.read_bytes() for file in here.iterdir()} \
        == {file.name: file.read_bytes() for file in original.iterdir()}


@pytest.mark.parametrize('how, words', [('refused', 'the server answered 403'), ('gone', 'answered 404')])
def test_refusals_are_told(heath, how, words):
    server, _ = heath
    if how == 'gone': server.files.clear()
    else: server.broken |= dict.fromkeys(server.files, how)
    with pytest.raises(PlaceNotFound, match=words): open_frames(NAME)


def test_offline_says_what_was_tried_and_the_way_out(heath):
    server, _ = heath
    server.stop()
    with pytest.raises(PlaceNotFound) as error: open_frames(NAME)
    text = str(error.value)
    for words in (NAME, server.base, 'no connection', 'Connect to the internet', os.environ['AE_CACHE_DIR']):
        assert words in text
    assert '\n' not in text


def test_another_address_can_be_named(heath, monkeypatch):
    server, original = heath
    server.stop()
    mirror = Server({f'mirror/{path}': content for path, content in server.files.items()})
    monkeypatch.setenv('AE_PLACES_URL', f'{mirror.base}/mirror')
    folder = download_place(NAME)
    assert {file.name for file in folder.iterdir()} == {file.name for file in original.iterdir()}
    assert len(mirror.asked) == 2 and download_place(NAME, 'http://127.0.0.1:9') == folder
    mirror.stop()


def test_download_that_was_altered_later_is_refused(heath):
    open_frames(NAME)
    file = Path(os.environ['AE_CACHE_DIR'], f'wc_{NAME}', 'S1_GRD-ASCENDING_20m_A.nc')
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(FrameError, match=f"{file.name} is 'altered'.*Delete the folder"): open_frames(NAME)
    file.unlink()
    with pytest.raises(FrameError, match="is 'missing'"): open_frames(NAME)


def test_two_processes_at_once_both_get_the_place(heath):
    server, _ = heath
    found, threads = [], []
    for _ in range(4): threads.append(threading.Thread(target=lambda: found.append(download_place(NAME))))
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert len(set(found)) == 1 and len(found) == 4 and in_cache() == {f'wc_{NAME}'}
    assert len(server.asked) == 2, 'one fetches, the others wait'
    assert open_frames(NAME).sources == ('sentinel2', 'sentinel1')


KILLED = """
import os, signal, sys
from alphaearth_nb import places
places.listed_places = lambda: {name: table for name, table in [(sys.argv[1], eval(sys.argv[2]))]}
gathered = places._gather
def stop(*arguments):
    gathered(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
places._gather = stop
places.download_place(sys.argv[1])
"""


def test_process_killed_before_the_renaming_leaves_no_place(heath):
    table = places.listed_places()[NAME]
    child = subprocess.run([sys.executable, '-c', KILLED, NAME, repr(table)], capture_output=True, text=True)
    assert child.returncode == -9, child.stderr[-2000:]
    assert in_cache() == {f'.wc_{NAME}.part'}
    assert open_frames(NAME).sources == ('sentinel2', 'sentinel1') and in_cache() == {f'wc_{NAME}'}


# ---- the order of the search

def test_names_are_looked_for_in_order(heath, tmp_path, monkeypatch):
    "Data path before the download, cache before the data path, and the checkout's own before both."
    server, original = heath
    beside = tmp_path/'beside'
    monkeypatch.setenv('AE_DATA_PATH', str(beside))
    beside.mkdir()
    (beside/f'wc_{NAME}').symlink_to(original)
    assert places._find(NAME) == beside/f'wc_{NAME}' and not server.asked
    cached = Path(os.environ['AE_CACHE_DIR'], NAME)
    cached.mkdir(parents=True)
    assert places._find(NAME) == cached
    names = [folder.as_posix() for folder in places.search_folders()]
    ends = ['data_samples', 'static/places', Path(os.environ['AE_CACHE_DIR']).as_posix(), beside.as_posix(),
            'shared/data']
    assert len(names) == len(ends) and all(map(str.endswith, names, ends))


def test_shared_data_beside_the_checkout_is_used(flanders, tmp_path, monkeypatch):
    monkeypatch.setenv('AE_CACHE_DIR', str(tmp_path))
    monkeypatch.setenv('AE_PLACES_URL', 'http://127.0.0.1:9')
    frames = open_frames('flanders2018')
    assert frames.name == 'wc_flanders2018' and frames.origin == places.place_origin('flanders2018')
    assert 'MIT' in frames.origin and 'ESA WorldCereal' in frames.origin and not list(tmp_path.iterdir())


def test_the_real_place_is_downloaded_byte_for_byte(flanders, tmp_path, monkeypatch):
    "The table's own paths, sizes and hashes, served from the files beside the checkout."
    listed = places.listed_places()['flanders2018']['files']
    assert {Path(path).name for path in listed} == {file.name for file in flanders.iterdir()}
    server = Server({path: (flanders/Path(path).name).read_bytes() for path in listed})
    assert {path: size for path, (size, _) in listed.items()} == \
        {path: len(content) for path, content in server.files.items()}
    monkeypatch.setenv('AE_CACHE_DIR', str(tmp_path))
    monkeypatch.setenv('AE_PLACES_URL', server.base)
    monkeypatch.setattr(places, 'search_folders', lambda: [tmp_path])
    frames, known = open_frames('flanders2018'), read_worldcereal(flanders)
    assert (frames.name, frames.notes, frames.sources) == (known.name, known.notes, known.sources)
    for name in frames: assert frames[name].values.tobytes() == known[name].values.tobytes()
    assert sorted(server.asked) == sorted(listed)
    server.stop()


@pytest.mark.parametrize('name', LISTED)
def test_listed_places_are_pinned(name):
    "An address that names a commit, a licence, and whom to name; names that cannot leave the folder."
    place = places.listed_places()[name]
    assert place['base'].startswith('https://raw.githubusercontent.com/')
    assert any(len(part) == 40 and set(part) <= set('0123456789abcdef') for part in place['base'].split('/'))
    assert place['licence'] and place['attribution'] and place['origin']
    for path, (size, digest) in place['files'].items():
        assert size > 0 and len(bytes.fromhex(digest)) == 32
        assert not path.startswith('/') and '..' not in path.split('/')
    names = [Path(path).name for path in place['files']]
    assert len(set(names)) == len(names) and any(name.startswith('S2_L2A_10m_') for name in names)


def test_pooch_is_not_loaded_before_a_download():
    code = ('import sys, alphaearth_nb.places as p; p.listed_places(); '
            'print({"pooch", "requests"} & set(sys.modules))')
    said = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == 'set()'
