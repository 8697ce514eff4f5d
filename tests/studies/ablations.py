"""What each part of the method is worth: parts switched off one at a time, trained anew, scored elsewhere.

    python tests/studies/ablations.py --work runs/ablations      train and score what is not there yet
    python tests/studies/ablations.py --work runs/ablations --page   write the page from what is there

Every variant is trained with three seeds on the same synthetic places, by a process of its own with one
thread, and scored on places that it never saw: probes on whole parcels held out, and what it decodes for the
middle of each month against the noiseless truth, which is in none of its frames. A run that was stopped goes
on. The page "Ablations" of the site is written from ablations.json; no number in it is typed by hand.
"""
import argparse
import json
import math
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

HERE = Path(__file__).parent
FIGURES, PAGE = HERE/'ablations.json', HERE/'ablations.md'
SEEDS = (0, 1, 2)
TRAINED, TESTED = (101, 102, 103, 104), (1, 2, 3)        # seeds of the synthetic places
START, DAYS, YEAR = '2020-01-01', 366, '2020'            # from 2019 on there is GEDI
STEPS, TARGETS = 400, 2                                  # targets a source and window
GROUPS = {'optical': ('sentinel2', 'landsat'), 'radar': ('sentinel1', 'palsar2'), 'lidar': ('glo30', 'gedi'),
          'climate': ('era5land', 'grace'), 'maps': ('nlcd', 'cdl')}
GROUND = 'optical + radar + lidar + climate + maps'


@dataclass(frozen=True)
class Variant:
    "One way to train."
    name:str                                             # in the words of the page
    about:str                                            # what is different
    groups:tuple[str, ...] = tuple(GROUPS)
    settings:dict = field(default_factory=dict)          # of TrainingConfig
    model:dict = field(default_factory=dict)             # of ModelConfig
    off:str = ''                                         # operator of the encoder that does nothing


def growing() -> list[Variant]:
    "The groups of sources, one more each time, as in the paper's figure."
    names = list(GROUPS)
    return [Variant(' + '.join(names[:n]), 'fewer sources', tuple(names[:n])) for n in range(1, len(names))]


VARIANTS = [
    Variant(GROUND, 'as it is by default, all sources'),
    *growing(),
    Variant('b = 0', 'no uniformity', settings={'uniformity': 0.}),
    Variant('b = .05', 'ten times the uniformity, as the paper used', settings={'uniformity': .05}),
    Variant('κ = 500', 'four times the noise in the bottleneck', model={'concentration': 500.}),
    Variant('κ = 10⁶', 'hardly any noise in the bottleneck', model={'concentration': 1e6}),
    Variant('no student', 'no consistency', settings={'consistency': 0.}),
    Variant('without space', 'no attention within a frame', off='space'),
    Variant('without time', 'no attention among the frames', off='time'),
    Variant('without precision', 'no convolutions at half resolution', off='precision'),
    Variant('strict', 'shifts and coarse cells are not forgiven', settings={'tolerant': False})]


# ---- one run

def switched_off(model:object, operator:str) -> None:
    "Take an operator out of every block; its state still carries what the exchange brings."
    from torch import nn

    class Nothing(nn.Module):
        "Gives back what comes in, or zero where the block adds it to its state."
        def forward(self, maps, *more): return maps*0 if operator == 'precision' else maps
    for block in model.encoder.blocks:
        if operator: setattr(block, operator, Nothing())


def decoded_error(model:object, world:object, embedded:object) -> dict[str, float]:
    "Mean absolute error in standard deviations against the truth of twelve instants, by source."
    import numpy as np

    from alphaearth_nb.sources import standardize
    found = {}
    for name, bands in model.config.bands.items():
        parts = []
        for month in range(1, 13):
            when = f'2020-{month:02}-15T10:30'
            said = np.asarray(model.decode(embedded, name, when, bands=bands).values)
            truth = np.stack([world.value(name, band, when) for band in bands])
            one, other = (standardize(values, name, bands, model.config.statistics)
                          for values in (said, truth))
            parts.append(np.abs(one - other).mean())
        found[name] = float(np.mean(parts))
    return found


