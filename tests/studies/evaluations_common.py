"""What the studies on real data share: where the data lie, blocks of points, and how numbers are written."""
import json
from pathlib import Path

import numpy as np

from alphaearth_nb.intervals import Paired, paired

DATA = Path(__file__).resolve().parents[2]/'../shared/data'
BANDS = [f'A{band:02}' for band in range(64)]
LAT_KM, LON_KM, RADIUS_KM = 110.57, 111.32, 6371.009   # a degree; one at the equator; the Earth


def here(name:str) -> Path:
    "Path of some data, or stop with the reason."
    path = DATA/name
    if not path.exists():
        raise SystemExit(f'../shared/data/{name} is not here; it is no part of the repository.')
    return path


def blocks(points:np.ndarray, side_km:float) -> np.ndarray:
    "Name (n,) of the square that each point (n, 2) of a region of a degree or two lies in."
    scale = np.array([LON_KM*np.cos(np.radians(points[:, 1].mean())), LAT_KM])
    return np.array([f'{east}/{north}' for east, north in (points*scale//side_km).astype(int)])


def on_sphere(points:np.ndarray) -> np.ndarray:
    "Longitude and latitude (n, 2) as (n, 3) kilometres from the middle of the Earth."
    lon, lat = np.radians(points.T)
    return np.stack([np.cos(lat)*np.cos(lon), np.cos(lat)*np.sin(lon), np.sin(lat)], 1)*RADIUS_KM


def far_from(points:np.ndarray, others:np.ndarray, km:float) -> np.ndarray:
    "Whether each point (n, 2) lies at least so far from all others."
    from scipy.spatial import cKDTree
    return cKDTree(on_sphere(others)).query(on_sphere(points))[0] >= km


def ends(one:Paired) -> dict:
    "A difference and its interval, for JSON."
    return {'value': one.mean, 'low': one.low, 'high': one.high, 'detectable': one.detectable}


def over_splits(scores:list[float], ratio:float) -> dict:
    "Mean of some splits with the interval that knows that they share their units."
    return ends(paired(np.array(scores), np.zeros(len(scores)), ratio))


def scored(one:object) -> dict:
    "A score of `ae.evaluate` and its interval, for JSON."
    low, high = one.interval
    return {'value': one.mean, 'low': float(low), 'high': float(high), 'beside': float(one.beside.mean())}


def words(one:dict|None, digits:int=2, scale:float=1) -> str:
    "Such as 0.71 [0.66, 0.77]."
    if one is None: return '–'
    value, low, high = (f'{scale*one[key]:z.{digits}f}' for key in ('value', 'low', 'high'))
    return f'{value} [{low}, {high}]'.replace('-', '−')


def percent(one:dict|None, digits:int=0) -> str:
    "Such as 71 [66, 77]."
    return words(one, digits, 100)


def table(head:list[str], rows:list[list[str]]) -> str:
    "A table in Markdown."
    lines = [head, ['---']*len(head), *rows]
    return '\n'.join('| ' + ' | '.join(row) + ' |' for row in lines)


def put_table(table:str, path:Path) -> bool:
    "Put a table in the place of the one with its head, in a notebook; False where there is no such place."
    book, head = json.loads(path.read_text(encoding='utf-8')), table.partition('\n')[0] + '\n'
    cells = [cell for cell in book['cells'] if ''.join(cell['source']).startswith(head)]
    if len(cells) != 1: return False
    cells[0]['source'] = table if isinstance(cells[0]['source'], str) else table.splitlines(True)
    path.write_text(json.dumps(book, indent=1, ensure_ascii=False, sort_keys=True) + '\n', encoding='utf-8')
    return True
