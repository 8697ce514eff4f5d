"""Projections of images of the Earth Engine on this machine: what pixels an image has of its own."""

from dataclasses import replace

import numpy as np
from earth_engine_pixels import Image, Places, Refused

Native = tuple[str, float, float, float]  # CRS, left, top, side of a pixel


class Projected:
    "Functions by their names with _ for the dot; part of Functions."

    def Projection(self, crs: str, transform: list | None = None, transformWkt: str = '') -> Native:
        return lattice(crs, transform or [1, 0, 0, 0, -1, 0])

    def Image_projection(self, image: Image) -> Native:
        if image.native is None:
            raise Refused('Image.projection: the image has no pixels of its own, here.')
        return image.native

    def Image_setDefaultProjection(
        self, image: Image, crs: Native, crsTransform: list | None = None, scale: float | None = None
    ) -> Image:
        return replace(image, native=lattice(crs[0], crsTransform) if crsTransform else crs)

    def Image_reproject(
        self, image: Image, crs: Native, crsTransform: list | None = None, scale: float | None = None
    ) -> Image:
        native = lattice(crs[0], crsTransform) if crsTransform else crs
        name, left, top, side = native

        def at(places: Places) -> np.ndarray:
            x, y = places.of(name)
            column, row = np.floor((x - left) / side), np.floor((top - y) / side)
            return image.at(Places(left + (column + 0.5) * side, top - (row + 0.5) * side, name))

        return replace(image, at=at, native=native)


def lattice(crs: str, transform: list) -> Native:
    "Pixels of a transform as Earth Engine writes it; only square ones, north up."
    across, _, left, _, down, top = transform
    if across != -down:
        raise Refused('Only square pixels with the north above are known here.')
    return crs, left, top, across
