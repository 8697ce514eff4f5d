"""A Google Cloud Storage on this machine for the real client, and images of Earth Engine backed by it.

    with storing(monkeypatch) as storage, serving(...) as engine:
        back_images(engine, storage)         # image:importExternal, assets, and ee.Image(asset)

It keeps objects by gs://bucket/name, as the service does: hashes are told, an upload is a session that takes
pieces in order, what has another hash than promised is not kept. storage.faults = ['503', 'reset', ...] go
wrong one by one, whenever a piece is sent; storage.pieces are the numbers of bytes that arrived.
"""
import base64
import contextlib
import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import google_crc32c
import numpy as np
import rasterio
from earth_engine import Handler as EngineHandler
from earth_engine_pixels import Image, Places, Refused

UNIT = 2**18   # a piece is a multiple of it, but for the last one


def hashes(content:bytes) -> dict[str, str]:
    "What the service says about the bytes of an object."
    found = {'md5Hash': hashlib.md5(content, usedforsecurity=False),
             'crc32c': google_crc32c.Checksum(content)}
    return {name: base64.b64encode(digest.digest()).decode() for name, digest in found.items()}


class Storage(ThreadingHTTPServer):
    "Objects, sessions, and what went wrong."
    daemon_threads = True

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Handler)
        self.url = f'http://127.0.0.1:{self.server_address[1]}'
        self.objects, self.sessions, self.faults, self.pieces, self.asked = {}, {}, [], [], []
        self.generation, self.credentials = 0, set()

    def keep(self, uri:str, content:bytes) -> dict:
        self.generation += 1
        self.objects[uri] = content, self.generation
        return self.about(uri)

    def about(self, uri:str) -> dict:
        content, generation = self.objects[uri]
        bucket, _, name = uri.removeprefix('gs://').partition('/')
        return {'kind': 'storage#object', 'bucket': bucket, 'name': name, 'size': str(len(content)),
                'generation': str(generation), **hashes(content)}


