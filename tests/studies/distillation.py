"""How near a small encoder comes to a field that it is trained towards: the stand-in of data_samples/.

    python tests/studies/distillation.py --work runs/distillation

The preset `tiny` is trained on the frames of data_samples/synthetic_farmland.zarr towards stand_in_field.tif,
which holds a fixed projection of the noiseless seasons of each pixel. A quarter of its squares of 16 pixels
is held out, another quarter with each seed. Printed is the cosine on them before the first step and after the
last, beside another pixel and the one vector that is best for all, as a table for the page `distillation`.
Figures are kept in the folder, so a study that was stopped goes on.
"""
import argparse
import json
import statistics
from pathlib import Path

import torch

import alphaearth_nb as ae
from alphaearth_nb.distillation import hold_out, reached

SAMPLES = Path(__file__).parents[2]/'data_samples'
SEEDS, STEPS = (0, 1, 2), (300, 1200)


def one(seed:int, steps:int) -> dict:
    "Train once; the cosines before and after."
    frames = ae.open_frames(SAMPLES/'synthetic_farmland.zarr')
    learn, test = hold_out(ae.open_field(SAMPLES/'stand_in_field.tif'), seed=seed)
    torch.manual_seed(seed)
    models = [ae.AlphaEarth.preset('tiny') for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    for model, count in zip(models, (0, steps)):
        ae.train(model, frames, steps=count, seed=seed, distill_to=learn, quiet=True)
    before, after = (reached(ae.embed(model, frames, '2018', quiet=True), test) for model in models)
    return {'before': before.mean, 'after': after.mean, 'chance': after.chance, 'constant': after.constant,
            'pixels': after.pixels}


def main() -> None:
    say = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    say.add_argument('--work', type=Path, required=True, help='folder that keeps one file a run')
    asked = say.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for steps in STEPS:
        found = []
        for seed in SEEDS:
            path = asked.work/f'{steps}_{seed}.json'
            if not path.exists(): path.write_text(json.dumps(one(seed, steps)))
            found.append(json.loads(path.read_text()))
        cells = [f'{steps}']
        for name in ('before', 'after', 'chance', 'constant'):
            values = [run[name] for run in found]
            cells.append(f'{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}')
        print('| ' + ' | '.join(cells) + ' |', flush=True)


if __name__ == '__main__': main()
