"""A short training run for test_ranks.py, alone or started by torchrun: gradients of two steps, and a log.

    python tests/train_ranks.py FOLDER
"""
import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from small_model import SMALL, TRAINING, loud_model

from alphaearth_nb.batches import draw_batch
from alphaearth_nb.ranks import start_ranks
from alphaearth_nb.standardized import prepare
from alphaearth_nb.synthetic import synthetic_place
from alphaearth_nb.training import _shared, train

CONFIG = replace(TRAINING, steps=4, warmup=1, window_px=32, patch_px=8, reconstruction=1., uniformity=.05,
                 consistency=.1, student_every=2, precision='fp32', log_every=1, checkpoint_every=2)

if __name__ == '__main__':
    torch.set_num_threads(1)
    folder, ranks = Path(sys.argv[1]), start_ranks()
    frames = synthetic_place(size_px=64, days=200, start='2018-01-01')
    place, model = prepare(frames, SMALL), loud_model().train()
    step = _shared(model, CONFIG, ranks)
    for number in (0, 1):  # with a student, and without
        model.zero_grad()
        batch = draw_batch([place], SMALL, CONFIG, number, ranks.rows(CONFIG.windows))
        loss, _ = step(model, batch, CONFIG, number)
        loss.total.backward()
        gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        save_file({**gradients, **{f'loss {name}': term for name, term in loss.terms().items()}},
                  folder/f'step-{number}-rank-{ranks.rank}.safetensors')
    model.zero_grad()
    run = train(model, frames, CONFIG, out=folder/'run', quiet=True)
    (folder/f'log-{ranks.rank}.json').write_text(json.dumps([line['total'] for line in run.log]))
