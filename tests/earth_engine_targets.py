"""Scenes of what is only decoded, for the Earth Engine on this machine; what they hold follows from formulas.

The place lies in Iowa, on the corner of four tiles of the elevation model and on an edge of a cell of GRACE.
"""
import numpy as np
from earth_engine_catalogue import Catalogue, Scene
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from alphaearth_nb.periods import to_ms
from alphaearth_nb.targets import GLO30_ASSET, NLCD_2019, NLCD_2021

LON, LAT = -94.0, 42.0
LEFT, TOP = 417_000, 4_650_400                      # EPSG:32615; the corner lies 182 m and 140 m inside
PALSAR, GEDI = 'JAXA/ALOS/PALSAR-2/Level2_2/ScanSAR', 'LARSE/GEDI/GEDI02_A_002_MONTHLY'
ERA5, CDL = 'ECMWF/ERA5_LAND/MONTHLY_AGGR', 'USDA/NASS/CDL'
GRACE = {release: f'NASA/GRACE/MASS_GRIDS_{release}/MASCON_CRI' for release in ('V03', 'V04')}
ALBERS = 'EPSG:5070'
to_utm = Transformer.from_crs(4326, 32615, always_xy=True)


def grid_at(left:float=LEFT, top:float=TOP, height:int=32, width:int=40) -> GeoBox:
    from affine import Affine
    return GeoBox((height, width), Affine(10, 0, left, 0, -10, top), 32615)


GRID = grid_at()


def centres(grid:GeoBox) -> tuple[np.ndarray, np.ndarray]:
    "Coordinates of all pixels, each (h, w) metres."
    x = grid.affine.c + 10*(np.arange(grid.width) + .5)
    y = grid.affine.f - 10*(np.arange(grid.height) + .5)
    return np.meshgrid(x, y)


def nowhere() -> Catalogue:
    "All collections, without an image."
    return Catalogue({name: [] for name in (PALSAR, GEDI, ERA5, CDL, *GRACE.values(), GLO30_ASSET, NLCD_2019,
                                            NLCD_2021)})


def months(first:str, count:int) -> list[tuple[str, int, int]]:
    "Name, beginning and end of months: ('202104', ms, ms)."
    start = np.datetime64(first, 'M') + np.arange(count + 1)
    ends = to_ms(start.astype('datetime64[ms]'))
    return [(str(month).replace('-', ''), int(a), int(b)) for month, a, b in zip(start, ends, ends[1:])]


# ---- elevation: a plane in UTM, in tiles of one degree

def plane(x:np.ndarray, y:np.ndarray) -> np.ndarray: return 300 + .05*(x - LEFT) - .02*(y - TOP)


def tiles(height:object=plane) -> list[Scene]:
    "Four tiles of one degree around the corner; pixels lie on whole seconds, as the provider's do."
    step = 1/3600
    def elevation(lon:np.ndarray, lat:np.ndarray) -> np.ndarray: return height(*to_utm.transform(lon, lat))
    return [Scene(f'{north}_{west}', 0, {'DEM': elevation},
                  ('EPSG:4326', west - step/2, north + step/2, step), (3600, 3600))
            for west in (LON - 1, LON) for north in (LAT, LAT + 1)]


# ---- climate: planes in degrees; gravity: cells of three degrees

def climate(number:int, month:str, lon:np.ndarray, lat:np.ndarray) -> np.ndarray:
    "What band `number` is at a place in a month."
    return 250 + number + int(month[-2:]) + .3*(lon - LON) - .2*(lat - LAT)


def climate_scene(month:str, start:int, end:int, names:tuple) -> Scene:
    def of(number:int) -> object: return lambda lon, lat: climate(number, month, lon, lat)
    scale = {'to': 1e-4, 'su': 300}                    # metres of rain, pascals of air
    bands = {}
    for number, name in enumerate(names):
        factor = scale.get(name[:2], 1)
        bands[name] = lambda lon, lat, number=number, factor=factor: of(number)(lon, lat)*factor
    return Scene(month, start, bands, ('EPSG:4326', -180.05, 90.05, .1), (1801, 3600),
                 {'system:time_end': end})


def water_scene(month:str, start:int, end:int, west:float=-4., east:float=8.) -> Scene:
    "Cells of half degrees, one value west of the edge and another east of it."
    return Scene(month, start, {'lwe_thickness': lambda lon, lat: np.where(lon < LON, west, east)},
                 ('EPSG:4326', -180, 90, .5), (360, 720), {'system:time_end': end})


# ---- shots, radar, maps

def shots(seed:int, left:float=LEFT - 100, top:float=TOP + 100, side:int=24, share:float=.2) -> dict:
    "Bands of a raster of shots at 25 m; most pixels have none, some shots are bad."
    rng = np.random.default_rng(seed)
    there = rng.random((side, side)) < share
    height = np.where(there, rng.uniform(3, 30, (side, side)), np.nan)
    bands = {f'rh{share}': height*(share - 10)/90 for share in range(101)}
    bands['quality_flag'] = np.where(there, rng.random((side, side)) < .7, np.nan)
    bands['degrade_flag'] = np.where(there, rng.choice([0, 0, 0, 3, 80], (side, side)), np.nan)
    return bands


def shot_scene(index:str, ms:int, bands:dict, left:float=LEFT - 100, top:float=TOP + 100) -> Scene:
    return Scene(index, ms, bands, ('EPSG:32615', left, top, 25), bands['rh0'].shape)


def scansar(index:str, ms:int, bands:dict, frame:int=1, path:int=20, processed:str='2021-01-01',
            left:float=LEFT - 50, top:float=TOP + 50, **more) -> Scene:
    "A scene of PALSAR-2; numbers are stored as the provider stores them."
    shape = np.shape(next(iter(bands.values())))
    told = {'RSP_Path_Number': path, 'RSP_Frame_Number': frame, 'PassDirection': 'Ascending',
            'AntennaPointing': 'Right', 'DataAccess_ProcessingTime': processed,
            'Polarizations': [name for name in ('HH', 'HV', 'VV') if name in bands]}
    bands = {'LIN': np.full(shape, 3500.), 'MSK': np.full(shape, 1.)} | bands
    return Scene(index, ms, bands, ('EPSG:32615', left, top, 25), shape, told | more)


def class_scene(index:str, ms:int, band:str, codes:np.ndarray) -> Scene:
    "A map in its own projection, around the place."
    x, y = Transformer.from_crs(4326, ALBERS, always_xy=True).transform(LON, LAT)
    left, top = x//30*30 - 900, y//30*30 + 900
    return Scene(index, ms, {band: codes}, (ALBERS, left, top, 30), codes.shape)
