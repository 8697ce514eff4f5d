"""The paper's whole protocol, and what it rests on, as multiples of a product of two matrices."""
import numpy as np
import pandas as pd
from harness import figure, figure_of_calibration, matmul, measure

from alphaearth_nb.evaluation import evaluate
from alphaearth_nb.paper_protocol import make_task, score_task
from alphaearth_nb.predictors import Linear

ROWS, WIDTH, CLASSES = 20_000, 64, 9
PROBED = 100_000                    # labels of the linear probe
RUNS = 5

rng = np.random.default_rng(0)
means = rng.normal(size=(CLASSES, WIDTH))


def features(labels:np.ndarray) -> np.ndarray:
    "Unit vectors that know their classes a little."
    vectors = means[labels] + 3*rng.normal(size=(len(labels), WIDTH))
    return vectors/np.linalg.norm(vectors, axis=1, keepdims=True)


def both_times(what:str, done:object) -> object:
    "Measure a call: seconds, and those of the processor, as multiples of the same run's calibration."
    measured = measure(done, calibration, runs=RUNS, warmup=1)
    of_cpu = [cpu/before for cpu, before in zip(measured.cpu, measured.cpu_reference)]
    figure(what, 's', measured.seconds, measured.times(), f'× {calibration.name}')
    figure(f'{what}, processor time', 's', measured.cpu, of_cpu, f'× {calibration.name}')
    return measured


calibration = matmul('fp32')
SIZES = {'equal': np.full(CLASSES, 300), 'unequal': rng.integers(75, 301, CLASSES)}
for name, sizes in SIZES.items():
    train = np.repeat(np.arange(CLASSES), sizes)
    test = rng.integers(0, CLASSES, ROWS - len(train))
    task, x, y = make_task(train, test), features(train), features(test)
    what = f'whole protocol, {ROWS:,} × {WIDTH}, {CLASSES} classes of {name} size'
    both_times(what, lambda task=task, x=x, y=y: score_task(task, x, y))

index, label = np.arange(ROWS), np.concatenate([train, test])   # of unequal size, from the last turn
frame = pd.DataFrame({'x': 5 + .05*(index % 200), 'y': 40 + .05*(index//200), 'label': label,
                      'split': np.where(index < len(train), 'train', 'test')})
vectors = features(label)
what = f'evaluate, forest and logistic regression too, {ROWS:,} × {WIDTH}'
both_times(what, lambda: evaluate(vectors, frame))

labels = rng.integers(0, CLASSES, PROBED)
vectors = features(labels)
measured = both_times(f'linear probe, {PROBED:,} × {WIDTH}', lambda: Linear().fit(vectors, labels))
figure_of_calibration(calibration, measured)
