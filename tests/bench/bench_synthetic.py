"""Synthetic places a minute on one core, and as a multiple of a matrix product."""
import os

os.environ['OMP_NUM_THREADS'] = '1'

from harness import figure, figure_of_calibration, matmul, measure

from alphaearth_nb.synthetic import synthetic_place

SIDES = (64, 128)            # px; a place has three sensors and one year
SIZE = 2048                  # of the matrices: tens of milliseconds

numbers = iter(range(10**6))  # each run draws another place: nothing is remembered
speed = matmul('fp32', SIZE)
for side in SIDES:
    measured = measure(lambda: synthetic_place(next(numbers), side, start='2018-01-01', days=365), speed)
    figure(f'synthetic place {side}×{side} px, 3 sensors, 1 year', 's', measured.seconds, measured.times(),
           f'× {speed.name}')
    if side == SIDES[0]: figure('small synthetic places', 'places/min', measured.rates(60))
figure_of_calibration(speed, measured)
