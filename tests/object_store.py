"""A small release behind a loopback server: ranges as the real hosts serve them, and every way to stumble."""
import contextlib
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import geopandas
import numpy as np
import rasterio
import rasterio.shutil
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from alphaearth_nb.codes import BANDS, NO_DATA
from alphaearth_nb.grids import grid_bounds_lonlat
from alphaearth_nb.release_index import INDEX

PREFIX = 's3://us-west-2.opendata.source.coop/tge-labs/aef/v1/annual/'
SIDE, WEST, SOUTH = 576, 350_000, 4_900_000   # of the western tile, in metres of zone 16N
SIDES = ('west', 'south', 'east', 'north')


class Host:
    "Serves a folder in ranges, as Source Cooperative does; `manner` of a path tells how else."

    def __init__(self, folder):
        self.folder, self.manner, self.asked, host = folder, {}, [], self
        self.projects = set()

        class Handler(BaseHTTPRequestHandler):
            protocol_version, wbufsize = 'HTTP/1.1', 1 << 20

            def log_message(self, *arguments): pass
            def do_HEAD(self): self.answer(False)
            def do_GET(self): self.answer(True)

            def answer(self, with_body):
                name, span = self.path.lstrip('/'), self.headers.get('Range')
                agent = self.headers['User-Agent']
                manner = host.manner.get(name)
                times = 0
                host.projects.add(self.headers.get('x-goog-user-project'))
                if isinstance(manner, tuple):                      # ('503', 2): twice, then as it should be
                    manner, times = manner
                    host.manner[name] = (manner, times - 1) if times > 1 else None
                file = host.folder/name
                refused = not agent or 'urllib' in agent.lower() or 'python' in agent.lower()
                status = 403 if refused else int(manner) if (manner or '').isdigit() else \
                    200 if file.is_file() else 404
                content = file.read_bytes() if status == 200 else b''
                size, first = len(content), 0
                if status == 200 and span and manner != 'no ranges':
                    begin, end = re.fullmatch(r'bytes=(\d*)-(\d*)', span).groups()
                    first = int(begin) if begin else max(0, size - int(end))
                    content, status = content[first:int(end) + 1 if begin and end else size], 206
                host.asked.append((name, self.command, len(content) if with_body else 0, agent, status))
                self.send_response(status)
                if status == 206:
                    self.send_header('Content-Range', f'bytes {first}-{first + len(content) - 1}/{size}')
                self.send_header('Accept-Ranges', 'bytes')
                self.send_header('Content-Length', str(len(content)))
                self.end_headers()
                if not with_body: return
                if manner == 'half' and content:
                    content, self.close_connection = content[:len(content)//2], True
                if manner == 'trickle': return self.trickle(content)
                self.wfile.write(content)

            def trickle(self, content):
                with contextlib.suppress(OSError):
                    for byte in content:
                        self.wfile.write(bytes([byte]))
                        self.wfile.flush()
                        time.sleep(.05)

        self.server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.url = f'http://127.0.0.1:{self.server.server_address[1]}/'
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def fetched(self, ending:str) -> tuple[int, int]:
        "Number and bytes of the GET requests for names with an ending."
        sizes = [size for name, verb, size, *_ in self.asked if name.endswith(ending) and verb == 'GET']
        return len(sizes), sum(sizes)


def some_codes(height:int, width:int, seed:int) -> np.ndarray:
    "Codes (64, height, width) of unit vectors; a corner has no data."
    rng = np.random.default_rng(seed)
    def draw(*shape:int) -> np.ndarray: return rng.normal(size=(64, *shape)).astype(np.float32)
    noise = np.tile(draw(80, 80), (1, -(-height//80), -(-width//80)))[:, :height, :width]
    noise += np.linspace(0, 1, width, dtype=np.float32)*draw(1, 1)         # so that no two columns are alike
    noise += np.linspace(0, 1, height, dtype=np.float32)[:, None]*draw(1, 1)
    noise /= np.sqrt(np.einsum('byx,byx->yx', noise, noise))
    codes = np.round(np.sign(noise)*np.sqrt(np.abs(noise))*127.5).clip(-127, 127).astype(np.int8)
    codes[:, :30, :50] = NO_DATA
    return codes


def grid_at(west:float, south:float, zone:int=16, height:int=SIDE, width:int=SIDE) -> GeoBox:
    return GeoBox((height, width), Affine(10, 0, west, 0, -10, south + 10*height), f'EPSG:{32600 + zone}')


def write_tile(path, codes:np.ndarray, grid:GeoBox, upward:bool=True) -> None:
    "A COG as the release has it: rows from the south, bands one after the other, blocks of 512, overviews."
    path.parent.mkdir(parents=True, exist_ok=True)
    layout = dict(tiled=True, blockxsize=512, blockysize=512, interleave='band', compress='ZSTD')
    plain = path.with_suffix('.plain')
    affine = grid.flipy().affine if upward else grid.affine
    shape = dict(count=64, height=grid.height, width=grid.width, crs=str(grid.crs), transform=affine)
    with rasterio.open(plain, 'w', driver='GTiff', dtype='int8', nodata=NO_DATA, **shape, **layout) as file:
        file.write(codes[:, ::-1] if upward else codes)
        file.descriptions = BANDS
        file.build_overviews([2], rasterio.enums.Resampling.nearest)
    rasterio.shutil.copy(plain, path, driver='GTiff', copy_src_overviews='YES', **layout)
    plain.unlink()


def row(name:str, grid:GeoBox, ending:str='tiff') -> dict:
    "A row of the index for a file such as '2024/16N/x-0-0'."
    year, zone, _ = name.split('/')
    metres, degrees = grid.boundingbox.bbox, grid_bounds_lonlat(grid)
    return {'geometry': shapely.box(*degrees), 'crs': str(grid.crs), 'path': f'{PREFIX}{name}.{ending}',
            'year': int(year), 'utm_zone': zone, **{f'utm_{side}': at for side, at in zip(SIDES, metres)},
            **{f'wgs84_{side}': at for side, at in zip(SIDES, degrees)}}


def write_index(folder, rows:list[dict], group:int=4) -> None:
    frame = geopandas.GeoDataFrame(rows, crs=4326).rename_axis('fid').reset_index()
    frame.to_parquet(folder/INDEX, index=False, row_group_size=group)


def cut(whole:np.ndarray, its_grid:GeoBox, grid:GeoBox) -> np.ndarray:
    "The part of an array that a grid covers, without data beyond."
    found = np.full((64, *grid.shape), NO_DATA, np.int8)
    column, top = round((grid.affine.c - its_grid.affine.c)/10), round((its_grid.affine.f - grid.affine.f)/10)
    for y in range(grid.height):
        if not 0 <= top + y < its_grid.height: continue
        first, last = max(0, column), min(its_grid.width, column + grid.width)
        if first < last: found[:, y, first - column:last - column] = whole[:, top + y, first:last]
    return found


def box_of(grid:GeoBox) -> tuple[float, ...]: return grid_bounds_lonlat(grid)
