"""What pretraining is made of: recipes tried one at a time, judged by what was fixed beforehand.

    python tests/studies/pretraining.py --work runs/pretraining            train and judge what is missing
    python tests/studies/pretraining.py --work runs/pretraining --seeds 3  the same with three seeds
    python tests/studies/pretraining.py --work runs/pretraining --page     write the page from what is there

Every recipe differs from the first in one thing and is trained for STEPS steps on drawn places, by a process
of its own with one thread. **Judged** by places that are never learned from, fixed before the first recipe
was scored:

- farmland: probes on three places of `SyntheticWorld`, another world than the drawn ones, parcels held out;
- regions: share of the fields of drawn regions, seeds never learned from, whose nearest embedding at the
  *other* places of the region is of their own kind, among acquisitions and among composites of months;
- Canada: probes on the four cells for choosing of the study canada.py, which scores none of them;
- gaps: error on clear dates of Flanders around one day in May, three months without any optical frame, beside
  the best of interpolation, harmonics and the last value. Labels of Flanders are not looked at.

No number of this page is a test: recipes are chosen by them. A run that was stopped goes on.
"""
import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

HERE = Path(__file__).parent
FIGURES, PAGE = HERE/'pretraining.json', HERE/'pretraining.md'
STEPS, SIDE, AT_ONCE, HOLD = 1000, 16, 32, 2          # pixels of a place; places of a step; steps of a place
PER_REGION, MOST = 8, 16                              # places of a region; acquisitions of a source
TRAINING = dict(steps=STEPS, windows=AT_ONCE, window_px=SIDE, frames=28, frames_share=(.55, .35, .1),
                patch_px=4, pixel_share=1/16, targets=1, inputs_share=1., support_days=(365, 486),
                period_days=(30, 400), classes=1., reconstruction=.3, uniformity=0., consistency=0.,
                encoder_rate=1., precision='bf16', log_every=50, checkpoint_every=100)
MODEL = dict(summary_queries=12)


@dataclass(frozen=True)
class Recipe:
    "One way to pretrain."
    name:str                                             # in the words of the page
    training:dict = field(default_factory=dict)          # of TrainingConfig
    model:dict = field(default_factory=dict)             # of ModelConfig
    stp:dict = field(default_factory=dict)               # of STPConfig
    world:dict = field(default_factory=dict)             # of `place`


RECIPES = [
    Recipe('as it is'),
    Recipe('no classes', training={'classes': 0., 'reconstruction': 1.}),
    Recipe('classes only', training={'reconstruction': 0.}),
    Recipe('reconstruction 1', training={'reconstruction': 1.}),
    Recipe('6 queries', model={'summary_queries': 6}),
    Recipe('1 query, as the paper', model={'summary_queries': 1}),
    Recipe('1 block', stp={'blocks': 1}),
    Recipe('4 narrow blocks', stp={'blocks': 4, 'space_width': 96, 'time_width': 48, 'precision_width': 24}),
    Recipe('precision twice as wide', stp={'precision_width': 64}),
    Recipe('4 targets', training={'targets': 4}),
    Recipe('periods from 5 days', training={'period_days': (5, 400)}),
    Recipe('whole years only', training={'period_days': (300, 400)}),
    Recipe('uniformity .05', training={'uniformity': .05}),
    Recipe('with a student', training={'consistency': .1, 'student_every': 2}),
    Recipe('short supports too', training={'support_days': (200, 486)}),
    Recipe('16 frames', training={'frames': 16}),
    Recipe('a third of the rate', training={'rate': 7e-4}),
    Recipe('other years in a region', world={'years': 'mixed'}),
    Recipe('acquisitions only', world={'monthly': 0.}),
    Recipe('months only', world={'monthly': 1.}),
    Recipe('no gains, all bands and sources', world={'faults': 0.}),
    Recipe('small fields', world={'field_px': (30, 400)}),
    Recipe('large fields', world={'field_px': (1500, 3000)}),
    Recipe('one country', world={'country': True})]


# ---- what is learned from

def place(number:int, years:str='same', country:bool=False, **options) -> object:
    "Place number n of the stream: eight of each region."
    from alphaearth_nb.drawn_places import drawn_place
    from alphaearth_nb.synthetic import synthetic_place
    region = number//PER_REGION
    year = 2016 + (number if years == 'mixed' else region) % 5
    if country:
        found = synthetic_place(number, 32, start=f'{year - 1}-11-15', days=486)
        return replace(found, labels=found.labels.assign_attrs(period=str(year)))
    return drawn_place(number, region, SIDE, year, most=MOST, **({'monthly': .5} | options))


