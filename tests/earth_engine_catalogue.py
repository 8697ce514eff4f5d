"""Collections of made-up scenes for the Earth Engine on this machine, and what is computed from them.

    scene = Scene('20230601_a', 1_685_616_631_000, {'B4': array or at(lon, lat), 'QA_PIXEL': ...},
                  ('EPSG:32631', left_m, top_m, pixel_m), (height, width), {'SUN_ELEVATION': 40})
    with serving(Catalogue({'LANDSAT/LC08/C02/T1_TOA': [scene, ...]})) as server: ...

A band is an array (height, width), NaN where masked, or a function of longitude and latitude that is asked at
the centres of the scene's own pixels. Images keep those: the nearest is taken, or the four around after
Image.resample('bilinear'), which refuses an image that has none of its own. Catalogue(collections, archive)
serves the released embeddings of the archive beside them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from earth_engine_pixels import Image, Places, Refused, as_image, box_of, of_one, of_two
from pyproj import Transformer

Native = tuple[str, float, float, float]  # CRS, left, top, side of a pixel


@dataclass
class Scene:
    "One image of a collection."

    index: str
    ms: int
    bands: dict
    native: Native
    shape: tuple[int, int]
    properties: dict = field(default_factory=dict)

    def image(self, asset: str) -> Image:
        (crs, left, top, side), (height, width) = self.native, self.shape
        box = (left, top - height * side, left + width * side, top)
        degrees = Transformer.from_crs(crs, 4326, always_xy=True)

        def where(places: Places) -> tuple:
            x, y = places.of(crs)
            column, row = (np.floor(axis).astype(int) for axis in ((x - left) / side, (top - y) / side))
            return row, column, (row >= 0) & (row < height) & (column >= 0) & (column < width)

        def at(places: Places) -> np.ndarray:
            row, column, here = where(places)
            found = np.full((*places.shape, len(self.bands)), np.nan)
            x, y = left + (column[here] + 0.5) * side, top - (row[here] + 0.5) * side
            for number, band in enumerate(self.bands.values()):
                if callable(band):
                    found[here, number] = band(*degrees.transform(x, y))
                else:
                    found[here, number] = np.asarray(band, float)[row[here], column[here]]
            return found

        return Image(
            bands=list(self.bands),
            at=at,
            inside=lambda places: where(places)[2],
            bounds=degrees.transform_bounds(*box),
            native=self.native,
            properties=self.properties
            | {'system:index': self.index, 'system:time_start': self.ms},
        )


class Catalogue:
    "What ids of collections hold: {id: scenes}."

    def __init__(self, collections: dict[str, Sequence[Scene]], archive: object = None):
        self.collections, self.archive = collections, archive

    def images(self) -> list[Image]:
        "The released embeddings, if there are any."
        return list(self.archive.images()) if self.archive else []

    def of(self, asset: str) -> list[Image]:
        if asset not in self.collections:
            raise Refused(
                f"ImageCollection.load: ImageCollection asset '{asset}' not found "
                '(does not exist or caller does not have access).'
            )
        return [scene.image(asset) for scene in self.collections[asset]]


def bilinear(image: Image) -> Callable:
    "What an image is at places between the centres of its own pixels; masked ones have no say."
    crs, left, top, side = image.native

    def at(places: Places) -> np.ndarray:
        x, y = places.of(crs)
        across, down = (x - left) / side - 0.5, (top - y) / side - 0.5
        column, row = np.floor(across), np.floor(down)
        total = weight = 0
        for step_x in (0, 1):
            for step_y in (0, 1):
                centre = Places(
                    left + (column + step_x + 0.5) * side, top - (row + step_y + 0.5) * side, crs
                )
                share = (1 - abs(across - column - step_x)) * (1 - abs(down - row - step_y))
                values = image.at(centre)
                known = np.isfinite(values) * share[..., None]
                total, weight = total + known * np.nan_to_num(values), weight + known
        nearest = image.at(places)  # the mask is that of the nearest
        with np.errstate(invalid='ignore'):
            return np.where(np.isfinite(nearest), total / weight, np.nan)

    return at


def comparing(operate: Callable) -> Callable:
    "1 where true, 0 where not, masked where either is."

    def both(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.where(np.isnan(a) | np.isnan(b), np.nan, operate(a, b))

    return both


def bits(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    "Those that both have, of whole numbers."
    known = np.isfinite(a) & np.isfinite(b)
    return np.where(known, np.nan_to_num(a).astype(np.int64) & np.nan_to_num(b).astype(np.int64), np.nan)


def filtering(operate: Callable) -> Callable:
    "A filter on a property; what lacks it does not pass."

    def make(self: object, leftField: str, rightValue: object) -> Callable:
        def passes(one: Image) -> bool:
            found = one.properties.get(leftField)
            return found is not None and bool(operate(found, rightValue))

        return passes

    return make


class Catalogued:
    "Functions on collections and images, by their names with _ for the dot; part of Functions."

    def Image_load(self, id: str, version: int | None = None) -> Image:
        asset, _, index = id.rpartition('/')
        for one in self.ImageCollection_load(asset):
            if one.properties.get('system:index') == index:
                return one
        raise Refused(f"Image.load: Image asset '{id}' not found (does not exist or no access).")

    def ImageCollection_fromImages(self, images: list) -> list:
        return list(images)

    def Collection_map(self, collection: list, baseAlgorithm: Callable, dropNulls: bool = False) -> list:
        return [baseAlgorithm(one) for one in collection]

    def Collection_toList(self, collection: list, count: int, offset: int = 0) -> list:
        found = collection[int(offset) : int(offset) + int(count)]
        if len(found) > 5000:
            raise Refused('Collection query aborted after accumulating over 5000 elements.')
        return found

    def Collection_merge(self, collection1: list, collection2: list) -> list:
        return [*collection1, *collection2]

    def Collection_size(self, collection: list) -> int:
        return len(collection)

    def Collection_limit(self, collection: list, limit: int, key: str = '', ascending: bool = True) -> list:
        if key:
            collection = sorted(collection, key=lambda one: one.properties[key], reverse=not ascending)
        return collection[: int(limit)]

    Filter_greaterThan = filtering(lambda found, wanted: found > wanted)
    Filter_lessThan = filtering(lambda found, wanted: found < wanted)
    Filter_inList = filtering(lambda found, wanted: found in wanted)
    Filter_listContains = filtering(lambda found, wanted: wanted in found)

    def Filter_and(self, filters: list) -> Callable:
        return lambda one: all(each(one) for each in filters)

    def Filter_or(self, filters: list) -> Callable:
        return lambda one: any(each(one) for each in filters)

    # ---- properties

    def Element_get(self, object: object, property: str) -> object:
        return properties_of(object).get(property)

    def Element_copyProperties(
        self, destination: dict, source: Image, properties: list | None = None, exclude: object = None
    ) -> dict:
        copied = {name: source.properties[name] for name in properties or [] if name in source.properties}
        return destination | dict(properties=destination['properties'] | copied)

    def Image_linkCollection(
        self, input: Image, imageCollection: list, linkedBands: list, matchPropertyName: str = 'system:index'
    ) -> Image:
        wanted = input.properties.get(matchPropertyName)
        found = [one for one in imageCollection if one.properties.get(matchPropertyName) == wanted]
        if found:
            linked = found[0].pick(list(linkedBands))
        else:
            linked = as_image([np.nan] * len(linkedBands)).having(
                lambda places: np.full((*places.shape, len(linkedBands)), np.nan), linkedBands
            )
        return self.Image_addBands(input, linked, None, True)

    # ---- pixels

    def Image_resample(self, image: Image, mode: str = 'bilinear') -> Image:
        if mode != 'bilinear' or image.native is None:
            raise Refused('Image.resample: only bilinear, and only of an image with pixels of its own, here.')
        return replace(image, at=bilinear(image))

    def Image_mask(self, image: Image, mask: object = None) -> Image:
        if mask is not None:
            raise Refused('Image.mask: setting a mask is not known here.')
        return image.having(lambda places: np.isfinite(image.at(places)).astype(float))

    def Image_updateMask(self, image: Image, mask: object) -> Image:
        mask = as_image(mask)
        if len(mask.bands) not in (1, len(image.bands)):
            raise Refused(f'Image.updateMask: {len(mask.bands)} masks for {len(image.bands)} bands.')

        def at(places: Places) -> np.ndarray:
            shown = np.nan_to_num(mask.at(places)) > 0
            return np.where(shown, image.at(places), np.nan)

        return replace(image, at=at)

    Image_log = staticmethod(of_one(np.log))
    Image_log10 = staticmethod(of_one(np.log10))
    Image_sin = staticmethod(of_one(np.sin))
    Image_cos = staticmethod(of_one(np.cos))
    Image_not = staticmethod(of_one(lambda values: np.where(np.isnan(values), np.nan, values == 0)))
    Image_toFloat = Image_float = staticmethod(of_one(lambda values: values, 'float'))
    Image_toDouble = Image_double = staticmethod(of_one(lambda values: values))
    Image_pow = staticmethod(of_two(np.power))
    Image_max = staticmethod(of_two(np.maximum))
    Image_min = staticmethod(of_two(np.minimum))
    Image_bitwiseAnd = staticmethod(of_two(bits))
    Image_eq = staticmethod(of_two(comparing(np.equal)))
    Image_neq = staticmethod(of_two(comparing(np.not_equal)))
    Image_gt = staticmethod(of_two(comparing(np.greater)))
    Image_gte = staticmethod(of_two(comparing(np.greater_equal)))
    Image_lt = staticmethod(of_two(comparing(np.less)))
    Image_lte = staticmethod(of_two(comparing(np.less_equal)))
    Image_and = staticmethod(of_two(comparing(lambda a, b: (a != 0) & (b != 0))))
    Image_or = staticmethod(of_two(comparing(lambda a, b: (a != 0) | (b != 0))))

    def Reducer_min(self) -> str:
        return 'min'

    def Reducer_mean(self) -> str:
        return 'mean'


def properties_of(one: object) -> dict:
    return one.properties if isinstance(one, Image) else one['properties']


__all__ = ['Catalogue', 'Catalogued', 'Scene', 'box_of']
