"""What a click costs in the live map before anything is drawn: feature, fit, left-out scores, sharpness.

One core. The calibration is one product of two 1024³ matrices in numpy there, alternating with the work.
"""
import os

os.environ |= dict.fromkeys(('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'), '1')

import numpy as np
from harness import Calibration, figure, figure_of_calibration, measure

from alphaearth_nb.fields import make_field
from alphaearth_nb.grids import utm_grid
from alphaearth_nb.journal import ClassDef, Label
from alphaearth_nb.live import LiveProbe

LABELS, CLASSES, SIDE_PX, MATRIX, RUNS = 500, 10, 256, 1024, 15


class Clicks:
    "The least that a set of labels needs to be; a click moves one label more into it."
    def __init__(self, every:list, classes:tuple):
        self.every, self.classes, self.version = every, classes, LABELS

    @property
    def labels(self) -> tuple: return tuple(self.every[:self.version])


def place() -> tuple[LiveProbe, Clicks]:
    "A field of ten noisy clusters and labels on it."
    rng, grid = np.random.default_rng(0), utm_grid((3.0, 51.0, 3.1, 51.1))[:SIDE_PX, :SIDE_PX]
    area = np.kron(rng.integers(0, CLASSES, (32, 32)), np.ones((8, 8), int))
    vectors = rng.normal(size=(CLASSES, 64))[area] + 1.5*rng.normal(size=(SIDE_PX, SIDE_PX, 64))
    field = make_field(vectors/np.linalg.norm(vectors, axis=-1, keepdims=True), grid, '2018')
    live = LiveProbe(field, None)
    pixels = rng.choice(SIDE_PX**2, LABELS + 100, replace=False)
    every = [Label(id=number, class_id=1 + int(area.ravel()[pixel]), shape={
        'type': 'Point', 'coordinates': list(live.fields['field'].to_lonlat.transform(
            *grid.pix2wld(pixel % SIDE_PX + .5, pixel//SIDE_PX + .5)))})
        for number, pixel in enumerate(pixels, 1)]
    live.labels = Clicks(every, tuple(ClassDef(id=one, name=f'class {one}', colour='#112233')
                                      for one in range(1, CLASSES + 1)))
    return live, live.labels


live, clicks = place()
live.update()
left = np.random.default_rng(0).normal(size=(MATRIX, MATRIX)).astype(np.float32)
calibration = Calibration(name=f'fp32 matmul {MATRIX}³, numpy, 1 thread', unit='GFLOP/s',
                          amount=2*MATRIX**3/1e9, work=lambda: left@left)


def click() -> None:
    "One label more, and what follows from it."
    clicks.version += 1
    assert live.update().used == clicks.version


measured = measure(click, calibration, runs=RUNS)
figure_of_calibration(calibration, measured)
figure(f'update after a click, {LABELS} labels, {CLASSES} classes, 1 core', 'ms',
       [1e3*second for second in measured.seconds], measured.times(), f'of the {calibration.name}')
cards = measure(lambda: (setattr(live, '_cards', (None, {})), live.card()), calibration)
figure(f'score card, {LABELS} labels, {CLASSES} classes, 1 core', 'ms',
       [1e3*second for second in cards.seconds], cards.times(), f'of the {calibration.name}')
live.suggest()
suggested = measure(live.suggest, calibration)
figure('next place, among 20,000 pixels, 1 core', 'ms', [1e3*second for second in suggested.seconds],
       suggested.times(), f'of the {calibration.name}')
