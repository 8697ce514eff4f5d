"""Images of the Earth Engine on this machine: what they are at places, in any projection, in float64.

Written without the toolkit, so that both cannot be wrong in the same way. A function that is not here, a band
or an asset that does not exist, and bands that do not match are refused in the words of the service.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np
from pyproj import Transformer

ASSET = 'GOOGLE/SATELLITE_EMBEDDING/V1/ANNUAL'
BANDS = [f'A{index:02d}' for index in range(64)]
YEARS = range(2017, 2025)
PIXEL_M, TILE_M = 10, 163_840


class Refused(Exception):
    "What the service answers with status 400, or another."

    def __init__(self, words: str, status: int = 400):
        super().__init__(words)
        self.status = status


class Places:
    "Centres of pixels, or points, in whatever coordinates are asked for."

    def __init__(self, x: np.ndarray, y: np.ndarray, crs: str = 'EPSG:4326'):
        self.known = {crs: (np.asarray(x, float), np.asarray(y, float))}
        self.crs, self.shape = crs, np.shape(x)

    def of(self, crs: str) -> tuple[np.ndarray, np.ndarray]:
        if crs not in self.known:
            transformer = Transformer.from_crs(self.crs, crs, always_xy=True)
            self.known[crs] = transformer.transform(*self.known[self.crs])
        return self.known[crs]

    @property
    def lonlat(self) -> tuple[np.ndarray, np.ndarray]:
        return self.of('EPSG:4326')


def grid_places(grid: dict) -> Places:
    "Centres of the pixels of a grid as a request describes it."
    affine, size = grid['affineTransform'], grid['dimensions']
    column, row = np.arange(size['width']) + 0.5, np.arange(size['height']) + 0.5
    x = affine.get('translateX', 0) + column * affine['scaleX']
    y = affine.get('translateY', 0) + row * affine['scaleY']
    return Places(*np.meshgrid(x, y), grid.get('crsCode', 'EPSG:4326'))


@dataclass(kw_only=True)
class Image:
    "Bands, and what they are at places: at(places) -> (..., bands), NaN where masked."

    bands: list
    at: Callable
    properties: dict = field(default_factory=dict)
    kinds: list = field(default_factory=list)  # of the numbers; 'double' where nothing else is said
    inside: Callable = lambda places: np.ones(places.shape, bool)
    bounds: tuple = (-180, -90, 180, 90)
    axes: int = 0  # of the array at a pixel
    native: tuple | None = None  # CRS, left, top and side of its own pixels

    def __post_init__(self):
        self.kinds = list(self.kinds) or ['double'] * len(self.bands)

    def having(self, at: Callable, bands: list | None = None, kind: str = 'double', axes: int = 0) -> 'Image':
        "Another at the same places."
        bands = self.bands if bands is None else list(bands)
        return replace(self, bands=bands, at=at, kinds=[kind] * len(bands), axes=axes)

    def pick(self, names: list) -> 'Image':
        where = []
        for name in names:
            found = [n for n, band in enumerate(self.bands) if re.fullmatch(str(name), band)]
            found = [self.bands.index(name)] if name in self.bands else found
            if not found:
                raise Refused(
                    f"Image.select: Band pattern '{name}' did not match any bands. Known: {self.bands}"
                )
            where += found
        picked = self.having(lambda places: self.at(places)[..., where], [self.bands[n] for n in where])
        return replace(picked, kinds=[self.kinds[index] for index in where])


def as_image(one: object) -> Image:
    "A number, a list of numbers or an array is an image that is the same everywhere."
    if isinstance(one, Image):
        return one
    if isinstance(one, np.ndarray):
        return Image(bands=['constant'], at=lambda places: one, axes=one.ndim)
    values = np.atleast_1d(np.asarray(one, float))
    names = ['constant'] if len(values) == 1 else [f'constant_{index}' for index in range(len(values))]
    return Image(bands=names, at=lambda places: np.broadcast_to(values, (*places.shape, len(values))))


def of_two(operate: Callable) -> Callable:
    "A function of two images: a single band meets all of the other."

    def call(image1: object, image2: object) -> Image:
        a, b = as_image(image1), as_image(image2)
        if len(b.bands) != len(a.bands) and 1 not in (len(a.bands), len(b.bands)):
            raise Refused(f'{len(a.bands)} and {len(b.bands)} bands do not match.')
        if a.axes or b.axes:
            raise Refused('Arrays are not known to this function here.')
        longer = a if len(a.bands) >= len(b.bands) else b
        found = longer.having(lambda places: operate(a.at(places), b.at(places)))
        return replace(found, native=a.native)  # as the service does: those of the first

    return call


def of_one(operate: Callable, kind: str = 'double') -> Callable:
    "A function of one image."

    def call(value: object) -> Image:
        image = as_image(value)
        return image.having(lambda places: operate(image.at(places)), kind=kind)

    return call


def whole(kind: str) -> Callable:
    "A conversion to whole numbers: cut off towards zero, and held within the type."
    limits = np.iinfo(kind)
    return of_one(lambda values: np.clip(np.trunc(values), limits.min, limits.max), kind)


def box_of(geometry: dict) -> tuple[float, float, float, float]:
    "West, south, east and north of a geometry."
    corners = np.reshape(geometry['coordinates'], (-1, 2))
    return (*corners.min(0), *corners.max(0))


def milliseconds(text: str | float) -> float:
    if isinstance(text, int | float):
        return text
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000


# ---- the asset


class Smooth:
    "One image a year without tiles and codes: embeddings(lon, lat, year) -> (..., 64) as they are."

    def __init__(self, embeddings: Callable, years: Iterable = YEARS):
        self.embeddings, self.years = embeddings, years

    def images(self) -> list[Image]:
        def of(year: int) -> Image:
            return Image(
                bands=BANDS,
                at=lambda places: self.embeddings(*places.lonlat, year),
                properties={'system:time_start': milliseconds(f'{year}-01-01')},
            )

        return [of(year) for year in self.years]


def encode(vectors: np.ndarray) -> np.ndarray:
    "Codes of unit vectors, -128 for NaN, as the release describes them."
    roots = np.sign(vectors) * np.sqrt(np.abs(vectors)) * 127.5
    codes = np.clip(np.round(np.nan_to_num(roots)), -127, 127).astype(np.int8)
    codes[np.isnan(vectors).any(-1)] = -128
    return codes


def decode(codes: np.ndarray) -> np.ndarray:
    "Float64 components of codes, NaN for -128."
    roots = codes.astype(float) / 127.5
    return np.where(codes == -128, np.nan, np.sign(roots) * roots**2)


def epsg(zone: str) -> str:
    return f'EPSG:{(32600 if zone[-1] == "N" else 32700) + int(zone[:-1])}'


class Tiles:
    "Tiles in UTM zones, of whole codes: codes(zone, column, row, year) of pixels counted from 0 m, upwards."

    def __init__(
        self,
        tiles: Iterable[tuple[str, float, float]],  # zone, left and bottom in metres
        codes: Callable,
        years: Iterable = YEARS,
        side_m: float = TILE_M,
    ):
        self.tiles, self.codes, self.years, self.side_m = list(tiles), codes, years, side_m

    def images(self) -> Iterator[Image]:
        for year in self.years:
            for zone, left, bottom in self.tiles:
                yield self.image(zone, left, bottom, year)

    def image(self, zone: str, left: float, bottom: float, year: int) -> Image:
        right, top = left + self.side_m, bottom + self.side_m

        def inside(places: Places) -> np.ndarray:
            x, y = places.of(epsg(zone))
            return (x >= left) & (x < right) & (y > bottom) & (y <= top)

        def at(places: Places) -> np.ndarray:
            found, here = np.full((*places.shape, 64), np.nan), inside(places)
            column, row = (np.floor(axis[here] / PIXEL_M).astype(int) for axis in places.of(epsg(zone)))
            if here.any():
                found[here] = decode(self.codes(zone, column, row, year))
            return found

        box = Transformer.from_crs(epsg(zone), 4326, always_xy=True)
        return Image(
            bands=BANDS,
            at=at,
            inside=inside,
            bounds=box.transform_bounds(left, bottom, right, top),
            properties={'system:time_start': milliseconds(f'{year}-01-01'), 'UTM_ZONE': zone},
        )


def coded(embeddings: Callable) -> Callable:
    "Codes of an embedding at the centres of pixels."

    def codes(zone: str, column: np.ndarray, row: np.ndarray, year: int) -> np.ndarray:
        x, y = (column + 0.5) * PIXEL_M, (row + 0.5) * PIXEL_M
        return encode(embeddings(*Places(x, y, epsg(zone)).lonlat, year))

    return codes


def coded_raster(path: object) -> tuple[str, float, float, Callable]:
    "A released raster: its zone, left and bottom, and the codes of its pixels, -128 beside it."
    import rasterio

    with rasterio.open(path) as file:
        raster, affine, number = np.moveaxis(file.read(), 0, -1), file.transform, file.crs.to_epsg()
    if affine.e > 0:
        raster, north = raster[::-1], affine.f + affine.e * len(raster)
    else:
        north = affine.f
    left, height, width = round(affine.c / PIXEL_M), len(raster), raster.shape[1]
    top = round(north / PIXEL_M)

    def codes(zone: str, column: np.ndarray, row: np.ndarray, year: int) -> np.ndarray:
        x, y = column - left, top - 1 - row
        there = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        found = np.full((*np.shape(column), 64), -128, np.int8)
        found[there] = raster[y[there], x[there]]
        return found

    zone = f'{number % 100}{"N" if number < 32700 else "S"}'
    return zone, left * PIXEL_M, (top - height) * PIXEL_M, codes
