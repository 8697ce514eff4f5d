"""An Earth Engine on this machine that the real client talks to, for tests.

    with serving(embeddings) as server:      # embeddings(lon, lat, year) -> (..., 64) unit vectors
        server.initialize()                  # ee.Initialize against it
        ee.ImageCollection(ASSET)...

Or served from tiles of codes in their own zones, as the service does: serving(Tiles(...)). The client is the
real one: its discovery document and list of functions are those that earthengine-api ships. The limits of the
service are enforced (server.limits), and it answers badly on demand (server.faults). It cannot show the
quotas of an account. As a program, it runs another with AE_EARTHENGINE_URL set: earth_engine.py COMMAND ...
"""

import contextlib
import importlib.util
import io
import json
import math
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from earth_engine_faults import MEMORY, STATUSES, Faults, answer_badly, one_row_less
from earth_engine_functions import Features, Functions, evaluate
from earth_engine_pixels import (  # noqa: F401  (others take them from here)
    ASSET,
    BANDS,
    Image,
    Places,
    Refused,
    Smooth,
    Tiles,
    coded,
    coded_raster,
    grid_places,
)
from PIL import Image as Picture

LIMITS = dict(
    bytes=50_331_648,  # of pixels, with a mask byte a number
    side_px=32_768,
    bands=1024,
    payload_bytes=10_485_760,
    at_once=40,
    memory_px=10**9,  # pixels that a computation may have
)
ITEM_BYTES = dict(double=8, float=4, int32=4, int8=1)
DTYPES = dict(double='<f8', float='<f4', int32='<i4', int8='|i1')


def tile_png(image: Image, zoom: int, column: int, row: int) -> bytes:
    "Draw a tile of an image of bytes as the service does, 256 × 256."
    x, y = (np.arange(256) + 0.5) / 256, (np.arange(256) + 0.5) / 256
    lon = (column + x) / 2**zoom * 360 - 180
    lat = np.degrees(np.arctan(np.sinh(np.pi * (1 - 2 * (row + y) / 2**zoom))))
    values, file = image.at(Places(*np.meshgrid(lon, lat))), io.BytesIO()
    Picture.fromarray(np.nan_to_num(values).round().astype(np.uint8)).save(file, 'PNG')
    return file.getvalue()


def pixels_npy(image: Image, grid: dict, limits: dict) -> bytes:
    "The pixels of a grid as a structured array, or a refusal in the words of the service."
    width, height = grid['dimensions']['width'], grid['dimensions']['height']
    if max(width, height) > limits['side_px']:
        raise Refused(
            f'Pixel grid dimensions ({width}x{height}) must be less than or equal to {limits["side_px"]}.'
        )
    if len(image.bands) > limits['bands']:
        raise Refused(f'Number of bands ({len(image.bands)}) must be at most {limits["bands"]}.')
    if image.axes or not image.bands:
        raise Refused('Image.computePixels: the image has no bands of numbers.')
    size = width * height * sum(ITEM_BYTES[kind] + 1 for kind in image.kinds)
    if size > limits['bytes']:
        raise Refused(
            f'Total request size ({size} bytes) must be less than or equal to {limits["bytes"]} bytes.'
        )
    if width * height > limits['memory_px']:
        raise Refused(MEMORY)
    values, file = np.nan_to_num(image.at(grid_places(grid))), io.BytesIO()  # masked pixels are 0
    found = np.empty((height, width), [(name, DTYPES[kind]) for name, kind in zip(image.bands, image.kinds)])
    for index, name in enumerate(image.bands):
        found[name] = values[..., index]
    np.save(file, found)
    return file.getvalue()


def _shipped(name: str) -> str:
    "A file of the client's own tests, which ship with it."
    return (Path(importlib.util.find_spec('ee').origin).parent / 'tests' / name).read_text('utf-8')


class Server(ThreadingHTTPServer):
    "Answers on a free port of this machine, and notes what it was asked."

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, archive: object):
        super().__init__(('127.0.0.1', 0), Handler)
        self.archive = archive if hasattr(archive, 'images') else Smooth(archive)
        self.functions, self.maps, self.asked, self.grids = Functions(self.archive), [], [], []
        self.limits, self.trouble = dict(LIMITS), Faults()
        self.url = f'http://127.0.0.1:{self.server_port}'
        self.discovery = json.loads(
            _shipped('cloud_api_discovery_document.json').replace('v1alpha', 'v1')
        ) | {'rootUrl': self.url + '/'}
        self.discovery.pop('mtlsRootUrl', None)
        self.algorithms = json.loads(_shipped('algorithms.json'))

    @property
    def faults(self) -> list[str]:
        return self.trouble.left

    @faults.setter
    def faults(self, names: list[str]) -> None:
        self.trouble.left = list(names)

    def initialize(self) -> None:
        "Have the real client talk to this server."
        import ee
        from google.auth.credentials import AnonymousCredentials

        ee.deprecation._FetchDataCatalogStac = lambda: {}  # it would ask a host on the internet
        ee.Initialize(credentials=AnonymousCredentials(), url=self.url, project='test')