def score(model:object, seed:int) -> dict[str, float]:
    "Score a model on a place that it has not seen."
    import numpy as np

    import alphaearth_nb as ae
    from alphaearth_nb.probes import score_field
    from alphaearth_nb.synthetic import SyntheticWorld
    world = SyntheticWorld(seed, 64, start=START, days=DAYS, sources=tuple(model.config.bands))
    frames = world.frames()
    embedded = ae.embed(model, frames, YEAR, quiet=True)
    card = score_field(embedded, frames.labels, splits=10, draws=5, predictors=('knn3', 'logistic'))
    best = {trial: 100*max(map(np.mean, card.scores[trial].values())) for trial in ('1', '10', 'max')}
    return {**{f'probe {trial}': float(value) for trial, value in best.items()},
            **{f'error {name}': value for name, value in decoded_error(model, world, embedded).items()}}


def one_run(variant:Variant, seed:int) -> dict:
    "Train and score one variant with one seed."
    import numpy as np
    import torch

    import alphaearth_nb as ae
    from alphaearth_nb.settings import preset, with_sources, with_targets
    from alphaearth_nb.synthetic import SyntheticWorld
    torch.set_num_threads(1)
    asked = [name for group in variant.groups for name in GROUPS[group]]
    config = preset('tiny')
    config = with_targets(with_sources(config, [name for name in config.bands if name in asked]),
                          [name for name in asked if name not in config.bands])
    torch.manual_seed(seed)
    model = ae.AlphaEarth(replace(config, **variant.model))
    switched_off(model, variant.off)
    places = [SyntheticWorld(one, 64, start=START, days=DAYS, sources=tuple(asked)).frames()
              for one in TRAINED]
    start = time.process_time()
    run = ae.train(model, places, steps=STEPS, targets=TARGETS, seed=seed, precision='fp32', quiet=True,
                   **variant.settings)
    spent = time.process_time() - start
    scores = [score(model, one) for one in TESTED]
    mean = {key: float(np.mean([one[key] for one in scores])) for key in scores[0]}
    return {'variant': variant.name, 'seed': seed, 'cpu_s': round(spent), **mean,
            'rank': run.log[-1]['effective_rank']}


# ---- all runs

def missing(work:Path) -> list[tuple[Variant, int]]:
    "Runs that are not there yet: every variant with the first seed, then with the second, and so on."
    return [(variant, seed) for seed in SEEDS for variant in VARIANTS
            if not place(work, variant, seed).exists()]


def place(work:Path, variant:Variant, seed:int) -> Path:
    return work/f'{VARIANTS.index(variant):02}_{seed}.json'


def child(work:Path, variant:Variant, seed:int) -> None:
    "One run in a process of its own."
    words = [sys.executable, __file__, '--work', str(work), '--one', f'{VARIANTS.index(variant)} {seed}']
    subprocess.run(words, check=True, env=os.environ | {'OMP_NUM_THREADS': '1'})


def collect(work:Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(work.glob('[0-9]*_[0-9].json'))]


# ---- the page

COLUMNS = {'probe 10': 'ten labels a class, %', 'probe max': 'all labels, %', 'error sentinel2': 'Sentinel-2',
           'error landsat': 'Landsat', 'error sentinel1': 'Sentinel-1', 'rank': 'effective rank',
           'cpu_s': 'CPU-seconds'}


def number(mean:float, spread:float, name:str) -> str:
    digits = 3 if name.startswith('error') else 0 if name == 'cpu_s' else 1
    return f'{mean:.{digits}f} ± {spread:.{digits}f}'


def deviation(values:list[float]) -> float:
    "Standard deviation over the seeds, of one less than their number."
    if len(values) < 2: return math.nan
    mean = sum(values)/len(values)
    return math.sqrt(sum((value - mean)**2 for value in values)/(len(values) - 1))


