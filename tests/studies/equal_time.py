"""What the same processor time buys: dates kept back, decoded by this encoder and by the first public one.

    git clone https://github.com/Brayden-Zhang/alphaearth-foundations first
    python tests/studies/equal_time.py --work runs/equal_time --first first/src
    python tests/studies/equal_time.py --work runs/equal_time --write    the figures from what is there

Every contender trains for the same processor time, one thread, on the same four synthetic places: Sentinel-2
alone, hardly a cloud, every fifth frame taken out. These frames are decoded afterwards and compared with the
noiseless truth, in standard deviations of the bands. The first public implementation is run as it is, with
what suits it: its trainer and rate, values standardised for it, eight frames in a row (it holds a place in
memory no longer), and for a date the eight frames around it, because it decodes the middle of its frames. It
has no masks, hence no clouds. The page "Speed" of the site shows equal_time.json.
"""
import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
FIGURES = HERE/'equal_time.json'
PLACES, SIDE, AROUND = (101, 102, 103, 104), 64, 8       # seeds; pixels; frames that the first reads at once
OURS, SEED = ('tiny', 'small', 'base'), 0
FIRST = 'first public implementation'
HALF_YEAR_MS = 15_552_000_000                            # as in the first's own reader


# ---- places and truth

def worlds() -> list:
    "Synthetic places of one sensor and nearly no clouds."
    from alphaearth_nb.synthetic import SyntheticWorld
    return [SyntheticWorld(seed, SIDE, start='2020-01-01', days=366, cloudiness=0., sources=('sentinel2',))
            for seed in PLACES]


def parted(frames:object) -> tuple[object, object]:
    "Frames to learn from, and those kept back."
    hidden = np.arange(len(frames['sentinel2'])) % 5 == 2
    seen = replace(frames, frames={'sentinel2': frames['sentinel2'].take(~hidden)})
    return seen, frames['sentinel2'].take(hidden)


def standard(values:np.ndarray, model:object) -> np.ndarray:
    from alphaearth_nb.sources import standardize
    return standardize(values, 'sentinel2', model.config.bands['sentinel2'], model.config.statistics)


def truth_of(world:object, model:object, times:np.ndarray) -> np.ndarray:
    "(t, bands, h, w), standardised."
    bands = model.config.bands['sentinel2']
    return standard(np.stack([[world.value('sentinel2', band, int(ms)) for band in bands] for ms in times]),
                    model)


# ---- contenders

def ours(name:str, seed:int, seconds:float) -> tuple[int, float, list[float]]:
    "Train a preset of this package; its steps, seconds, and the error at each place."
    import pandas as pd
    import torch

    import alphaearth_nb as ae
    from alphaearth_nb.inference import embed_periods
    made = worlds()
    seen, hidden = zip(*(parted(world.frames()) for world in made))

    def trained(steps:int) -> tuple[object, float]:
        torch.manual_seed(seed)
        model, start = ae.AlphaEarth.preset(name, sources=['sentinel2']), time.process_time()
        ae.train(model, list(seen), steps=steps, seed=seed, quiet=True)
        return model, time.process_time() - start
    few, more = (8, 48) if name != 'base' else (4, 12)
    trained(few)                                         # what is compiled once is not counted
    short, longer = trained(few)[1], trained(more)[1]    # what training begins with, and what a step takes
    steps = max(1, few + round((seconds - short)*(more - few)/(longer - short)))
    model, spent = trained(steps)
    months, errors = pd.period_range('2020-01', '2020-12', freq='M').astype(str).tolist(), []
    for world, frames, dates in zip(made, seen, hidden):
        fields = dict(zip(months, embed_periods(model, frames, months, support='2020', quiet=True)))
        names = dates.times.astype('datetime64[ms]').astype(str)
        said = [model.decode(fields[date[:7]], 'sentinel2', date).values for date in names]
        errors.append(np.abs(standard(np.stack(said), model) - truth_of(world, model, dates.times)).mean())
    return steps, spent, list(map(float, errors))


