"""A STAC API on this machine that pystac-client searches and GDAL reads from in ranges, for tests.

    with catalogue(folder) as server:
        publish(server, frames)                 # every acquisition of a place, as providers store it
        fetch_frames(..., provider=server.url)

Assets are small GeoTIFFs of the true form: Sentinel-2 L2A in whole numbers, with or without the offset of
baseline 04.00, beside a scene classification; Landsat C2 L2 beside QA_PIXEL; Sentinel-1 RTC in linear power.
`server.manner` tells for which paths the server misbehaves; `server.asked` what it was asked for.
"""
import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox

from alphaearth_nb.grids import grid_bounds_lonlat

PAGE = 25                               # items in one answer
KEYS = {'sentinel2': {band: band for band in 'B02 B03 B04 B08 B05 B06 B07 B8A B11 B12'.split()},
        'sentinel1': {'VV': 'vv', 'VH': 'vh'},
        'landsat': {'B02': 'blue', 'B03': 'green', 'B04': 'red', 'B05': 'nir08', 'B06': 'swir16',
                    'B07': 'swir22', 'B10': 'lwir11'}}
ELEMENT84 = {'B02': 'blue', 'B03': 'green', 'B04': 'red', 'B08': 'nir', 'B05': 'rededge1', 'B06': 'rededge2',
             'B07': 'rededge3', 'B8A': 'nir08', 'B11': 'swir16', 'B12': 'swir22', 'SCL': 'scl'}
COLLECTIONS = {'sentinel2': 'sentinel-2-l2a', 'sentinel1': 'sentinel-1-rtc', 'landsat': 'landsat-c2-l2'}
RULES = ('core', 'item-search', 'collections', 'ogcapi-features')
OFFSET_FROM = int(datetime(2022, 1, 25, tzinfo=UTC).timestamp()*1000)


