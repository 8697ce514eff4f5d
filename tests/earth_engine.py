"""An Earth Engine on this machine that the real client talks to, for tests.

    with serving(embeddings) as server:      # embeddings(lon, lat, year) -> (..., 64) unit vectors
        server.initialize()                  # ee.Initialize against it
        ee.ImageCollection(ASSET)...

The client is the real one: its discovery document and list of functions are those that earthengine-api ships.
Only the functions that the toolkit uses are evaluated; any other is refused, in the words of the service, as
is a band or an asset that does not exist. What it cannot show are quotas and projections of the real service.
"""

import contextlib
import importlib.util
import io
import json
import math
import re
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from PIL import Image as Picture

ASSET = 'GOOGLE/SATELLITE_EMBEDDING/V1/ANNUAL'
BANDS = [f'A{index:02d}' for index in range(64)]
YEARS = range(2017, 2025)
LIMIT = 5000  # features in one answer


class Refused(Exception):
    "What the service answers with status 400."


class Image:
    "Bands and what they are at points: at(lon, lat) -> (..., bands)."

    def __init__(self, bands: list, at: Callable, properties: dict | None = None):
        self.bands, self.at, self.properties = list(bands), at, properties or {}

    def pick(self, names: list) -> 'Image':
        for name in names:
            if name not in self.bands:
                raise Refused(
                    f"Image.select: Band pattern '{name}' did not match any bands. Known: {self.bands}"
                )
        where = [self.bands.index(name) for name in names]
        return Image(names, lambda lon, lat: self.at(lon, lat)[..., where], self.properties)


def _ms(text: str | float) -> float:
    if isinstance(text, int | float):
        return text
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000


def _image(one: object) -> Image:
    "A number or a list of numbers is an image that is the same everywhere."
    if isinstance(one, Image):
        return one
    values = np.atleast_1d(np.asarray(one, float))
    names = ['constant'] if len(values) == 1 else [f'constant_{index}' for index in range(len(values))]
    return Image(names, lambda lon, lat: np.broadcast_to(values, (*np.shape(lon), len(values))))


def _both(operate: Callable) -> Callable:
    def call(image1: object, image2: object) -> Image:
        a, b = _image(image1), _image(image2)
        if len(b.bands) not in (1, len(a.bands)):
            raise Refused(f'{len(a.bands)} and {len(b.bands)} bands do not match.')
        return Image(a.bands, lambda lon, lat: operate(a.at(lon, lat), b.at(lon, lat)), a.properties)

    return call


class Functions:
    "The functions of Earth Engine that the toolkit uses, by their names with _ for the dot."

    def __init__(self, embeddings: Callable):
        self.embeddings = embeddings

    def ImageCollection_load(self, id: str) -> list:
        if id != ASSET:
            raise Refused(
                f"ImageCollection.load: ImageCollection asset '{id}' not found (does not exist or no access)."
            )
        return [
            Image(
                BANDS,
                lambda lon, lat, year=year: self.embeddings(lon, lat, year),
                {'system:time_start': _ms(f'{year}-01-01')},
            )
            for year in YEARS
        ]

    def DateRange(self, start: object, end: object = None, timeZone: str = '') -> tuple:
        return _ms(start), _ms(end)

    def Filter_dateRangeContains(self, leftValue: tuple, rightField: str) -> Callable:
        return lambda one: leftValue[0] <= one.properties[rightField] < leftValue[1]

    def Filter_intersects(self, leftField: str, rightValue: object) -> Callable:
        return lambda one: True

    def Collection_filter(self, collection: list, filter: Callable) -> list:
        return [one for one in collection if filter(one)]

    def Collection_first(self, collection: list) -> object:
        if not collection:
            raise Refused('Image.select: Parameter \'input\' is required and may not be null.')
        return collection[0]

    def ImageCollection_mosaic(self, collection: list) -> Image:
        return self.Collection_first(collection)

    def Image_constant(self, value: object) -> Image:
        return _image(value)

    def Image_select(self, input: Image, bandSelectors: list, newNames: list | None = None) -> Image:
        return input.pick(bandSelectors)

    def Image_rename(self, input: Image, names: list) -> Image:
        return Image(names, input.at, input.properties)

    Image_multiply = staticmethod(_both(np.multiply))
    Image_subtract = staticmethod(_both(np.subtract))

    def Reducer_sum(self) -> str:
        return 'sum'

    def Image_reduce(self, image: Image, reducer: str) -> Image:
        return Image([reducer], lambda lon, lat: image.at(lon, lat).sum(-1, keepdims=True))

    def Image_addBands(
        self, dstImg: Image, srcImg: Image, names: object = None, overwrite: bool = False
    ) -> Image:
        names = [
            *dstImg.bands,
            *(f'{name}_{len(dstImg.bands)}' if name in dstImg.bands else name for name in srcImg.bands),
        ]
        return Image(names, lambda lon, lat: np.concatenate([dstImg.at(lon, lat), srcImg.at(lon, lat)], -1))

    def Image_visualize(self, image: Image, min: object = 0, max: object = 1) -> Image:
        low, high = np.asarray(min, float), np.asarray(max, float)
        return Image(
            ['vis-red', 'vis-green', 'vis-blue'],
            lambda lon, lat: 255 * np.clip((image.at(lon, lat) - low) / (high - low), 0, 1),
        )

    def GeometryConstructors_Point(self, coordinates: list, crs: object = None) -> dict:
        return dict(type='Point', coordinates=coordinates)

    def Feature(self, geometry: dict, metadata: dict | None = None) -> dict:
        return dict(type='Feature', geometry=geometry, properties=metadata or {})

    def Collection(self, features: list) -> list:
        return features

    def Image_sampleRegions(
        self, image: Image, collection: list, properties: list | None = None, scale: float | None = None
    ) -> list:
        if len(collection) > LIMIT:
            raise Refused(f'Collection query aborted after accumulating over {LIMIT} elements.')
        lon, lat = np.array([one['geometry']['coordinates'] for one in collection], float).T
        rows = zip(collection, image.at(lon, lat))
        return [
            dict(
                type='Feature',
                geometry=None,
                properties={name: one['properties'][name] for name in properties or []}
                | dict(zip(image.bands, map(float, row))),
            )
            for one, row in rows
            if np.isfinite(row).all()
        ]


