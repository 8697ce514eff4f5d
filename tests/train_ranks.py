"""A short training run for test_ranks.py, alone or started by torchrun: gradients of two steps, and a log.

All terms take part: texts lie in the western half of the place only, so that some rows have none.

    python tests/train_ranks.py FOLDER
"""
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file
from small_model import SMALL, TRAINING

from alphaearth_nb.batches import draw_batch
from alphaearth_nb.fields import make_field
from alphaearth_nb.given import with_field, with_texts
from alphaearth_nb.grids import grid_bounds_lonlat
from alphaearth_nb.model import AlphaEarth
from alphaearth_nb.ranks import start_ranks
from alphaearth_nb.standardized import prepare
from alphaearth_nb.synthetic import synthetic_place
from alphaearth_nb.training import _shared, train

CONFIG = replace(TRAINING, steps=4, warmup=1, window_px=32, patch_px=8, reconstruction=1., uniformity=.05,
                 consistency=.1, student_every=2, precision='fp32', log_every=1, checkpoint_every=2,
                 text=.5, window_texts=3)
WORDY = replace(SMALL, text_encoder='words', text_width=384)


def speaking() -> AlphaEarth:
    "The same untrained model with a text head in each process."
    torch.manual_seed(0)
    model = AlphaEarth(WORDY)
    with torch.no_grad():
        for parameter in model.parameters(): parameter.add_(torch.randn_like(parameter)*.1)
    return model


def given(frames) -> dict:
    "Texts, half of them twice, and a field to come near."
    west, south, east, north = grid_bounds_lonlat(frames.grid)
    rng = np.random.default_rng(0)
    texts = pd.DataFrame({'text': [f'place {i % 40}' for i in range(60)],
                          'lon': rng.uniform(west, (west + east)/2, 60),
                          'lat': rng.uniform(south, north, 60)})
    vectors = rng.normal(size=(*frames.grid.shape, 64))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    vectors[:, 40:] = np.nan
    return {'texts': texts, 'distill_to': make_field(vectors, frames.grid, '2018-02')}

if __name__ == '__main__':
    torch.set_num_threads(1)
    folder, ranks = Path(sys.argv[1]), start_ranks()
    frames = synthetic_place(size_px=64, days=200, start='2018-01-01')
    more, model = given(frames), speaking().train()
    [place] = with_texts([prepare(frames, WORDY)], [frames.grid], WORDY, more['texts'])
    [place] = with_field([place], [frames.grid], WORDY, more['distill_to'])
    step = _shared(model, CONFIG, ranks)
    for number in (0, 1):  # with a student, and without
        model.zero_grad()
        batch = draw_batch([place], WORDY, CONFIG, number, ranks.rows(CONFIG.windows))
        loss, _ = step(model, batch, CONFIG, number)
        loss.total.backward()
        gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        save_file({**gradients, **{f'loss {name}': term for name, term in loss.terms().items()}},
                  folder/f'step-{number}-rank-{ranks.rank}.safetensors')
    model.zero_grad()
    run = train(model, frames, CONFIG, out=folder/'run', quiet=True, **more)
    (folder/f'log-{ranks.rank}.json').write_text(json.dumps([line['total'] for line in run.log]))
