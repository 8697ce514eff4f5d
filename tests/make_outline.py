"""Makes the outline that maps show where no tiles can be had: coasts and borders, static/outline.json.

    python tests/make_outline.py                        get world-atlas with npm, write the file
    python tests/make_outline.py world-atlas-2.0.2.tgz  the same from an archive that is here already

The lines are Natural Earth's at 1:50 million, which is in the public domain, as the npm package world-atlas
gives them (TopoJSON). A line that bounds one country is a coast, a line between two is a border; each is
simplified once, so that neighbours keep one line in common.
"""
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from shapely import LineString

from alphaearth_nb.core import write_aside

OUTLINE = Path(__file__).resolve().parents[1]/'alphaearth_nb'/'static'/'outline.json'
PACKAGE, SHA256 = 'world-atlas@2.0.2', '032e7765f2ce00edaeafec23ff22bc3b77e42987c257da944cc585b452c05b97'
TOLERANCE_DEG = .12      # lines stay within about 13 km of Natural Earth's, 53 km in polar regions
ISLAND_DEG = .4          # what is smaller from end to end is left out
DECIMALS = 2
NORTH, SOUTH = 84., -84. # beyond, a Web Mercator map shows nothing
ARCTIC, ANTARCTIC = 66.5, -60.
SOURCE = {
    'origin': 'Natural Earth 4.1, countries at 1:50 million, https://www.naturalearthdata.com, '
              f'from the npm package {PACKAGE}',
    'licence': 'public domain (Natural Earth); the package: ISC, (c) 2013-2019 Michael Bostock',
    'borders': 'as Natural Earth draws them, by who holds the ground; no statement of this project',
    'changes': f'simplified to {TOLERANCE_DEG} degrees (four times that beyond latitudes {ARCTIC} '
               f'and {ANTARCTIC}), rounded to {DECIMALS} decimals, '
               f'without islands smaller than {ISLAND_DEG} degrees',
    'command': 'python tests/make_outline.py',
}


def fetch(folder:Path) -> Path:
    "Get the archive of the npm package."
    subprocess.run(['npm', 'pack', '--silent', PACKAGE], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return next(folder.glob('*.tgz'))


def topology(archive:Path) -> dict:
    "The countries of an archive that is the known one."
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != SHA256: raise SystemExit(f'{archive} has SHA-256 {found}, but {PACKAGE} has {SHA256}')
    with tarfile.open(archive) as files: return json.load(files.extractfile('package/countries-50m.json'))


def arcs_of(geometry:dict) -> set[int]:
    "Numbers of the arcs that bound a country; TopoJSON writes ~n for arc n backwards."
    def flat(nested:list|int) -> list[int]:
        return [one for each in nested for one in flat(each)] if isinstance(nested, list) else [nested]
    return {arc if arc >= 0 else ~arc for arc in flat(geometry.get('arcs', []))}


def pieces(points:np.ndarray) -> Iterator[np.ndarray]:
    "An arc without the edges that only close a polygon: along the antimeridian, across it, at the poles."
    kept = [not (min(abs(x), abs(u)) > 179.5 or abs(x - u) > 180 or max(y, v) < SOUTH or min(y, v) > NORTH)
            for (x, y), (u, v) in pairwise(points)]
    start = None
    for index, one in enumerate([*kept, False]):
        if one and start is None: start = index
        elif not one and start is not None:
            yield points[start:index + 1]
            start = None


def simple(points:np.ndarray) -> list[list[float]]:
    "A line with fewer and rounder points; [] for an island too small to be seen."
    closed, middle = (points[0] == points[-1]).all(), points.mean(0)[1]
    shrink = np.array([np.cos(np.radians(middle)), 1.])              # degrees of equal length both ways
    if closed and np.ptp(points*shrink, axis=0).max() < ISLAND_DEG: return []
    coarser = 1 if ANTARCTIC < middle < ARCTIC else 4
    line = LineString(points*shrink).simplify(TOLERANCE_DEG*coarser)
    line = np.round(line.coords/shrink, DECIMALS).tolist()
    line = [point for index, point in enumerate(line) if index == 0 or point != line[index - 1]]
    return [] if len(line) < (4 if closed else 2) else line


def outline(atlas:dict) -> dict:
    "Coasts and borders as GeoJSON."
    scale, shift = (np.array(atlas['transform'][key]) for key in ('scale', 'translate'))
    uses = Counter(arc for country in atlas['objects']['countries']['geometries'] for arc in arcs_of(country))
    lines = {'coast': [], 'border': []}
    for number, arc in enumerate(atlas['arcs']):
        if not uses[number]: continue
        for piece in pieces(np.cumsum(arc, axis=0)*scale + shift):
            if line := simple(piece): lines['coast' if uses[number] == 1 else 'border'].append(line)
    return {'type': 'FeatureCollection', 'source': SOURCE, 'features': [
        {'type': 'Feature', 'properties': {'kind': kind},
         'geometry': {'type': 'MultiLineString', 'coordinates': found}} for kind, found in lines.items()]}


def main(archive:str='') -> None:
    "Write the file."
    with tempfile.TemporaryDirectory() as folder:
        atlas = topology(Path(archive) if archive else fetch(Path(folder)))
    text = json.dumps(outline(atlas), separators=(',', ':')).replace('.0]', ']').replace('.0,', ',')
    with write_aside(OUTLINE, overwrite=True) as aside: aside.write_text(text + '\n', encoding='utf-8')
    written = OUTLINE.read_bytes()
    print(f'{OUTLINE.name}: {len(written)/1000:.0f} kB, SHA-256 {hashlib.sha256(written).hexdigest()}')


if __name__ == '__main__': main(*sys.argv[1:])
