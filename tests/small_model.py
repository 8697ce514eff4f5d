"""A small model in which every operator matters, frames for it, and fixtures of both for known mistakes."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from alphaearth_nb.encoder import SourceBatch
from alphaearth_nb.frames import FrameSequence
from alphaearth_nb.layers import Up
from alphaearth_nb.model import AlphaEarth
from alphaearth_nb.settings import ModelConfig, STPConfig, TrainingConfig
from alphaearth_nb.sources import source
from alphaearth_nb.standardized import Place, prepare
from alphaearth_nb.synthetic import synthetic_place

SMALL = ModelConfig(name='mistakes', decoder_width=16, summary_width=32, summary_queries=2,
    bands={'sentinel2': ('B02', 'B04', 'B08'), 'sentinel1': ('VV', 'VH')},
    stp=STPConfig(blocks=2, space_width=32, time_width=16, precision_width=16, heads=2))
TRAINING = TrainingConfig(windows=4, window_px=16, frames=8, targets=2, support_days=(60, 150), uniformity=1.,
                          reconstruction=0., consistency=0., pixel_share=.5)
WITH_STUDENT = replace(TRAINING, reconstruction=1., consistency=.1, student_every=1)
SPRING = torch.tensor([[[17_600., 17_630.]]], dtype=torch.float64)  # days since 1970
ROUNDING = 2e-5

seeds = st.integers(0, 2**31)


def loud_model(local:bool=False, **sizes:int) -> AlphaEarth:
    "Untrained, but with what starts silent made loud; `local`: without what carries beyond neighbours."
    config = replace(SMALL, stp=replace(SMALL.stp, **sizes))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AlphaEarth(config).eval()
        with torch.no_grad():
            for parameter in model.parameters(): parameter.add_(torch.randn_like(parameter)*.1)
            gates = [gate for gate in model.modules() if isinstance(gate, Up)] if local else []
            for gate in gates: gate.project.weight.zero_(), gate.project.bias.zero_()
    return model


def made(h:int=32, w:int=32, n:int=6, radar:int|None=None, seed:int=0) -> dict[str, SourceBatch]:
    "Frames of two sources on irregular days, all present; two fewer of radar if nothing is said."
    generator = torch.Generator().manual_seed(seed)
    def part(count:int, bands:int) -> SourceBatch:
        days = 17_500 + 200*torch.rand(1, count, generator=generator, dtype=torch.float64).sort()[0]
        return SourceBatch(torch.randn(1, count, bands, h, w, generator=generator), days,
                           torch.ones(1, count).bool(), torch.ones(1, count, bands).bool())
    return {'sentinel2': part(n, 3), 'sentinel1': part(n - 2 if radar is None else radar, 2)}


@torch.no_grad()
def embedded(model:AlphaEarth, batch:dict[str, SourceBatch], period:torch.Tensor=SPRING) -> torch.Tensor:
    "Embeddings (h, w, 64) of the first row."
    return model.summarize(model.encode(batch), period)[0, 0]


def unit(vectors:torch.Tensor) -> torch.Tensor: return torch.nn.functional.normalize(vectors, dim=-1)


def incomplete_place() -> FrameSequence:
    "Synthetic frames; every third lacks a band of the model, and the radar has angles, which are made up."
    place, rng = synthetic_place(size_px=48, days=200, start='2018-01-01'), np.random.default_rng(0)
    parts = dict(place.items())
    for name, bands in SMALL.bands.items():
        part = parts[name]
        there, values, lost = part.bands_present.copy(), part.values.copy(), part.bands.index(bands[1])
        there[::3, lost], values[::3, lost] = False, np.nan
        parts[name] = replace(part, bands_present=there, values=values)
    radar = parts['sentinel1']
    keys, count = source('sentinel1').metadata, len(radar)
    angles = {key: rng.uniform(20, 350, count).astype(np.float32) for key in keys}
    return replace(place, frames={**parts, 'sentinel1': replace(radar, metadata=angles)})


def changed(batch:dict[str, SourceBatch], name:str, **changes) -> dict[str, SourceBatch]:
    return {**batch, name: replace(batch[name], **changes)}


def mapped(part:SourceBatch, change) -> SourceBatch:
    "The same change to all four arrays."
    arrays = part.values, part.days, part.present, part.bands_present
    return SourceBatch(*map(change, arrays))


def picked(part:SourceBatch, order) -> SourceBatch:
    "Frames in another order, or with some of them left out or twice."
    return mapped(part, lambda array: array[:, order])


def padded(part:SourceBatch, count:int) -> SourceBatch:
    "Frames that are absent behind those that are there, up to a number."
    more = count - part.days.shape[1]
    return mapped(part, lambda array: torch.cat([array, array.new_zeros(1, more, *array.shape[2:])], 1))


@pytest.fixture(scope='module')
def model() -> AlphaEarth: return loud_model()


@pytest.fixture(scope='module')
def frames() -> FrameSequence: return incomplete_place()


@pytest.fixture(scope='module')
def place(frames) -> Place: return prepare(frames, SMALL)