def line(variant:Variant, runs:list[dict]) -> str:
    "One variant in the table."
    cells = [f'**{variant.name}**' if variant.name == GROUND else variant.name, variant.about]
    for name in COLUMNS:
        values = [run[name] for run in runs if run.get(name) is not None]
        cells.append(number(sum(values)/len(values), deviation(values), name) if values else '–')
    return '| ' + ' | '.join(cells) + ' |'


def verdicts(told:list[dict]) -> tuple[str, int]:
    "Which variants differ from the default beyond the interval of their pairs, and how many were compared."
    of = {variant.name: [run for run in told if run['variant'] == variant.name] for variant in VARIANTS}
    ground, said, compared = {run['seed']: run for run in of[GROUND]}, [], 0
    for variant in VARIANTS[1:]:
        words = []
        for name in list(COLUMNS)[:5]:
            pairs = [run[name] - ground[run['seed']][name] for run in of[variant.name]
                     if name in run and run['seed'] in ground]
            if len(pairs) < 2: continue
            compared += 1
            mean, spread = sum(pairs)/len(pairs), deviation(pairs)/math.sqrt(len(pairs))
            if abs(mean) > 4.3*spread: words.append(f'{COLUMNS[name]} {mean:+.2g}')   # t of 95 %, two degrees
        found = ', '.join(words) if words else 'no difference that three seeds show'
        said.append(f'- {variant.name}: {found}')
    return '\n'.join(said), compared


def page(told:dict) -> str:
    "The page as Markdown."
    runs = told['runs']
    rows = [line(variant, [run for run in runs if run['variant'] == variant.name]) for variant in VARIANTS
            if any(run['variant'] == variant.name for run in runs)]
    found, compared = verdicts(runs)
    head = ['variant', 'what is different', *COLUMNS.values()]
    table = '\n'.join(['| ' + ' | '.join(head) + ' |', '|' + '---|'*len(head), *rows])
    return f'''# Ablations

> What each part of the method is worth, measured by leaving it out; where nothing was found, that is said.

Made on {told["date"]} by `python tests/studies/ablations.py`. The preset `tiny`, {STEPS} steps on
{len(TRAINED)} synthetic places of 64 × 64 pixels, {len(SEEDS)} seeds each; ± is the standard deviation over
the seeds. Scored on {len(TESTED)} synthetic places that no model saw. **Probes**: balanced accuracy in
percent of the better of kNN with 3 neighbours and logistic regression, whole parcels held out. **Errors**:
what the model decodes from the embedding of the year for the middle of each month, against the noiseless
truth of that moment, in standard deviations of the bands, mean of all pixels, bands and months. CPU-seconds
are those of training, of one thread, on a machine that did other work as well.

{table}

## What differs

Each variant against the default, seed by seed; named is what lies beyond the interval of 95 % that three
pairs give (4.3 standard errors). With {compared} comparisons, about
{round(.05*compared)} would be named if nothing differed at all. Errors go down when they are
better, probes up.

{found}

## What this does not tell

These are small models, minutes of training and an invented Earth whose sources follow from its land use.
That a part makes no difference here does not say that it makes none at the size of the paper, and the other
way round.
'''


def main() -> None:
    say = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    say.add_argument('--work', type=Path, required=True, help='folder that keeps one file a run')
    say.add_argument('--workers', type=int, default=2)
    say.add_argument('--page', action='store_true', help='write the figures and the page from what is there')
    say.add_argument('--one', help=argparse.SUPPRESS)
    asked = say.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    if asked.one:
        index, seed = map(int, asked.one.split())
        told, path = one_run(VARIANTS[index], seed), place(asked.work, VARIANTS[index], seed)
        path.with_suffix('.part').write_text(json.dumps(told))
        path.with_suffix('.part').replace(path)
        return print(json.dumps(told), flush=True)
    if not asked.page:
        with ThreadPoolExecutor(asked.workers) as pool:
            for _ in pool.map(lambda job: child(asked.work, *job), missing(asked.work)): pass
    told = {'date': time.strftime('%Y-%m-%d'), 'runs': collect(asked.work)}
    FIGURES.write_text(json.dumps(told, indent=1, ensure_ascii=False) + '\n')
    PAGE.write_text(page(told))


if __name__ == '__main__': main()
