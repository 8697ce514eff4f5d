"""`base` beside the first public implementation of the paper: processor time and memory of one place.

That implementation's figures are for one row of 10 bands and 128 px, in float32, at half resolution, on a
core whose float32 matrix product ran at 145 GFLOP/s; they are scaled by the rate that this machine has in the
same run. This is `base` at full resolution, one thread, the same 10 bands. Every number is from a process of
its own.
"""
import resource
import subprocess
import sys
import time

import torch
from harness import MATRIX, figure

from alphaearth_nb.costs import flops
from alphaearth_nb.encoder import SourceBatch
from alphaearth_nb.model import AlphaEarth

SIDE, RATE = 128, 145e9                       # of its core, float32
FIRST = {('embed', 8): (3.8, 1100), ('embed', 16): (7.7, 1500),
         ('training step', 8): (20, 5700), ('training step', 16): (52, 9400)}  # processor seconds, megabytes
WORK = {('embed', 8): 265e9, ('embed', 16): 530e9,    # operations of it
        ('training step', 8): 1590e9, ('training step', 16): 3180e9}
RUNS = {('training step', 8): 3}              # of what has no target of its own; five of the rest
BF16_RATE = 784e9                             # of a core with bf16 tiles, for which other targets are


def place(model:AlphaEarth, frames:int) -> dict[str, SourceBatch]:
    "One row of Sentinel-2 noise."
    bands, there = len(model.config.bands['sentinel2']), torch.ones(1, frames, dtype=torch.bool)
    values = torch.randn(1, frames, bands, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    days = 17_500 + 365*torch.arange(frames, dtype=torch.float64)[None]/frames
    return {'sentinel2': SourceBatch(values, days, there, there[..., None].expand(1, frames, bands))}


def work_of(what:str, frames:int, precision:str):
    "The thing to time, the operations of it, and how many of them are not a repetition."
    torch.manual_seed(0)
    model = AlphaEarth.preset('base', sources=['sentinel2'])
    batch, period = place(model, frames), torch.tensor([[[17_500., 17_865]]], dtype=torch.float64)
    autocast = torch.autocast('cpu', torch.bfloat16, enabled=precision == 'bf16')
    counted = flops(model.config, {'sentinel2': frames}, SIDE)

    def embed() -> None:
        with torch.inference_mode(), autocast: model.summarize(model.encode(batch), period)

    def step() -> None:
        model.encoder.recompute = True
        with autocast:
            unit = model.summarize(model.encode(batch), period)[:, 0]
            decoded = model.decoders['sentinel2'](unit, torch.tensor([.5]), unit.new_zeros(1, 0))
            error = decoded.float().abs().mean()
        error.backward()
        model.zero_grad()
    once = counted['all'] - counted['decoders']
    if what == 'embed': return embed, once, once
    return step, 3*counted['all'] + counted['encoder'], 3*counted['all']    # the encoder runs once more


def rate(kind:torch.dtype) -> float:
    "Operations that one core does in a second of its time, as a product of two matrices."
    left, right, out = (torch.ones(MATRIX//2, MATRIX//2, dtype=kind) for _ in range(3))
    start = time.process_time()
    torch.mm(left, right, out=out)
    return 2*(MATRIX//2)**3/(time.process_time() - start)


def main(what:str, frames:str, precision:str) -> None:
    torch.set_num_threads(1)
    work, operations, needed = work_of(what, int(frames), precision)
    work()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1000
    rate(torch.float32), rate(torch.bfloat16)
    used, times, shares, there = [], [], [], []
    seconds, megabytes = FIRST[what, int(frames)]
    for _ in range(RUNS.get((what, int(frames)), 5)):
        single, half = rate(torch.float32), rate(torch.bfloat16)
        start = time.process_time()
        work()
        used.append(time.process_time() - start)
        times.append(seconds*RATE/single/used[-1])
        own = half if precision == 'bf16' else single
        shares.append(operations/used[-1]/own)
        there.append(seconds/(operations/(shares[-1]*BF16_RATE)))
    name = f'base {what}, T = {frames}, {precision}'
    figure(f'{name}, processor time', 's', used, shares, f'of {precision} matmul, {operations/1e9:.0f} GFLOP')
    figure(f'{name}, times less than the first implementation', 'times', times)
    alike = needed/WORK[what, int(frames)]
    figure(f'{name}, for as many operations', 'times', [alike*one for one in times])
    if precision == 'bf16': figure(f'{name}, the same on a core of 784 GFLOP/s in bf16', 'times', there)
    figure(f'{name}, most memory', 'MB', [memory], [memory/megabytes], 'of the first implementation')


if __name__ == '__main__':
    if len(sys.argv) > 1: main(*sys.argv[1:])
    else:
        for words in (('embed', '16', 'fp32'), ('embed', '8', 'bf16'), ('embed', '16', 'bf16'),
                      ('training step', '8', 'bf16'), ('training step', '16', 'bf16')):
            subprocess.run([sys.executable, __file__, *words], check=True)
