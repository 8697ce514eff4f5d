"""One block of `paper` as a share of the matmul rate, and what a frame more costs, from 1 to 103 frames.

Both in processor time of one thread, beside a product of matrices in the same run.
"""
import statistics
import time

import numpy as np
import torch
from harness import Calibration, figure, matmul, measure

from alphaearth_nb.costs import block_costs
from alphaearth_nb.encoder import Inside, STPBlock, SourceBatch, pack
from alphaearth_nb.layers import TimeCode, portions
from alphaearth_nb.model import AlphaEarth
from alphaearth_nb.settings import preset

SIDE, RUNS, FRAMES = 128, 5, (1, 2, 4, 8, 16, 32, 64, 103)


def row(frames:int, bands:int=1, side:int=1) -> dict[str, SourceBatch]:
    "One row of Sentinel-2 noise, padded to 103 frames as a batch of long rows would."
    there = (torch.arange(FRAMES[-1]) < frames)[None]
    values = torch.randn(1, FRAMES[-1], bands, side, side, generator=torch.Generator().manual_seed(0))
    days = 17_500 + 365*torch.arange(FRAMES[-1], dtype=torch.float64)[None]/FRAMES[-1]
    return {'sentinel2': SourceBatch(values, days, there, there[..., None].expand(1, FRAMES[-1], bands))}


def paper_block(calibration:Calibration) -> None:
    "One block of `paper` on 16 frames, bf16."
    sizes, packing = preset('paper').stp, pack(row(16))
    torch.manual_seed(0)
    code = TimeCode()(packing.days).bfloat16()
    block = STPBlock(sizes, code.shape[1])
    widths = (16, sizes.space_width), (8, sizes.time_width), (2, sizes.precision_width)
    space, middle, fine = (torch.randn(16, SIDE//by, SIDE//by, width).bfloat16() for by, width in widths)

    def work() -> None:
        with torch.inference_mode(), torch.autocast('cpu', torch.bfloat16):
            block(space, middle, portions(fine), code, packing, Inside(None, None, None))
    measured = measure(work, calibration, runs=RUNS, warmup=1)
    gflop = 16*sum(block_costs(sizes, code.shape[1], 16, SIDE).values())/1e9
    figure('paper, one block forward, T = 16, 128 px, bf16', 'blocks/s', measured.per_core(1),
           measured.core_shares(gflop), f'of {calibration.name}, {gflop:.0f} GFLOP')


def frames_present(calibration:Calibration) -> None:
    "`tiny` forward with more and more frames present of 103; how straight the line is that they lie on."
    torch.manual_seed(0)
    model = AlphaEarth.preset('tiny', sources=['sentinel2'])
    seconds = {}
    for _ in range(RUNS):
        for frames in FRAMES:
            batch = row(frames, 10, 64)
            with torch.inference_mode(), torch.autocast('cpu', torch.bfloat16):
                if frames not in seconds: model.encode(batch)
                start = time.process_time()
                model.encode(batch)
                seconds.setdefault(frames, []).append(time.process_time() - start)
    each = [statistics.median(seconds[frames]) for frames in FRAMES]
    for frames, runs in seconds.items():
        figure(f'tiny, encode, {frames} of 103 frames present, 64 px, bf16', 'ms', [1e3*run for run in runs])
    slope, start = np.polyfit(FRAMES, each, 1)
    fit = np.corrcoef(FRAMES, each)[0, 1]**2
    figure(f'tiny, encode: a frame more, where none costs {1e3*start:.1f} ms', 'ms', [1e3*slope], [fit],
           'is R² of the straight line from 1 to 103 frames')


if __name__ == '__main__':
    torch.set_num_threads(1)
    with_threads = matmul('bf16')
    torch.set_num_threads(1)
    alone = Calibration(name='bf16 matmul 4096³, 1 thread', work=with_threads.work,
                        amount=with_threads.amount, unit=with_threads.unit)
    paper_block(alone)
    frames_present(alone)