def evaluate(expression: dict, functions: Functions) -> object:
    "Work out a graph of calls as the client sends it."
    values, known = expression['values'], {}

    def of(name: str) -> object:
        if name not in known:
            known[name] = node(values[name])
        return known[name]

    def node(one: dict) -> object:
        ((kind, content),) = one.items()
        if kind == 'constantValue':
            return content
        if kind == 'valueReference':
            return of(content)
        if kind == 'arrayValue':
            return [node(each) for each in content['values']]
        if kind == 'dictionaryValue':
            return {name: node(each) for name, each in content['values'].items()}
        if kind == 'functionInvocationValue':
            name = content['functionName']
            call = getattr(functions, name.replace('.', '_'), None)
            if call is None:
                raise Refused(f'{name} is not known to this server.')
            return call(**{key: node(each) for key, each in content.get('arguments', {}).items()})
        raise Refused(f'{kind} is not known to this server.')

    return of(expression['result'])


def tile_png(image: Image, zoom: int, column: int, row: int) -> bytes:
    "Draw a tile of an image of bytes as the service does, 256 × 256."
    x, y = (np.arange(256) + 0.5) / 256, (np.arange(256) + 0.5) / 256
    lon = (column + x) / 2**zoom * 360 - 180
    lat = np.degrees(np.arctan(np.sinh(np.pi * (1 - 2 * (row + y) / 2**zoom))))
    file = io.BytesIO()
    Picture.fromarray(np.nan_to_num(image.at(*np.meshgrid(lon, lat))).round().astype(np.uint8)).save(
        file, 'PNG'
    )
    return file.getvalue()


def _shipped(name: str) -> str:
    "A file of the client's own tests, which ship with it."
    return (Path(importlib.util.find_spec('ee').origin).parent / 'tests' / name).read_text('utf-8')


class Server(ThreadingHTTPServer):
    "Answers on a free port of this machine, and notes what it was asked."

    daemon_threads = True

    def __init__(self, embeddings: Callable):
        super().__init__(('127.0.0.1', 0), Handler)
        self.functions, self.maps, self.asked = Functions(embeddings), [], []
        self.url = f'http://127.0.0.1:{self.server_port}'
        self.discovery = json.loads(
            _shipped('cloud_api_discovery_document.json').replace('v1alpha', 'v1')
        ) | {'rootUrl': self.url + '/'}
        self.discovery.pop('mtlsRootUrl', None)
        self.algorithms = json.loads(_shipped('algorithms.json'))

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
        self._answer(None)

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers['Content-Length'])) or b'{}'))

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

    def _answer(self, body: dict | None) -> None:
        path = self.path.partition('?')[0]
        self.server.asked.append((self.command, path))
        try:
            self._send(200, *self._found(path, body))
        except Refused as error:
            self._send(400, dict(error=dict(code=400, message=str(error), status='INVALID_ARGUMENT')))

    def _found(self, path: str, body: dict | None) -> tuple:
        server = self.server
        if path == '/$discovery/rest':
            return (server.discovery,)
        if path.endswith('/algorithms'):
            return (server.algorithms,)
        if path.endswith('/value:compute'):
            found = evaluate(body['expression'], server.functions)
            listed = isinstance(found, list)
            return (
                dict(
                    result=dict(type='FeatureCollection', columns={}, features=found) if listed else found
                ),
            )
        if path.endswith('/maps'):
            server.maps.append(evaluate(body['expression'], server.functions))
            return (dict(name=f'{path[len("/v1/") :]}/{len(server.maps) - 1}'),)
        if match := re.search(r'/maps/(\d+)/tiles/(\d+)/(\d+)/(\d+)$', path):
            number, *tile = map(int, match.groups())
            return tile_png(server.maps[number], *tile), 'image/png'
        raise Refused(f'{self.command} {path} is not known to this server.')


@contextlib.contextmanager
def serving(embeddings: Callable) -> Iterator[Server]:
    "Serve until the end of the block."
    server = Server(embeddings)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
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
