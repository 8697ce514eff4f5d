"""Equation 1 and Table S2 as the paper prints them, against a plain computation of the same."""
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alphaearth_nb.source_types import TRANSFORMS
from alphaearth_nb.sources import SOURCES
from alphaearth_nb.tolerances import regrid, shift_radius, source_error

# Table S2: metres of shift, metres of a cell, weight; NLCD and CDL with their weights of version 2.1 (S8.3)
TABLE = {'sentinel2': (20, 0, 1), 'sentinel1': (20, 0, 1), 'landsat': (0, 30, 1), 'palsar2': (0, 30, 1),
         'era5land': (0, 0, 1), 'gedi': (0, 20, 1), 'grace': (0, 1280, .5), 'glo30': (0, 30, 1),
         'nlcd': (0, 30, .25), 'cdl': (0, 30, .25)}


def noise(seed:int, *shape:int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_every_source_of_the_table_has_its_tolerance():
    assert {name: (row.shift_m, row.regrid_m, row.weight) for name, row in SOURCES.items()} == TABLE
    assert {name for name, row in SOURCES.items() if row.classes} == {'nlcd', 'cdl'}


@given(st.floats(0, 2, width=32))
def test_equation_1(reflectance):
    "ln(x + 1)/10 of reflectance times ten thousand, and back."
    there, back = TRANSFORMS['log_reflectance']
    assert there(np.array([reflectance]))[0] == pytest.approx(np.log(reflectance*1e4 + 1)/10, abs=1e-6)
    assert back(there(np.array([reflectance])))[0] == pytest.approx(reflectance, rel=1e-5, abs=1e-7)


@given(seed=st.integers(0, 2**31), down=st.integers(-4, 4), right=st.integers(-4, 4))
@settings(max_examples=40, deadline=None)
def test_a_shift_of_twenty_metres_is_forgiven_and_no_more(seed, down, right):
    "Over one frame of eight patches; a frame that lies three pixels off is wrong."
    scene, radius = noise(seed, 1, 8, 2, 24, 24), shift_radius('sentinel2', True)
    prediction, target = scene[..., 8:16, 8:16], torch.roll(scene, (down, right), (-2, -1))[..., 6:18, 6:18]
    total, weight = source_error('sentinel2', prediction, target, torch.ones_like(target))
    assert radius == 2 and weight == 8*2*64
    assert (total/weight < 1e-6) == (max(abs(down), abs(right)) <= 2)
    strict, _ = source_error('sentinel2', prediction, target[..., 2:-2, 2:-2],
                             torch.ones(1, 8, 2, 8, 8), tolerant=False)
    assert (strict/weight < 1e-6) == (down == right == 0)


@given(seed=st.integers(0, 2**31), top=st.floats(0, .99), left=st.floats(0, .99))
@settings(max_examples=40, deadline=None)
def test_landsat_is_compared_in_cells_of_thirty_metres(seed, top, left):
    "As loops over cells and pixels would: area by area, each cell with the weight that lies in it."
    prediction, target = noise(seed, 1, 1, 1, 6, 6), noise(seed + 1, 1, 1, 1, 6, 6)
    weights = (noise(seed + 2, 1, 1, 1, 6, 6) > 0).float()
    found = source_error('landsat', prediction, target, weights, (top, left))
    wanted = [0., 0.]
    for i in range(3):
        for j in range(3):
            sums = np.zeros(3)
            for y in range(6):
                for x in range(6):
                    area = np.prod([max(0., min(3*k + 3 - 3*by, at + 1) - max(3*k - 3*by, at))
                                    for k, at, by in ((i, y, top), (j, x, left))])
                    part = area*float(weights[0, 0, 0, y, x])
                    sums += part*np.array([1, float(prediction[0, 0, 0, y, x]), float(target[0, 0, 0, y, x])])
            if sums[0]: wanted = [wanted[0] + abs(sums[1] - sums[2]), wanted[1] + sums[0]]
    assert float(found[0]) == pytest.approx(wanted[0], rel=1e-4, abs=1e-4)
    assert float(found[1]) == pytest.approx(wanted[1], rel=1e-4, abs=1e-4)


def test_water_storage_is_one_number_for_a_frame():
    "Cells of 1280 m hold a whole frame of 128 pixels: its mean counts, and nothing within it."
    frame = noise(0, 1, 1, 1, 128, 128)
    even = torch.full_like(frame, float(frame.mean()))
    total, weight = source_error('grace', frame, even, torch.ones_like(frame))
    assert weight == 128**2 and total/weight < 1e-4
    (mean,), _ = regrid([frame[:, 0]], torch.ones(1, 1, 128, 128), 128)
    assert mean.shape[-2:] == (1, 1) and float(mean) == pytest.approx(float(frame.mean()), abs=1e-5)
