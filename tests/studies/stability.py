"""How stable the released embeddings are: eight areas in China, eight years, the same 500 points each year.

Prints, for each area, how far the same point lies apart in two years, as it is and after the rotation that
all points of the area share, and how far different points lie apart in one year; all with 95 % intervals of
resampled points. What is done is kept beside --out, an area at a time, so that a second run goes on:

    python tests/studies/stability.py [--out stability.json]

What it cannot show: the points of an area are a sample whose places are not told, so that neighbours among
them cannot be kept together and the intervals may be too narrow; and true change counts as drift.
"""
import argparse
import json
from pathlib import Path

import numpy as np

from alphaearth_nb.codes import dequantize
from alphaearth_nb.core import write_aside
from alphaearth_nb.stability import drift_of

DATA = Path(__file__).resolve().parents[2]/'../shared/data/aef_china_8areas_2017_2024_int8.npz'
COLUMNS = ('drift', 'drift_aligned', 'spread', 'share', 'nearer', 'found')
HEADS = ('area', 'a year on', 'after the rotation', 'other places', 'share', 'nearer to itself',
         'own nearest', '7 years on, after the rotation')


def vectors_of(store, area:str) -> dict[str, np.ndarray]:
    "Unit vectors of the points that have data in all years."
    years = sorted(key.rpartition('__')[2] for key in store if key.startswith(f'{area}__'))
    given = {year: dequantize(store[f'{area}__{year}']).astype(np.float64) for year in years}
    known = np.logical_and.reduce([np.isfinite(part).all(1) for part in given.values()])
    return {year: part[known] for year, part in given.items()}


def measure(store, area:str) -> dict:
    "Numbers of one area."
    vectors = vectors_of(store, area)
    found = drift_of(vectors, np.arange(len(next(iter(vectors.values())))))
    return found.to_dict() | dict(points=found.facts['places'])


def cell(one:dict, percent:bool=False) -> str:
    "A value with its interval."
    value, low, high = (one[name]*(100 if percent else 1) for name in ('value', 'low', 'high'))
    return f'{value:.0f} % ({low:.0f}–{high:.0f})' if percent else f'{value:.3f} ({low:.3f}–{high:.3f})'


def table(found:dict[str, dict]) -> str:
    "One row an area."
    rows = [HEADS, ['---']*len(HEADS)]
    for area, one in found.items():
        cells = [cell(one[name], name in ('share', 'nearer', 'found')) for name in COLUMNS]
        rows.append([area, *cells, cell(one['by_gap']['7'])])
    return '\n'.join('| ' + ' | '.join(row) + ' |' for row in rows)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    asked.add_argument('--out', type=Path, help='JSON file to keep results in, and to go on from')
    asked.add_argument('--areas', nargs='*', help='some of them; all without it')
    given = asked.parse_args()
    if not DATA.is_file(): raise SystemExit(f'{DATA.name} is not here; it is no part of the repository.')
    found = json.loads(given.out.read_text()) if given.out and given.out.is_file() else {}
    with np.load(DATA) as store:
        areas = given.areas or sorted({key.rpartition('__')[0] for key in store})
        for area in areas:
            if area in found: continue
            found[area] = measure(store, area)
            if given.out:
                with write_aside(given.out, overwrite=True) as aside: aside.write_text(json.dumps(found))
    print(table({area: found[area] for area in areas}))
    print(f'\n{sum(found[area]["points"] for area in areas):,} points; distances are one minus cosine.')


if __name__ == '__main__': main()