class Handler(BaseHTTPRequestHandler):
    "One request."

    protocol_version = 'HTTP/1.1'

    def log_message(self, *words: object) -> None:
        "Say nothing."

    def do_GET(self) -> None:
        self._answer(b'')

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers['Content-Length'])))

    def _send(self, status: int, body: object, kind: str = 'application/json') -> None:
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (
            ('Content-Type', kind),
            ('Content-Length', str(len(body))),
            ('Access-Control-Allow-Origin', '*'),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _answer(self, payload: bytes) -> None:
        path = self.path.partition('?')[0]
        self.server.asked.append((self.command, path))
        computed = path.endswith((':computePixels', ':compute'))
        with self.server.trouble as running:
            fault = self.server.trouble.take() if computed else ''
            try:
                if computed and running > self.server.limits['at_once']:
                    raise Refused(STATUSES['429'], 429)
                if fault in STATUSES:
                    raise Refused(STATUSES[fault], int(fault))
                if fault == 'memory':
                    raise Refused(MEMORY)
                if len(payload) > self.server.limits['payload_bytes']:
                    most = self.server.limits['payload_bytes']
                    raise Refused(f'Request payload size exceeds the limit: {most} bytes.')
                found = self._found(path, json.loads(payload or b'{}'))
            except Refused as error:
                words = dict(code=error.status, message=str(error), status='INVALID_ARGUMENT')
                return self._send(error.status, dict(error=words))
        if fault == 'other':
            found = (one_row_less(found[0]), *found[1:])
        elif fault:
            body = found[0] if isinstance(found[0], bytes) else json.dumps(found[0]).encode()
            return answer_badly(self, fault, body, self.server.trouble.stopping)
        self._send(200, *found)

    def _found(self, path: str, body: dict) -> tuple:
        server = self.server
        if path == '/$discovery/rest':
            return (server.discovery,)
        if path.endswith('/algorithms'):
            return (server.algorithms,)
        if path.endswith('/value:compute'):
            found = evaluate(body['expression'], server.functions)
            if isinstance(found, Features):
                found = dict(type='FeatureCollection', columns={}, features=found)
            return (dict(result=found),)
        if path.endswith('/image:computePixels'):
            image = evaluate(body['expression'], server.functions)
            image = image.pick(body['bandIds']) if body.get('bandIds') else image
            server.grids.append(body['grid'])
            return pixels_npy(image, body['grid'], server.limits), 'application/octet-stream'
        if path.endswith('/maps'):
            server.maps.append(evaluate(body['expression'], server.functions))
            return (dict(name=f'{path[len("/v1/") :]}/{len(server.maps) - 1}'),)
        if match := re.search(r'/maps/(\d+)/tiles/(\d+)/(\d+)/(\d+)$', path):
            number, *tile = map(int, match.groups())
            return tile_png(server.maps[number], *tile), 'image/png'
        raise Refused(f'{self.command} {path} is not known to this server.')


@contextlib.contextmanager
def serving(archive: Callable | object) -> Iterator[Server]:
    "Serve until the end of the block."
    server = Server(archive)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.trouble.stopping.set()
        server.shutdown()
        server.server_close()


def waves(lon: np.ndarray, lat: np.ndarray, year: int) -> np.ndarray:
    "Unit vectors that change smoothly over some hundreds of metres, and a little from year to year."
    rng = np.random.default_rng(0)
    turns, phases, drift = (
        rng.normal(size=(2, 64)) * 700,
        rng.uniform(0, 2 * math.pi, 64),
        rng.normal(size=64) * 0.15,
    )
    vectors = np.sin(np.stack([lon, lat], -1) @ turns + phases + drift * (year - 2017))
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def everywhere(zones: tuple[str, ...] = ('31N', '32N')) -> Tiles:
    "Waves as tiles of codes, a few in each zone, from 50.6 to 53.5 degrees north."
    return Tiles(
        [(zone, left, bottom) for zone in zones for left in (180_480, 344_320, 508_160, 672_000)
         for bottom in (5_600_000, 5_763_840)], coded(waves))  # fmt: skip


def main(command: list[str]) -> int:
    "Run a command while an Earth Engine is served; its exit status."
    with serving(everywhere()) as server:
        return subprocess.run(command, env=os.environ | {'AE_EARTHENGINE_URL': server.url}).returncode


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