class Catalogue:
    "Items and files, and what was asked for."

    def __init__(self, folder:Path):
        self.folder, self.items, self.manner, self.asked = Path(folder), [], {}, []
        self.lock, catalogue = threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            protocol_version, wbufsize = 'HTTP/1.1', 1 << 20
            def log_message(self, *arguments): pass
            def do_HEAD(self): catalogue.answer(self, False)
            def do_GET(self): catalogue.answer(self, True)
            def do_POST(self): catalogue.answer(self, True)

        self.server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.server.daemon_threads = True
        self.url = f'http://127.0.0.1:{self.server.server_address[1]}'
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def files(self) -> list[str]:
        "Names of the files asked for, one a GET request."
        return [path for verb, path in self.asked if verb == 'GET' and path.startswith('/files/')]

    # ---- answers

    def answer(self, handler, with_body:bool) -> None:
        path = urlsplit(handler.path).path
        body = handler.rfile.read(int(handler.headers.get('Content-Length') or 0))
        with self.lock:
            self.asked.append((handler.command, path))
            manner = self.manner.get(path) or self.manner.get(path.split('/')[1])
            if isinstance(manner, tuple):             # ('503', 2): twice, then as it should be
                key = path if path in self.manner else path.split('/')[1]
                self.manner[key] = (manner[0], manner[1] - 1) if manner[1] > 1 else None
                manner = manner[0]
        while manner == 'hold' and self.manner.get(path) == 'hold': time.sleep(.02)   # until it is let go
        if manner == 'reset':
            handler.close_connection = True
            return handler.connection.shutdown(socket.SHUT_RDWR)
        if (manner or '').isdigit(): return self.send(handler, int(manner), b'{"code": "trouble"}', with_body)
        if path.startswith('/files/'):
            return self.file(handler, self.folder/path[7:], with_body, manner)
        found = self.document(path, body, urlsplit(handler.path).query)
        text = json.dumps(found if found is not None else {'code': 'NotFound'}).encode()
        status = 404 if found is None else 200
        self.send(handler, status, text, with_body, manner, kind='application/geo+json')

    def send(self, handler, status:int, content:bytes, with_body:bool, manner:str='', kind:str='image/tiff',
             **head) -> None:
        handler.send_response(status)
        for name, value in {'Content-Type': kind, 'Content-Length': len(content), **head}.items():
            handler.send_header(name.replace('_', '-'), str(value))
        handler.end_headers()
        if not with_body: return
        if manner == 'half': content, handler.close_connection = content[:len(content)//2], True
        with contextlib.suppress(OSError):
            if manner == 'trickle':
                for byte in content:
                    handler.wfile.write(bytes([byte]))
                    handler.wfile.flush()
                    time.sleep(.05)
            else: handler.wfile.write(content)

    def file(self, handler, file:Path, with_body:bool, manner:str) -> None:
        "A file, or the range that was asked for."
        if not file.is_file(): return self.send(handler, 404, b'', with_body)
        content, span = file.read_bytes(), handler.headers.get('Range')
        if not span: return self.send(handler, 200, content, with_body, manner, Accept_Ranges='bytes')
        begin, end = re.fullmatch(r'bytes=(\d+)-(\d*)', span).groups()
        part = content[int(begin):int(end or len(content)) + 1]
        told = f'bytes {begin}-{int(begin) + len(part) - 1}/{len(content)}'
        self.send(handler, 206, part, with_body, manner, Content_Range=told)

    def document(self, path:str, body:bytes, query:str) -> dict|None:
        "The landing page, the collections, or found items."
        if path == '/search': return self.search(json.loads(body or '{}') | {
            key: values[0] for key, values in parse_qs(query).items()})
        known = sorted({item['collection'] for item in self.items})
        rows = [{'type': 'Collection', 'id': name, 'stac_version': '1.0.0', 'license': 'proprietary',
                 'links': [], 'description': name, 'extent': {'spatial': {'bbox': [[-180, -90, 180, 90]]},
                                                 'temporal': {'interval': [[None, None]]}}} for name in known]
        if path == '/collections': return {'collections': rows, 'links': []}
        for one in rows:
            if path == f'/collections/{one["id"]}': return one
        if path != '/': return None
        doors = (('self', '/', {}), ('root', '/', {}), ('data', '/collections', {}),
                 ('search', '/search', {'method': 'GET'}), ('search', '/search', {'method': 'POST'}))
        links = [{'rel': rel, 'href': self.url + at, 'type': 'application/geo+json', **more}
                 for rel, at, more in doors]
        return {'type': 'Catalog', 'id': 'loopback', 'stac_version': '1.0.0', 'description': 'for tests',
                'links': links, 'conformsTo': [f'https://api.stacspec.org/v1.0.0/{rule}' for rule in RULES]}

    def search(self, asked:dict) -> dict:
        "One page of items, and the way to the next."
        west, south, east, north = asked['bbox']
        first, last = (when.replace('Z', '') for when in asked['datetime'].split('/'))
        def fits(item:dict) -> bool:
            w, s, e, n = item['bbox']
            when = item['properties']['datetime'].replace('Z', '')
            return (item['collection'] in asked['collections'] and w < east and e > west and s < north
                    and n > south and first <= when <= last)
        found, start = [item for item in self.items if fits(item)], int(asked.get('token') or 0)
        more = asked | {'token': str(start + PAGE)}
        links = [{'rel': 'next', 'href': f'{self.url}/search', 'method': 'POST', 'body': more,
                  'type': 'application/geo+json'}] if start + PAGE < len(found) else []
        return {'type': 'FeatureCollection', 'features': found[start:start + PAGE], 'links': links}


@contextlib.contextmanager
def catalogue(folder:Path) -> Iterator[Catalogue]:
    "Serve a folder for a while."
    served = Catalogue(folder)
    try: yield served
    finally: served.server.shutdown(), served.server.server_close()


# ---- what providers publish

def write(path:Path, array:np.ndarray, grid:GeoBox, missing:float=0) -> None:
    "A tiled GeoTIFF with an overview."
    path.parent.mkdir(parents=True, exist_ok=True)
    options = dict(tiled=True, blockxsize=64, blockysize=64, compress='deflate')
    shape = dict(count=1, height=grid.height, width=grid.width, crs=str(grid.crs), transform=grid.affine)
    with rasterio.open(path, 'w', driver='GTiff', nodata=missing, dtype=array.dtype.name, **shape,
                       **options) as file:
        file.write(array, 1)
        file.build_overviews([2], rasterio.enums.Resampling.nearest)


def add_item(server:Catalogue, name:str, collection:str, ms:int, grid:GeoBox, layers:dict, missing:float=0,
             **properties) -> dict:
    "Write the layers of one item and list it."
    west, south, east, north = grid_bounds_lonlat(grid)
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    for key, array in layers.items(): write(server.folder/name/f'{key}.tif', array, grid, missing)
    when = datetime.fromtimestamp(ms/1000, UTC).strftime('%Y-%m-%dT%H:%M:%S.%f')[:-3] + 'Z'
    code = {'proj:code': f'EPSG:{grid.crs.to_epsg()}', 'datetime': when}
    item = {'type': 'Feature', 'stac_version': '1.0.0', 'id': name, 'collection': collection, 'links': [],
            'stac_extensions': [], 'bbox': [west, south, east, north],
            'geometry': {'type': 'Polygon', 'coordinates': [ring]}, 'properties': code | properties,
            'assets': {key: {'href': f'{server.url}/files/{name}/{key}.tif', 'roles': ['data'],
                             'type': 'image/tiff; application=geotiff; profile=cloud-optimized'}
                       for key in layers}}
    server.items.append(item)
    return item


def stored(source:str, band:str, physical:np.ndarray, offset:float=0) -> np.ndarray:
    "Physical values (h, w) as the provider stores them."
    if source == 'sentinel1':
        power = 10**(physical.clip(-29.9999, 9.9999)/10)          # the ends of the range are no data
        return np.where(np.isfinite(physical), power, np.nan).astype(np.float32)
    scale, shift = {'sentinel2': (1e-4, offset)}.get(source) or (
        (.00341802, 149) if band == 'B10' else (2.75e-5, -.2))
    numbers = np.round((np.nan_to_num(physical, nan=shift) - shift)/scale)
    return np.where(np.isfinite(physical), numbers.clip(1, 65535), 0).astype(np.uint16)


def publish(server:Catalogue, frames:dict, grid:GeoBox, style:str='planetary', limit:int|None=None) -> None:
    "List every frame of a place, as Planetary Computer keeps them or as Earth Search does."
    for source, part in frames.items():
        keys = ELEMENT84 if source == 'sentinel2' and style != 'planetary' else KEYS[source]
        for index in list(range(len(part)))[:limit]:
            ms, later = int(part.times[index]), int(part.times[index]) >= OFFSET_FROM
            offset = -.1 if later and style == 'planetary' else 0
            layers = {keys[band]: stored(source, band, part.values[index, at], offset)
                      for at, band in enumerate(part.bands) if part.bands_present[index, at]}
            clear = part.valid_pixels[index].all(0)
            more = {'platform': f'{source}-a'}
            if source == 'sentinel2':
                layers[keys.get('SCL', 'SCL')] = np.where(clear, 4, 9).astype(np.uint8)
                more |= {'s2:processing_baseline': '04.00' if later else '02.14', 's2:mgrs_tile': '31UDS',
                         's2:datatake_id': f'GS2A_{ms}_N02.14'}
                if style != 'planetary': more['earthsearch:boa_offset_applied'] = later
            if source == 'landsat':
                layers['qa_pixel'] = np.where(clear, 21824, 22280).astype(np.uint16)
                more |= {'landsat:collection_category': 'T1', 'landsat:wrs_path': '199',
                         'landsat:wrs_row': '025', 'view:sun_elevation': 40.0, 'platform': 'landsat-8'}
            if source == 'sentinel1': more |= {'sar:instrument_mode': 'IW', 'sat:absolute_orbit': index,
                                               'sat:orbit_state': 'ascending'}
            add_item(server, f'{source}-{index:03d}', COLLECTIONS[source], ms, grid, layers,
                     np.nan if source == 'sentinel1' else 0, **more)
