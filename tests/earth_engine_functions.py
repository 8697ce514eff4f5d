"""The functions of Earth Engine that the toolkit uses, on the graph of calls that the client sends."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from earth_engine_catalogue import Catalogued
from earth_engine_pixels import (
    ASSET,
    Image,
    Places,
    Refused,
    as_image,
    box_of,
    milliseconds,
    of_one,
    of_two,
    whole,
)
from earth_engine_projections import Projected

FEATURES = 5000  # in one answer


class Features(list):
    "Features, even if there are none."


class Functions(Catalogued, Projected):
    "By their names with _ for the dot."

    def __init__(self, archive: object):
        self.archive = archive

    # ---- collections

    def ImageCollection_load(self, id: str) -> list:
        if id != ASSET and hasattr(self.archive, 'of'):
            return self.archive.of(id)
        if id != ASSET:
            raise Refused(
                f"ImageCollection.load: ImageCollection asset '{id}' not found (does not exist or no access)."
            )
        return list(self.archive.images())

    def DateRange(self, start: object, end: object = None, timeZone: str = '') -> tuple:
        return milliseconds(start), milliseconds(end)

    def Filter_dateRangeContains(self, leftValue: tuple, rightField: str) -> Callable:
        return lambda one: leftValue[0] <= one.properties[rightField] < leftValue[1]  # the end is not in it

    def Filter_equals(self, leftField: str, rightValue: object) -> Callable:
        return lambda one: one.properties.get(leftField) == rightValue

    def Filter_intersects(self, leftField: str, rightValue: dict) -> Callable:
        west, south, east, north = box_of(rightValue['geometry'])

        def meets(one: Image) -> bool:
            left, bottom, right, top = one.bounds
            return left <= east and right >= west and bottom <= north and top >= south

        return meets

    def Collection_filter(self, collection: list, filter: Callable) -> list:
        return [one for one in collection if filter(one)]

    def Collection_first(self, collection: list) -> object:
        if not collection:
            raise Refused("Image.select: Parameter 'input' is required and may not be null.")
        return collection[0]

    def AggregateFeatureCollection_array(self, collection: list, property: str) -> list:
        return [one.properties[property] for one in collection if property in one.properties]

    def ImageCollection_mosaic(self, collection: list) -> Image:
        if not collection:
            return Image(bands=[], at=lambda places: np.zeros((*places.shape, 0)))
        first = collection[0]
        if len(collection) == 1:
            return replace(first, native=None)  # a mosaic has no pixels of its own

        def at(places: Places) -> np.ndarray:
            found = np.full((*places.shape, len(first.bands)), np.nan)
            for one in collection:  # the last one lies on top
                values = one.at(places)
                found = np.where(np.isnan(values), found, values)
            return found

        mosaic = replace(first.having(at), native=None)
        mosaic.inside = lambda places: np.any([one.inside(places) for one in collection], 0)
        return mosaic

    # ---- images

    def Image_constant(self, value: object) -> Image:
        return as_image(value)

    def Image_select(self, input: Image, bandSelectors: list, newNames: list | None = None) -> Image:
        return input.pick(bandSelectors)

    def Image_rename(self, input: Image, names: list) -> Image:
        names = [names] if isinstance(names, str) else list(names)
        if len(names) != len(input.bands):
            raise Refused(f'Image.rename: {len(names)} names for {len(input.bands)} bands.')
        return replace(input, bands=names)

    Image_multiply = staticmethod(of_two(np.multiply))
    Image_subtract = staticmethod(of_two(np.subtract))
    Image_add = staticmethod(of_two(np.add))
    Image_divide = staticmethod(of_two(np.divide))
    Image_abs = staticmethod(of_one(np.abs))
    Image_sqrt = staticmethod(of_one(np.sqrt))
    Image_exp = staticmethod(of_one(np.exp))
    Image_signum = staticmethod(of_one(np.sign))
    Image_round = staticmethod(of_one(lambda values: np.floor(values + 0.5)))
    Image_toInt8 = Image_int8 = staticmethod(whole('int8'))
    Image_toInt32 = Image_int32 = staticmethod(whole('int32'))

    def Image_unmask(self, input: Image, value: object = 0, sameFootprint: bool = True) -> Image:
        filling = as_image(value)

        def at(places: Places) -> np.ndarray:
            values = input.at(places)
            here = np.isnan(values)
            if sameFootprint:
                here &= input.inside(places)[..., None]
            return np.where(here, filling.at(places), values)

        return input.having(at)

    def Reducer_sum(self) -> str:
        return 'sum'

    def Reducer_max(self) -> str:
        return 'max'

    def Image_reduce(self, image: Image, reducer: str) -> Image:
        return image.having(lambda places: getattr(image.at(places), reducer)(-1, keepdims=True), [reducer])

    def Image_addBands(
        self, dstImg: Image, srcImg: Image, names: object = None, overwrite: bool = False
    ) -> Image:
        if overwrite and set(srcImg.bands) & set(dstImg.bands):
            kept = [name for name in dstImg.bands if name not in srcImg.bands]
            order = [*dstImg.bands, *(name for name in srcImg.bands if name not in dstImg.bands)]
            if not kept:
                return replace(srcImg.pick(order), properties=dstImg.properties)
            return self.Image_addBands(dstImg.pick(kept), srcImg).pick(order)
        more = [f'{name}_{len(dstImg.bands)}' if name in dstImg.bands else name for name in srcImg.bands]
        both = dstImg.having(
            lambda places: np.concatenate([dstImg.at(places), srcImg.at(places)], -1), [*dstImg.bands, *more]
        )
        both.kinds = [*dstImg.kinds, *srcImg.kinds]
        return both

    def Image_remap(self, **given: object) -> Image:
        image, old, new = given['image'], np.asarray(given['from'], float), np.asarray(given['to'], float)

        def at(places: Places) -> np.ndarray:
            values = image.at(places)[..., 0]
            same = values[..., None] == old
            return np.where(same.any(-1), new[same.argmax(-1)], np.nan)[..., None]

        return image.having(at, ['remapped'], 'int32')

    def Image_visualize(self, image: Image, min: object = 0, max: object = 1) -> Image:
        low, high = np.asarray(min, float), np.asarray(max, float)
        return image.having(
            lambda places: 255 * np.clip((image.at(places) - low) / (high - low), 0, 1),
            ['vis-red', 'vis-green', 'vis-blue'],
        )

    # ---- arrays at each pixel

    def Array(self, values: list, pixelType: object = None) -> np.ndarray:
        return np.asarray(values, np.float64)

    def Image_toArray(self, image: Image, axis: int = 0) -> Image:
        if image.axes == 0 and axis == 0:
            return image.having(image.at, ['array'], axes=1)
        if image.axes == 1 and axis == 1:
            return image.having(lambda places: image.at(places)[..., None], ['array'], axes=2)
        raise Refused(f'Image.toArray: axis {axis} of an array of {image.axes} axes is not known here.')

    def Image_matrixMultiply(self, image1: Image, image2: Image) -> Image:
        a, b = as_image(image1), as_image(image2)
        if (a.axes, b.axes) != (2, 2):
            raise Refused('Image.matrixMultiply: both images must be of matrices.')
        return b.having(lambda places: a.at(places) @ b.at(places), ['array'], axes=2)

    def Image_arrayProject(self, input: Image, axes: list) -> Image:
        if input.axes != 2 or list(axes) != [0]:
            raise Refused('Image.arrayProject: only matrices onto axis 0 are known here.')
        return input.having(lambda places: input.at(places)[..., 0], ['array'], axes=1)

    def Image_arrayFlatten(self, image: Image, coordinateLabels: list) -> Image:
        if image.axes != 1 or len(coordinateLabels) != 1:
            raise Refused('Image.arrayFlatten: one list of names for each axis.')
        return image.having(image.at, coordinateLabels[0])

    def Image_arraySort(self, image: Image) -> Image:
        return image.having(lambda places: np.sort(image.at(places), -1), axes=1)

    def Image_arrayArgmax(self, image: Image) -> Image:
        def at(places: Places) -> np.ndarray:
            values = image.at(places)
            best = values.argmax(-1).astype(float)  # the first of several
            return np.where(np.isnan(values).any(-1), np.nan, best)[..., None]

        return image.having(at, axes=1)

    def Image_arrayGet(self, image: Image, position: object) -> Image:
        index = int(as_image(position).at(Places(0.0, 0.0))[0])
        return image.having(lambda places: image.at(places)[..., index, None])

    # ---- points

    def GeometryConstructors_Point(self, coordinates: list, crs: object = None) -> dict:
        return dict(type='Point', coordinates=coordinates)

    def GeometryConstructors_Polygon(self, coordinates: list, **other: object) -> dict:
        return dict(type='Polygon', coordinates=coordinates)

    def GeometryConstructors_BBox(self, west: float, south: float, east: float, north: float) -> dict:
        return dict(type='BBox', coordinates=[west, south, east, north])

    def Feature(self, geometry: dict | None = None, metadata: dict | None = None) -> dict:
        return dict(type='Feature', geometry=geometry, properties=metadata or {})

    def Collection(self, features: list) -> list:
        return features

    def Image_sampleRegions(
        self, image: Image, collection: list, properties: list | None = None, scale: float | None = None
    ) -> list:
        if len(collection) > FEATURES:
            raise Refused(f'Collection query aborted after accumulating over {FEATURES} elements.')
        lon, lat = np.array([one['geometry']['coordinates'] for one in collection], float).T
        return Features(
            dict(
                type='Feature',
                geometry=None,
                properties={name: one['properties'][name] for name in properties or []}
                | dict(zip(image.bands, map(float, row))),
            )
            for one, row in zip(collection, image.at(Places(lon, lat)))
            if np.isfinite(row).all()
        )


def evaluate(expression: dict, functions: Functions) -> object:
    "Work out a graph of calls as the client sends it."
    values, known = expression['values'], {}

    def of(name: str, given: dict) -> object:
        if given:  # within a function the same name may mean something else each time
            return node(values[name], given)
        if name not in known:
            known[name] = node(values[name], given)
        return known[name]

    def node(one: dict, given: dict) -> object:
        ((kind, content),) = one.items()
        if kind == 'constantValue':
            return content
        if kind == 'valueReference':
            return of(content, given)
        if kind == 'argumentReference':
            return given[content]
        if kind == 'arrayValue':
            return [node(each, given) for each in content['values']]
        if kind == 'dictionaryValue':
            return {name: node(each, given) for name, each in content['values'].items()}
        if kind == 'functionDefinitionValue':
            names, body = content['argumentNames'], content['body']
            return lambda *those: of(body, {**given, **dict(zip(names, those))})
        if kind == 'functionInvocationValue':
            name = content['functionName']
            call = getattr(functions, name.replace('.', '_'), None)
            if call is None:
                raise Refused(f'{name} is not known to this server.')
            return call(**{key: node(each, given) for key, each in content.get('arguments', {}).items()})
        raise Refused(f'{kind} is not known to this server.')

    return of(expression['result'], {})
