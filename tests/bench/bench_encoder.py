"""Encoder, forward and training step: patches a second and peak memory, as a share of the bf16 matmul rate.

A patch is 128 × 128 px with 16 frames. The share counts the multiplications and additions of the whole model
(projectors, blocks, one summary at full resolution; in training also the decoders) as torch's counter sees
them. It does not see attention on a CPU, which is left out, so the shares are a little low.
"""
import subprocess
import sys

import torch
from harness import THREADS, figure, figure_of_calibration, matmul, measure, peak_memory_mb
from torch.utils.flop_counter import FlopCounterMode

from alphaearth_nb.encoder import SourceBatch
from alphaearth_nb.model import AlphaEarth

SIDE, FRAMES = 128, {'sentinel2': 11, 'sentinel1': 4, 'landsat': 1}   # 16, in the shares of training
RUNS = 5


def noise(model:AlphaEarth) -> dict[str, SourceBatch]:
    "One patch of noise."
    draw = torch.Generator().manual_seed(0)
    def source(name:str, n:int) -> SourceBatch:
        bands = len(model.config.bands[name])
        return SourceBatch(torch.randn(1, n, bands, SIDE, SIDE, generator=draw),
                           17_500 + 365*torch.rand(1, n, generator=draw, dtype=torch.float64),
                           torch.ones(1, n, dtype=torch.bool), torch.ones(1, n, bands, dtype=torch.bool))
    return {name: source(name, n) for name, n in FRAMES.items()}


def work_of(preset:str, what:str):
    "The thing to time."
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    model = AlphaEarth.preset(preset)
    batch, period = noise(model), torch.tensor([[[17_500., 17_865]]], dtype=torch.float64)

    def forward() -> None:
        with torch.inference_mode(), torch.autocast('cpu', torch.bfloat16):
            model.summarize(model.encode(batch), period)

    def step() -> None:
        with torch.autocast('cpu', torch.bfloat16):
            unit, half = model.summarize(model.encode(batch), period)[:, 0], torch.tensor([.5])
            error = sum(model.decoders[name](unit, half).float().abs().mean() for name in FRAMES)
        error.backward()
        model.zero_grad()
    return forward if what == 'forward' else step


def main(preset:str, what:str) -> None:
    "Measure one preset in a process of its own, so that its peak of memory is its own."
    work = work_of(preset, what)
    with FlopCounterMode(display=False) as counter: work()
    memory, calibration = peak_memory_mb(), matmul('bf16')
    measured = measure(work, calibration, runs=RUNS, warmup=1)
    name, gflop = f'{preset} {what}, T = 16, {SIDE} px, bf16', counter.get_total_flops()/1e9
    to = f'of {calibration.name}, {gflop:.1f} GFLOP'
    figure(name, 'patches/s', measured.rates(1), measured.shares(gflop), to)
    figure(f'{name}, peak memory of the process', 'MB', [memory])
    figure_of_calibration(calibration, measured)


if __name__ == '__main__':
    if len(sys.argv) > 1: main(*sys.argv[1:])
    else:
        for preset in ('tiny', 'small'):
            for what in ('forward', 'training step'):
                subprocess.run([sys.executable, __file__, preset, what], check=True)
