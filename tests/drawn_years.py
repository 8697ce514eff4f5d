"""Fields of one drawn place in several years, with noise, a common rotation, and a change that is known."""
import numpy as np

from alphaearth_nb.fields import make_field
from alphaearth_nb.grids import utm_grid, window

GRID = window(utm_grid((5., 51., 5.02, 51.02)), 0, 0, 64, 80)
HECTARE = 100       # pixels of 10 m


def unit(vectors): return vectors/np.linalg.norm(vectors, axis=-1, keepdims=True)


def turn(seed, size=.02):
    "A rotation close to none, as years are turned against each other."
    skew = np.random.default_rng(seed).normal(size=(64, 64))*size
    found = np.linalg.qr(np.eye(64) + skew - skew.T)[0]
    return found*np.sign(np.diag(found))


def ground(seed, grid=GRID):
    y, x = np.mgrid[:grid.height, :grid.width]
    rng = np.random.default_rng(seed)
    waves = np.stack([np.sin(x/(4 + k) + k)*np.cos(y/(3 + k)) for k in range(8)], -1)
    return unit(rng.normal(size=64) + waves@rng.normal(size=(8, 64)))


def field(vectors, when, model='drawn', **attrs):
    return make_field(vectors.astype(np.float32), GRID, when, model=model, attrs=attrs)


def years(seed, noise=.02, part=.15):
    "Fields of 2017, 2018 and 2024, and where the last differs."
    rng = np.random.default_rng(seed)
    seen = lambda vectors: unit(vectors + noise*rng.normal(size=vectors.shape))
    truth = np.zeros(GRID.shape, bool)
    truth[8:8 + int(part*80), 10:74] = True
    place = ground(seed)
    later = np.where(truth[..., None], ground(seed + 1000), place)
    made = {2017: field(seen(place), '2017'), 2018: field(seen(place@turn(1)), '2018'),
            2024: field(seen(later@turn(2)), '2024')}
    return made, truth