class Handler(BaseHTTPRequestHandler):
    "One request of the JSON API."
    protocol_version = 'HTTP/1.1'
    def log_message(self, *words): pass
    def do_GET(self): self.answer(b'')
    def do_POST(self): self.answer(self.rfile.read(int(self.headers['Content-Length'] or 0)))
    def do_PUT(self): self.answer(None)

    def say(self, status:int, told:dict|None = None, **head:object) -> None:
        body = json.dumps(told).encode() if told else b''
        self.send_response(status)
        for name, value in {'Content-Length': len(body), 'Content-Type': 'application/json', **head}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status:int, words:str) -> None:
        self.say(status, {'error': {'code': status, 'message': words}})

    def answer(self, body:bytes|None) -> None:
        parts, server = urlsplit(self.path), self.server
        server.asked.append((self.command, parts.path))
        server.credentials.add(self.headers.get('Authorization'))
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if self.command == 'PUT': return self.piece(query['upload_id'])
        if self.command == 'POST':
            bucket, = re.fullmatch(r'/upload/storage/v1/b/([^/]+)/o', parts.path).groups()
            return self.begin(bucket, json.loads(body), query)
        found = re.fullmatch(r'/storage/v1/b/([^/]+)/o/(.+)', parts.path)
        if not found: return self.say(200, {'kind': 'storage#bucket'})  # what the client notes of a bucket
        uri = f'gs://{found[1]}/{unquote(found[2])}'
        if uri not in server.objects: return self.refuse(404, f'No such object: {uri}')
        return self.say(200, server.about(uri))

    def begin(self, bucket:str, told:dict, query:dict) -> None:
        "Open a session for a file."
        uri, server = f'gs://{bucket}/{told["name"]}', self.server
        if bucket == 'others': return self.refuse(403, 'me@test does not have storage.objects.create access')
        now = server.objects[uri][1] if uri in server.objects else 0
        if str(now) != query.get('ifGenerationMatch', str(now)):
            return self.refuse(412, 'At least one of the pre-conditions you specified did not hold.')
        key = f'session{len(server.sessions)}'
        server.sessions[key] = {'uri': uri, 'told': told, 'content': b'', 'whole': False}
        self.say(200, Location=f'{server.url}/upload?upload_id={key}')

    def piece(self, key:str) -> None:
        "Take the next piece of a file, or say how much of it has arrived."
        server, length = self.server, int(self.headers['Content-Length'] or 0)
        session = server.sessions.get(key)
        if session is None: return self.read_all(length) or self.refuse(410, 'The session is gone.')
        span, _, size = self.headers['Content-Range'].removeprefix('bytes ').rpartition('/')
        if span == '*': return self.state(session)
        fault = server.faults.pop(0) if server.faults else ''
        if fault == 'gone':
            del server.sessions[key]
            return self.read_all(length) or self.refuse(410, 'The session is gone.')
        if fault.isdigit(): return self.read_all(length) or self.refuse(int(fault), 'not now')
        content = self.rfile.read(length//2//UNIT*UNIT if fault == 'reset' else length)
        if int(span.partition('-')[0]) != len(session['content']):
            return self.refuse(400, 'Not the next byte.')
        if len(content) % UNIT and fault != 'reset' and len(session['content']) + len(content) < int(size):
            return self.refuse(400, f'A piece of {len(content)} bytes is no multiple of {UNIT}.')
        if fault == 'altered': content = bytes([content[0] ^ 1]) + content[1:]
        server.pieces.append(len(content))
        session['content'] += content
        if fault in ('reset', 'lost'):
            if fault == 'lost': self.conclude(session, int(size))
            self.close_connection = True
            return self.connection.close()
        if fault == 'trickle': return self.trickle()
        return self.conclude(session, int(size)) or self.state(session)

    def read_all(self, length:int) -> None: self.rfile.read(length)

    def trickle(self) -> None:
        "An answer that never comes to an end: a byte of its head now and then."
        with contextlib.suppress(OSError):
            for byte in b'HTTP/1.1 308 Resume Incomplete\r\nServer: ' + b'x'*600:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(.05)
        self.close_connection = True

    def conclude(self, session:dict, size:int) -> None:
        "Keep a file that is whole and has the hashes that were promised."
        if len(session['content']) < size: return
        known = hashes(session['content'])
        session['wrong'] = any(session['told'].get(name, value) != value for name, value in known.items())
        if not session['wrong']: self.server.keep(session['uri'], session['content'])
        session['whole'] = True

    def state(self, session:dict) -> None:
        if session['whole'] and session['wrong']: return self.refuse(400, 'Provided hash does not match.')
        if session['whole']: return self.say(200, self.server.about(session['uri']))
        arrived = len(session['content'])
        self.say(308, **({'Range': f'bytes=0-{arrived - 1}'} if arrived else {}))


@contextlib.contextmanager
def storing(monkeypatch) -> Iterator[Storage]:
    "Serve an empty store until the end of the block; the client finds it by its own variable."
    storage = Storage()
    threading.Thread(target=storage.serve_forever, daemon=True).start()
    with monkeypatch.context() as patch:
        patch.setenv('STORAGE_EMULATOR_HOST', storage.url)
        try: yield storage
        finally: storage.shutdown(), storage.server_close()


# ---- images of Earth Engine that are files of the store

def backed_image(manifest:dict, content:bytes) -> Image:
    "What an asset is: the pixel of the file that a place falls on, masked where it is missing data."
    with rasterio.MemoryFile(content) as memory, memory.open() as file:
        raster, affine, crs = np.moveaxis(file.read(), 0, -1), file.transform, f'EPSG:{file.crs.to_epsg()}'
    order = [band.get('tilesetBandIndex', 0) for band in manifest['bands']]
    missing = manifest.get('missingData', {}).get('values', [])

    def at(places:Places) -> np.ndarray:
        column, row = (np.floor(axis).astype(int) for axis in ~affine @ places.of(crs))
        found = np.full((*places.shape, len(order)), np.nan)
        there = (row >= 0) & (row < raster.shape[0]) & (column >= 0) & (column < raster.shape[1])
        values = raster[row[there], column[there]][:, order].astype(float)
        found[there] = np.where(np.isin(values, missing), np.nan, values)
        return found
    return Image(bands=[band['id'] for band in manifest['bands']], at=at, properties=manifest['properties'],
                 kinds=['int8']*len(order))


def back_images(engine:object, storage:Storage) -> dict:
    "Have an Earth Engine, before it is initialised, make images of files in the store; manifests by asset."
    assets = {}

    class Backed(EngineHandler):
        def _found(self, path:str, body:dict) -> tuple:
            if path.endswith('/image:importExternal'): return imported(body)
            name = unquote(path).removeprefix('/v1/')
            if self.command == 'GET' and '/assets/' in name:
                if name in assets: return ({'type': 'IMAGE', 'name': name, 'id': name} | {
                    key: assets[name][key] for key in ('properties', 'startTime', 'endTime')},)
                raise Refused(f"Asset '{name}' not found (does not exist or caller "
                              'does not have access).', 404)
            return super()._found(path, body)

    def imported(body:dict) -> tuple:
        manifest = body['imageManifest']
        uris = [uri for tileset in manifest['tilesets'] for one in tileset['sources'] for uri in one['uris']]
        if lost := [uri for uri in uris if uri not in storage.objects]:
            raise Refused(f'Could not open {lost[0]}: the object does not exist.')
        if manifest['name'] in assets and not body.get('overwrite'):
            raise Refused(f"Cannot overwrite asset '{manifest['name']}'.")
        assets[manifest['name']] = manifest
        return ({'name': manifest['name'], 'id': manifest['name']},)

    def load(id:str, version:object = None) -> Image:
        if id not in assets: raise Refused(f"Image.load: Image asset '{id}' not found.")
        uri, = assets[id]['tilesets'][0]['sources'][0]['uris']
        return backed_image(assets[id], storage.objects[uri][0])

    engine.RequestHandlerClass, engine.functions.Image_load = Backed, load
    methods = engine.discovery['resources']['projects']['resources']['image']['methods']
    text = json.dumps(methods['import']).replace('image:import', 'image:importExternal')
    methods['importExternal'] = json.loads(text.replace('image.import"', 'image.importExternal"'))
    return assets