def stream(recipe:Recipe) -> object:
    "The places that a recipe learns from."
    from alphaearth_nb.place_streams import PlaceStream
    return PlaceStream(partial(place, **recipe.world), AT_ONCE, HOLD, f'{SIDE} px, {recipe.world}')


def learn(recipe:Recipe, seed:int, out:Path) -> object:
    "Train a recipe; a run that was stopped goes on."
    import torch

    import alphaearth_nb as ae
    from alphaearth_nb.settings import preset
    torch.manual_seed(seed)
    tiny = preset('tiny')
    config = replace(tiny, name='pretraining', stp=replace(tiny.stp, **recipe.stp), **(MODEL | recipe.model))
    settings = TRAINING | recipe.training | {'seed': seed}
    return ae.train(ae.AlphaEarth(config), stream(recipe), out=out, quiet=True, **settings)


# ---- judged by

FARMS, NEVER, YEAR, SPAN = (1, 2, 3), 10**7, '2018', dict(start='2017-11-15', days=486)
CENTRE = '2018-05-12'                                    # of the gap; the others of gaps.py are for tests


def farmland(model:object) -> dict[str, float]:
    "Probes on the synthetic farmland, mean of three places, percent."
    import numpy as np

    import alphaearth_nb as ae
    from alphaearth_nb.probes import score_field
    from alphaearth_nb.synthetic import SyntheticWorld
    found = {'1': [], '10': [], 'max': []}
    for seed in FARMS:
        frames = SyntheticWorld(seed, 64, **SPAN).frames()
        card = score_field(ae.embed(model, frames, YEAR, quiet=True), frames.labels, splits=10, draws=5,
                           predictors=('knn1', 'knn3', 'logistic'))
        for trial, parts in found.items(): parts.append(max(map(np.mean, card.scores[trial].values())))
    return {f'farmland {trial}': 100*float(np.mean(parts)) for trial, parts in found.items()}


