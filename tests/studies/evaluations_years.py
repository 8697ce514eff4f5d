"""(d) Drift and change of the released embeddings: eight areas of China, eight years, the same 500 points.

Drift is measured as stability.py measures it. Change is what `ae.change` calls beyond the stable
background, of which one call in twenty may be false. The points are laid out as a raster in no order:
nothing that is asked looks at neighbours. Whether the promise holds is seen by planting: a tenth of the
points of 2021 get each other's vectors, so that what is called and was not planted is a false alarm or a
true change.
"""
import json
from pathlib import Path

import numpy as np
from evaluations_common import here, percent, table
from stability import DATA, cell, vectors_of
from stability import measure as drifts

RATE, PLANTED, ROWS, COLUMNS = .05, .1, 20, 25
DRIFT = ('drift', 'drift_aligned', 'spread', 'share', 'nearer', 'found', 'by_gap')
LONG, SHORT = ('2017', '2024'), ('2020', '2021')


def as_fields(vectors:dict[str, np.ndarray]) -> dict:
    "Points as fields, in no order."
    from alphaearth_nb.fields import make_field
    from alphaearth_nb.grids import grid_from_centres
    grid = grid_from_centres(5. + 10*np.arange(COLUMNS), 5. + 10*np.arange(ROWS), 'EPSG:32650')
    return {year: make_field(part.astype(np.float32).reshape(ROWS, COLUMNS, 64), grid, year)
            for year, part in vectors.items()}


def plant(vectors:dict[str, np.ndarray], seed:int=0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    "Vectors in which a tenth of the points of one year have changed places, and which (n,)."
    year, rng = SHORT[1], np.random.default_rng(seed)
    count = len(vectors[year])
    which, made = rng.choice(count, int(PLANTED*count), replace=False), vectors[year].copy()
    made[which] = vectors[year][np.roll(which, 1)]
    return vectors | {year: made}, np.isin(np.arange(count), which)


def called(vectors:dict[str, np.ndarray], between:tuple[str, str]) -> tuple[np.ndarray, dict]:
    "Which points (n,) are called, and what the background is like."
    from alphaearth_nb.changes import change
    found = change(as_fields(vectors), between)
    return found.called(RATE).values.ravel(), {'quiet': list(found.facts['quiet']),
                                               'stable': found.background.stable}


def one_area(store:object, area:str) -> dict:
    "Drift and change of one area."
    vectors = vectors_of(store, area)
    (long, facts), (short, _) = (called(vectors, between) for between in (LONG, SHORT))
    mixed, which = plant(vectors)
    seen, _ = called(mixed, SHORT)
    drift = {name: one for name, one in drifts(store, area).items() if name in DRIFT}
    return {'drift': drift, 'points': len(long), 'seven years': int(long.sum()),
            'one year': int(short.sum()), **facts, 'planted': int(which.sum()),
            'found': int((seen & which).sum()), 'not planted': int((seen & ~which).sum()),
            'called before': int((seen & ~which & short).sum())}


def measure(work:Path|None=None) -> dict:
    "All numbers of the study, an area at a time."
    here(DATA.name)
    kept = work/'d.json' if work else None
    found = json.loads(kept.read_text()) if kept and kept.is_file() else {}
    with np.load(DATA) as store:
        for area in sorted({key.rpartition('__')[0] for key in store}):
            if area not in found: found[area] = one_area(store, area)
            if kept: kept.write_text(json.dumps(found))
        codes = [store[key] for key in store]
    twice = sum(len(one) - len(np.unique(one, axis=0)) for one in codes)
    return {'areas': found, 'data': {
        'areas and years': len(codes), 'points of each': sorted({len(one) for one in codes}),
        'without data': int(sum((one == -128).any(1).sum() for one in codes)),
        'the same embedding twice in a year': twice}}


def share(count:int, of:int) -> dict:
    "A share of points with Wilson's interval."
    from scipy import stats
    one = stats.binomtest(count, of).proportion_ci(method='wilson')
    return {'value': count/of, 'low': float(one.low), 'high': float(one.high)}


def summed(found:dict) -> dict[str, int]:
    "Counts of all areas together."
    names = ('points', 'seven years', 'one year', 'planted', 'found', 'not planted', 'called before')
    return {name: sum(one[name] for one in found['areas'].values()) for name in names}


def tables(found:dict) -> list[str]:
    "The table of the page, and the rest of the drift."
    short, long = [], []
    for area, one in found['areas'].items():
        drift, name = one['drift'], area.replace('_', ' ')
        short.append([name, cell(drift['drift_aligned']), cell(drift['by_gap']['7']), cell(drift['spread']),
                      *(percent(share(one[key], one['points'])) for key in ('one year', 'seven years')),
                      f"{one['found']} of {one['planted']}", str(one['not planted'])])
        shares = [cell(drift[key], True) for key in ('share', 'nearer', 'found')]
        long.append([name, cell(drift['drift']), *shares, '–'.join(one['quiet']), f"{100*one['stable']:.0f}"])
    head = ['area', 'a year on', 'seven years on', 'other places', 'called changed, a year, %',
            'seven years, %', 'planted and found', 'called, not planted']
    more = ['area', 'a year on, as it is', 'share of the spread', 'nearer to itself', 'own nearest a year on',
            'quiet years', 'stable, %']
    return [table(head, short), table(more, long)]
