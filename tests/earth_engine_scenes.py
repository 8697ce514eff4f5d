"""Scenes of three satellites that tests put into the Earth Engine on this machine, and how they are read."""
import numpy as np
from earth_engine_catalogue import Catalogue, Scene
from odc.geo.geobox import GeoBox

from alphaearth_nb.ee_frames import CLOUD_SCORE, SERVER_SOURCES, ee_read, ee_search
from alphaearth_nb.ee_requests import Limits, Waiting
from alphaearth_nb.grids import utm_grid
from alphaearth_nb.periods import Period

GRID = utm_grid((3.10, 50.90, 3.104, 50.903))
HEIGHT, WIDTH = GRID.shape
JUNE = Period('2023-06-01', '2023-07-01')
MS = 1_685_616_631_000
QUICK = Waiting(sleep=lambda seconds: None, answer_s=20)
S2, S2_GROUND = 'COPERNICUS/S2_HARMONIZED', 'COPERNICUS/S2_SR_HARMONIZED'
S1, L8, L9 = 'COPERNICUS/S1_GRD', 'LANDSAT/LC08/C02/T1_TOA', 'LANDSAT/LC09/C02/T1_TOA'
S2_BANDS = ('B2', 'B3', 'B4', 'B8', 'B5', 'B6', 'B7', 'B8A', 'B11', 'B12')
L_BANDS = ('B2', 'B3', 'B4', 'B5', 'B6', 'B7', 'B8', 'B10')


def no_scenes() -> Catalogue:
    return Catalogue({name: [] for name in (S2, S2_GROUND, S1, L8, L9, CLOUD_SCORE)})


def native(grid:GeoBox, side:float=10, off:float=0) -> tuple:
    "Pixels of a scene that begin where a grid does, or a little before."
    return f'EPSG:{grid.crs.epsg}', grid.affine.c - off, grid.affine.f + off, side


def put(server, asset:str, index:str, bands:dict, ms:int=MS, where:tuple|None=None, shape:tuple|None=None,
        **properties) -> Scene:
    "Add a scene to a collection; it covers the grid if nothing else is said."
    scene = Scene(index, ms, bands, where or native(GRID), shape or GRID.shape, properties)
    server.archive.collections[asset].append(scene)
    return scene


def reflecting(value:float, shape:tuple|None=None) -> dict:
    return {name: flat(value, shape) for name in S2_BANDS}


def flat(value:float, shape:tuple|None=None) -> np.ndarray: return np.full(shape or GRID.shape, float(value))


def seen_by_sentinel2(server, index:str='a', value:float=3000, datatake:str='GS2A_1', tile:str='31UDS',
                      asset:str=S2, score:object=1, **more) -> None:
    told = {'DATATAKE_IDENTIFIER': f'{datatake}_N05.09', 'MGRS_TILE': tile, 'PROCESSING_BASELINE': '05.09'}
    properties = {key: more.pop(key) for key in [*more] if key.isupper()}
    put(server, asset, index, reflecting(value, more.get('shape')), **more, **told | properties)
    if score is not None:
        scores = score if isinstance(score, np.ndarray) else flat(score, more.get('shape'))
        where = {key: more[key] for key in ('where', 'shape') if key in more}
        put(server, CLOUD_SCORE, index, {'cs': scores}, **where)


def read(name:str, bands:tuple, grid:GeoBox=GRID, table:dict=SERVER_SOURCES, limits:Limits=Limits()) -> list:
    found = ee_search(table, name, grid, JUNE, QUICK)
    return [(one, *ee_read(table, one, grid, bands, limits, QUICK)) for one in found]


def own_bilinear(array:np.ndarray, where:tuple, grid:GeoBox) -> np.ndarray:
    "Bilinear values at the centres of a grid in the same zone, without masks."
    _, left, top, side = where
    across = (grid.affine.c + 10*(np.arange(grid.width) + .5) - left)/side - .5
    down = (top - grid.affine.f + 10*(np.arange(grid.height) + .5))/side - .5
    column, row = np.floor(across).astype(int), np.floor(down).astype(int)
    x, y = across - column, (down - row)[:, None]
    def part(i:int, j:int) -> np.ndarray: return array[np.ix_(row + i, column + j)]
    return (1 - y)*((1 - x)*part(0, 0) + x*part(0, 1)) + y*((1 - x)*part(1, 0) + x*part(1, 1))


def same(found:np.ndarray, wanted:object, **how) -> None:
    np.testing.assert_allclose(found, wanted, **({'rtol': 2e-6} | how))


def seen_by_radar(server, index:str, bands:dict, ms:int=MS, orbit:int=7, mode:str='IW', **more) -> None:
    put(server, S1, index, bands, ms, instrumentMode=mode, platform_number='A', orbitNumber_start=orbit,
        platformHeading=-12.5, **more)


def seen_by_landsat(server, index:str, value:float=.3, ms:int=MS, asset:str=L8, row:int=24, zone:int=31,
                    sun:float=40, qa:object=21824, **more) -> None:
    bands = {name: flat(285 if name == 'B10' else value, more.get('shape')) for name in L_BANDS}
    bands['QA_PIXEL'] = qa if isinstance(qa, np.ndarray) else flat(qa, more.get('shape'))
    put(server, asset, index, bands, ms, SPACECRAFT_ID=f'LANDSAT_{asset[11]}', WRS_PATH=199, WRS_ROW=row,
        UTM_ZONE=zone, SUN_ELEVATION=sun, **more)
