"""The samples that travel with the project are whole, small, documented, and what the code makes today."""
import re
from pathlib import Path

import make_samples
import numpy as np
import pytest
from pages import ROOT

from alphaearth_nb.fields import read_cog
from alphaearth_nb.frames import FrameSequence
from alphaearth_nb.readers import ARRAYS

MOST_MB, MOST_TINY_KB = 10, 300
STORES = {make_samples.FARMLAND: make_samples.farmland, make_samples.TINY: make_samples.tiny}
STALE = 'run python tests/make_samples.py'


def size(folder:Path) -> int: return sum(file.stat().st_size for file in folder.rglob('*') if file.is_file())


def test_samples_are_small():
    assert size(ROOT/'data_samples') <= MOST_MB*1e6
    assert size(make_samples.TINY) <= MOST_TINY_KB*1e3


def test_the_readme_names_each_sample_with_the_hash_of_its_content():
    rows = dict(re.findall(r'^\| `([^`]+)`.*\| `([0-9a-f]{64})` \|$', make_samples.README.read_text(), re.M))
    assert rows == make_samples.hashes(), STALE
    there = {path.name for path in (ROOT/'data_samples').iterdir()} - {'README.md'}
    assert there == {Path(name).name for name in rows if name.startswith('data_samples/')}


@pytest.mark.parametrize('path', STORES, ids=lambda path: path.name)
def test_a_place_is_what_the_code_draws_today(path):
    "Another processor may round the last bit another way, so a few values in a thousand may be off."
    kept, drawn = FrameSequence.from_zarr(path), STORES[path]()
    assert (kept.sources, kept.name, kept.origin) == (drawn.sources, drawn.name, drawn.origin), STALE
    for key in kept.labels.data_vars:
        np.testing.assert_array_equal(kept.labels[key], drawn.labels[key], STALE)
    for name in kept:
        for key in ARRAYS:
            mine, today = getattr(kept[name], key), getattr(drawn[name], key)
            assert mine.shape == today.shape and mine.dtype == today.dtype, STALE
            if key == 'times': np.testing.assert_array_equal(mine, today, STALE)
            else: assert (mine != today).mean() < .005, f'{STALE}: {name}.{key}'
        assert np.abs(kept[name].values - drawn[name].values).max() < .3, STALE     # kelvin and dB


def test_the_field_is_what_the_code_makes_today():
    kept, made = read_cog(make_samples.FIELD), make_samples.stand_in_field()
    difference = np.abs(kept.values.astype(int) - made.values.astype(int))
    assert difference.max() <= 1 and (difference > 0).mean() < .005, STALE
    assert kept.aef.valid == made.aef.valid
    assert kept.aef.grid == FrameSequence.from_zarr(make_samples.FARMLAND).grid


def test_the_field_says_that_it_stands_in():
    field = read_cog(make_samples.FIELD)
    assert 'stand_in' in make_samples.FIELD.name
    assert field.attrs['model'].startswith('stand-in') and field.attrs['dataset'].startswith('stand-in')
    row = next(line for line in make_samples.README.read_text().splitlines() if 'stand_in_field' in line)
    assert 'stands in' in row or 'stand-in' in row


def test_the_field_knows_the_seasons():
    "Its nearest other pixel is mostly of the same class: it can stand in where something has to be searched."
    field, world = read_cog(make_samples.FIELD), make_samples.world()
    vectors, kinds = field.aef.vectors().reshape(-1, 64), world.class_id.ravel()
    alike = vectors[::7] @ vectors.T
    alike[np.arange(len(alike)), np.arange(0, len(vectors), 7)] = -1
    assert (kinds[alike.argmax(1)] == kinds[::7]).mean() > .8