def first(code:Path, seed:int, seconds:float) -> tuple[int, float, list[float]]:
    "Train the first public implementation for the time; its steps, seconds, and the error at each place."
    import torch
    sys.path.insert(0, str(code))
    from alphaearth.architecture.aef_module import AlphaEarthFoundations
    from alphaearth.training import create_trainer

    import alphaearth_nb as ae
    made, units = worlds(), ae.AlphaEarth.preset('tiny', sources=['sentinel2'])
    seen, hidden = zip(*(parted(world.frames()) for world in made))
    arrays = [np.nan_to_num(standard(one['sentinel2'].values, units)).astype(np.float32) for one in seen]

    def batch(place:int, at:int) -> dict:
        values = torch.from_numpy(arrays[place][at:at + AROUND]).permute(0, 2, 3, 1)[None].contiguous()
        times = torch.tensor(seen[place]['sentinel2'].times[at:at + AROUND], dtype=torch.float32)[None]
        middle = float(times.median())
        return {'source_data': {'sentinel2': values}, 'timestamps': {'sentinel2': times},
                'valid_periods': [(middle - HALF_YEAR_MS, middle + HALF_YEAR_MS)]}

    def batches():
        rng, start = np.random.default_rng(seed), time.process_time()
        while time.process_time() - start < seconds:
            place = int(rng.integers(len(arrays)))
            done['steps'] += 1
            yield batch(place, int(rng.integers(len(arrays[place]) - AROUND + 1)))
        raise Over
    class Over(Exception): "The time is over."
    done = {'steps': 0}
    torch.manual_seed(seed)
    model = AlphaEarthFoundations(input_sources={'sentinel2': 10})
    start = time.process_time()
    try: create_trainer(model, batches()).train(max_steps=10**6, log_every=10**6)
    except Over: pass
    spent, errors = time.process_time() - start, []
    model.eval()
    for place, (world, dates) in enumerate(zip(made, hidden)):
        times, said = seen[place]['sentinel2'].times, []
        for ms in dates.times:
            at = int(np.clip(np.searchsorted(times, ms) - AROUND//2, 0, len(times) - AROUND))
            with torch.inference_mode(): out = model(**batch(place, at))
            said.append(out['reconstructions']['sentinel2'][0, 0].permute(2, 0, 1).numpy())
        errors.append(np.abs(np.stack(said) - truth_of(world, units, dates.times)).mean())
    return done['steps'], spent, list(map(float, errors))


def nothing() -> dict[str, float]:
    "Errors of what takes no training: the mean image, and the two nearest frames, weighted by days."
    import alphaearth_nb as ae
    units = ae.AlphaEarth.preset('tiny', sources=['sentinel2'])
    found = {'mean image': [], 'between frames': []}
    for world in worlds():
        seen, dates = parted(world.frames())
        values, times = standard(seen['sentinel2'].values, units), seen['sentinel2'].times
        values = np.where(np.isfinite(values), values, np.nanmean(values, 0))
        true = truth_of(world, units, dates.times)
        after = np.clip(np.searchsorted(times, dates.times), 1, len(times) - 1)
        share = ((dates.times - times[after - 1])/(times[after] - times[after - 1]))[:, None, None, None]
        between = values[after - 1]*(1 - share) + values[after]*share
        for name, said in (('mean image', values.mean(0)), ('between frames', between)):
            found[name].append(np.abs(said - true).mean())
    return {name: float(np.mean(errors)) for name, errors in found.items()}


# ---- all runs

def one(name:str, seed:int, seconds:float, code:Path|None) -> dict:
    "One contender with one seed."
    import torch
    torch.set_num_threads(1)
    steps, spent, errors = first(code, seed, seconds) if name == FIRST else ours(name, seed, seconds)
    return {'name': name, 'seed': seed, 'steps': steps, 'cpu_s': round(spent),
            'error': float(np.mean(errors)), 'places': errors}


def main() -> None:
    say = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    say.add_argument('--work', type=Path, required=True, help='folder that keeps one file a run')
    say.add_argument('--first', type=Path, help="folder of the first implementation's package")
    say.add_argument('--seconds', type=float, default=400., help='of processor time, each')
    say.add_argument('--workers', type=int, default=2)
    say.add_argument('--write', action='store_true', help='train nothing, write the figures')
    say.add_argument('--one', help=argparse.SUPPRESS)
    asked = say.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    if asked.one:
        path = asked.work/f'{asked.one}.json'
        path.with_suffix('.part').write_text(json.dumps(one(asked.one, SEED, asked.seconds, asked.first)))
        return print(path.with_suffix('.part').replace(path).read_text(), flush=True)

    def child(name:str) -> None:
        if (asked.work/f'{name}.json').exists(): return
        words = [sys.executable, __file__, '--work', asked.work, '--seconds', asked.seconds, '--one', name]
        words += ['--first', asked.first] if asked.first else []
        subprocess.run([*map(str, words)], check=True, env=os.environ | {'OMP_NUM_THREADS': '1'})
    names = [*OURS, *([FIRST] if asked.first else [])]
    if not asked.write:
        with ThreadPoolExecutor(asked.workers) as pool: list(pool.map(child, names))
    runs = [json.loads(path.read_text()) for path in sorted(asked.work.glob('*.json'))]
    told = {'date': time.strftime('%Y-%m-%d'), 'seconds': asked.seconds, 'without': nothing(), 'runs': runs}
    FIGURES.write_text(json.dumps(told, indent=1, ensure_ascii=False) + '\n')


if __name__ == '__main__': main()
