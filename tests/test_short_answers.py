"""Hosts that send fewer bytes than were asked for, and say so honestly: an error, never a part of a file."""
import contextlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import zarr

from alphaearth_nb.core import AlphaEarthError, PlaceNotFound
from alphaearth_nb.release_mosaic import DIMENSIONS, open_mosaic, read_mosaic
from alphaearth_nb.remote_files import RemoteFile


@contextlib.contextmanager
def stingy(folder, at_most:dict):
    "Serves ranges of a folder, of the names in `at_most` no more than so many bytes at once."

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *words): pass

        def do_GET(self):
            name = self.path.lstrip('/')
            content = (folder/name).read_bytes() if (folder/name).is_file() else None
            if content is None: return self.send_error(404)
            first, last = re.fullmatch(r'bytes=(\d*)-(\d*)', self.headers['Range']).groups()
            start = int(first) if first else max(0, len(content) - int(last))
            stop = min(int(last) + 1 if first and last else len(content), len(content))
            part = content[start:stop][:at_most.get(name, len(content))]
            self.send_response(206)
            self.send_header('Content-Range', f'bytes {start}-{start + len(part) - 1}/{len(content)}')
            self.send_header('Content-Length', str(len(part)))
            self.end_headers()
            self.wfile.write(part)

    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try: yield f'http://127.0.0.1:{server.server_address[1]}/'
    finally: server.shutdown(), server.server_close()


def test_a_part_of_a_file_is_whole_or_an_error(tmp_path):
    (tmp_path/'long.bin').write_bytes(bytes(range(256))*1000)
    at_most = {}
    with stingy(tmp_path, at_most) as url:
        remote = RemoteFile(url + 'long.bin')
        remote.seek(900)
        assert remote.read(400) == (bytes(range(256))*1000)[900:1300] and remote.tell() == 1300
        at_most['long.bin'] = 100
        with pytest.raises(PlaceNotFound, match="'100 bytes', but must be 400"): remote.read(400)


def test_a_file_that_shrank_since_its_size_was_told_is_an_error(tmp_path):
    (tmp_path/'long.bin').write_bytes(bytes(256_000))
    with stingy(tmp_path, {}) as url:
        remote = RemoteFile(url + 'long.bin')
        (tmp_path/'long.bin').write_bytes(bytes(1000))
        remote.seek(900)
        with pytest.raises(PlaceNotFound, match="'100 bytes', but must be 400"): remote.read(400)


def test_chunks_of_the_mosaic_are_whole_or_an_error(tmp_path):
    "An absent chunk is no data; one that comes in part is none of that."
    store = zarr.open_group(tmp_path/'mosaic.zarr', mode='w')
    store.attrs.update({'spatial:transform': [.1, 0, 3, 0, -.1, 51], 'proj:code': 'EPSG:4326'})
    array = store.create_array('embeddings', shape=(1, 64, 64, 64), dtype='int8', shards=(1, 64, 64, 64),
                               chunks=(1, 64, 32, 32), fill_value=-128, dimension_names=DIMENSIONS)
    store.create_array('time', data=np.array([2024]), dimension_names=['time'])
    array[:] = codes = np.random.default_rng(0).integers(-99, 99, (1, 64, 64, 64)).astype(np.int8)
    shard, at_most = 'mosaic.zarr/embeddings/c/0/0/0/0', {}
    assert (tmp_path/shard).is_file()
    with stingy(tmp_path, at_most) as url:
        mosaic = open_mosaic(url + 'mosaic.zarr')
        assert np.array_equal(read_mosaic(mosaic, mosaic.grid, 2024), codes[0])
        for count in (1, 30, 5000):
            at_most[shard] = count
            with pytest.raises(AlphaEarthError, match=f"'{count} bytes', but must be"):
                read_mosaic(mosaic, mosaic.grid[:32, 32:], 2024)
            with pytest.raises(AlphaEarthError, match='bytes|damaged'):
                read_mosaic(mosaic, mosaic.grid, 2024)
        at_most.clear()
        (tmp_path/shard).unlink()
        assert (read_mosaic(mosaic, mosaic.grid, 2024) == -128).all()
