"""Does a training step wait for its batch? Drawing one, beside the step that learns from it.

A batch is drawn in a thread of its own while the step before it is taken; a ratio under 1 means that no step
waits. Default settings, one synthetic place, all input sources.
"""
import torch
from harness import THREADS, Calibration, figure, measure

from alphaearth_nb.batches import draw_batch
from alphaearth_nb.model import AlphaEarth
from alphaearth_nb.settings import TrainingConfig
from alphaearth_nb.standardized import prepare
from alphaearth_nb.steps import step_loss
from alphaearth_nb.synthetic import synthetic_place

SIDE, DAYS = 128, 486


def main(preset:str) -> None:
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    model, config = AlphaEarth.preset(preset), TrainingConfig()
    places, at = [prepare(synthetic_place(seed=1, size_px=SIDE, days=DAYS), model.config)], iter(range(10**6))
    batch = draw_batch(places, model.config, config, 0)

    def step() -> None:
        with torch.autocast('cpu', torch.bfloat16): loss, _ = step_loss(model, batch, config, 0)
        loss.total.backward()
        model.zero_grad()

    def draw() -> None: draw_batch(places, model.config, config, next(at))
    measured = measure(draw, Calibration(name=f'step of {preset}', work=step, amount=1, unit='1/s'))
    figure(f'{preset}, drawing a batch', 'ms', [1000*second for second in measured.seconds], measured.times(),
           'of the step that learns from it')


if __name__ == '__main__':
    for name in ('tiny', 'small'): main(name)