def fields_of(model:object, number:int, region:int, monthly:bool) -> tuple:
    "Embeddings (n, 64) and kinds (n,) of the fields of one place, a pixel each."
    import numpy as np

    import alphaearth_nb as ae
    from alphaearth_nb.drawn_places import drawn_place
    frames = drawn_place(number, region, 32, 2018, monthly=monthly, most=20)
    vectors = np.moveaxis(ae.embed(model, frames, YEAR, quiet=True).values, 0, -1)
    kind, of = frames.labels['class_id'].values, frames.labels['parcel_id'].values
    at = [np.argwhere(of == one) for one in np.unique(of[of > 0])]
    at = [tuple(part[len(part)//2]) for part in at]
    return np.array([vectors[one] for one in at]), np.array([kind[one] for one in at])


def regions(model:object, monthly:bool, count:int=12, places:int=6) -> float:
    "Share of fields whose nearest at other places is of their kind, percent."
    import numpy as np
    right = []
    for region in range(NEVER, NEVER + count):
        parts = [fields_of(model, region*places + i, region, monthly) for i in range(places)]
        of = np.repeat(np.arange(places), [len(kinds) for _, kinds in parts])
        vectors, kinds = (np.concatenate(part) for part in zip(*parts))
        elsewhere = of[:, None] != of
        fair = (elsewhere & (kinds[:, None] == kinds)).any(1)
        nearest = np.where(elsewhere, vectors @ vectors.T, -np.inf).argmax(1)
        right.append((kinds[nearest] == kinds)[fair].mean())
    return 100*float(np.mean(right))


def canada(model:object) -> dict[str, float]:
    "Probes on the cells for choosing, percent; nothing where the data is not."
    import canada as study
    import canada_series as data
    if not data.DATA.is_file(): return {}
    series = data.read()
    found = study.judged({'': study.embed_all(model, series)}, series)['']
    return {f'Canada {trial}': 100*value for trial, value in found.items()}


def gaps(model:object) -> dict[str, float]:
    "Error in a gap of three months as a share of the best without a model; nothing where there is no data."
    import gaps as study
    import numpy as np

    import alphaearth_nb as ae
    from alphaearth_nb.standardized import standardize_source
    try: frames = ae.open_frames('flanders2018')
    except ae.AlphaEarthError: return {}
    part, case, ratios = standardize_source(frames, 'sentinel2', model.config), study.GAPS[2], []
    clear = part.weights.any(1).mean((1, 2)) > study.CLEAR
    for i in np.flatnonzero(clear & (np.abs(part.days - study.day_of(CENTRE)) <= study.NEAR)):
        found = study.errors(model, frames, float(part.days[i]), part.values[i], part.weights[i], case,
                             part.angles_deg[i])
        ratios.append(found.pop('model')/min(found.values()))
    return {'gap': float(np.mean(ratios))}


def one_run(work:Path, number:int, seed:int) -> None:
    "Train and judge one recipe with one seed."
    import torch
    torch.set_num_threads(1)
    recipe, start = RECIPES[number], time.process_time()
    run = learn(recipe, seed, work/f'{number:02}_{seed}')
    spent = time.process_time() - start
    model = run.model.eval()
    told = {'recipe': recipe.name, 'seed': seed, 'cpu_s': round(spent), 'rank': run.log[-1]['effective_rank'],
            **farmland(model), **canada(model), **gaps(model),
            'regions, acquisitions': regions(model, False), 'regions, months': regions(model, True)}
    put(work, number, seed).write_text(json.dumps(told))


# ---- all runs

def put(work:Path, number:int, seed:int) -> Path: return work/f'{number:02}_{seed}.json'


def child(work:Path, number:int, seed:int) -> None:
    "One run in a process of its own."
    words = [sys.executable, __file__, '--work', str(work), '--one', f'{number} {seed}']
    subprocess.run(words, check=True, env=os.environ | {'OMP_NUM_THREADS': '1'})


# ---- the page

COLUMNS = ('Canada 1', 'Canada 10', 'Canada max', 'farmland 1', 'farmland 10', 'farmland max',
           'regions, acquisitions', 'regions, months', 'gap', 'rank', 'cpu_s')
TITLES = {'cpu_s': 'CPU-seconds', 'gap': 'gap, error / best', 'rank': 'effective rank'}


def cell(values:list[float], name:str) -> str:
    "Mean over the seeds, and their standard deviation where there are several."
    from statistics import mean, stdev
    if not values: return '–'
    digits = 2 if name == 'gap' else 0 if name == 'cpu_s' else 1
    spread = f' ± {stdev(values):.{digits}f}' if len(values) > 1 else ''
    return f'{mean(values):.{digits}f}{spread}'


def page(told:dict) -> str:
    "The page as Markdown."
    rows = []
    for recipe in RECIPES:
        runs = [run for run in told['runs'] if run['recipe'] == recipe.name]
        if not runs: continue
        cells = [cell([run[name] for run in runs if name in run], name) for name in COLUMNS]
        rows.append('| ' + ' | '.join([recipe.name, str(len(runs)), *cells]) + ' |')
    head = ['recipe', 'seeds', *(TITLES.get(name, name) for name in COLUMNS)]
    table = '\n'.join(['| ' + ' | '.join(head) + ' |', '|' + '---|'*len(head), *rows])
    return f"""# Pretraining

> What was tried before the weights were made, and what each recipe scored where choosing is allowed.

Made on {told["date"]} by `python tests/studies/pretraining.py --work runs/pretraining`, which says what each
column is. {STEPS} steps of {AT_ONCE} windows of {SIDE} pixels, one thread each. Percent, but for the gap: the
error as a share of that of the best of interpolation, harmonics and the last value, so that less than 1 is
better than they are. ± is the standard deviation over seeds; where only one seed was run, differences of two
points are noise. None of these numbers is a test, because recipes were chosen by them.

{table}
"""


def main() -> None:
    say = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    say.add_argument('--work', type=Path, required=True, help='folder that keeps one file a run')
    say.add_argument('--workers', type=int, default=2)
    say.add_argument('--seeds', type=int, default=1)
    say.add_argument('--names', nargs='*', help='only these recipes')
    say.add_argument('--page', action='store_true', help='train nothing: write figures and page')
    say.add_argument('--one', help=argparse.SUPPRESS)
    asked = say.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    if asked.one: return one_run(asked.work, *map(int, asked.one.split()))
    wanted = [(i, seed) for seed in range(asked.seeds) for i, recipe in enumerate(RECIPES)
              if (not asked.names or recipe.name in asked.names) and not put(asked.work, i, seed).exists()]
    with ThreadPoolExecutor(asked.workers) as pool:
        list(pool.map(lambda job: child(asked.work, *job), [] if asked.page else wanted))
    runs = [json.loads(path.read_text()) for path in sorted(asked.work.glob('[0-9][0-9]_[0-9].json'))]
    told = {'date': time.strftime('%Y-%m-%d'), 'runs': runs}
    FIGURES.write_text(json.dumps(told, indent=1, ensure_ascii=False) + '\n')
    PAGE.write_text(page(told), encoding='utf-8')


if __name__ == '__main__': main()
