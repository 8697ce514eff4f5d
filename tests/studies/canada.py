"""Crops of Canada from pixel series: encoders trained here beside what needs no model, whole cells held out.

    python tests/studies/canada.py --work runs/canada            train and score what is not there yet
    python tests/studies/canada.py --work runs/canada --page     write figures and page from what is there
    python tests/studies/canada.py --work runs/canada --try NAME a recipe of TRIED, on the cells for choosing

**Question.** Does an encoder of this library that is trained on the series of other regions tell crops
from ten labels a class better than every feature set that needs no model? **Data**: canada_series.py.
**Unit**: the cell of the H3 grid, level 3 (`h3_l3_cell`, about 100 km across). Fixed before any of the
scored cells was looked at, though recipes were tried on the cells for choosing meanwhile, and the numbers of
draws and of steps were changed for want of time:

- Classes: crop codes with 30 series or more in three cells or more, and `no crop`; the others stay without a
  label and are learned from as frames only.
- Four cells (CHOOSING) are for choosing recipes and are never scored; they are learned from. All other
  cells are dealt to four folds, the largest first, each to the fold with the fewest series so far.
- For each fold an encoder (about the preset `tiny`) learns from the frames of all cells outside of the
  fold, without labels, and embeds all series, of frames of all months, for the year 2017. A second recipe
  decodes the crop of those series besides, as the paper decodes CDL; it is told apart, because its encoder
  has seen labels, if none of the fold.
- Probes learn from labels outside of the fold and are judged on it, with the same draws for all features:
  1, 10 and up to 300 labels a class, DRAWS draws of the small trials, the predictors of `score_features`,
  the best of four for each row. Balanced accuracy over the series of all folds together, mean over the
  draws and over the encoders' seeds.
- Paired interval: cells are resampled 2000 times, all features alike (`block_bootstrap`). It covers the
  choice of cells to judge on, given encoders and draws; the spread over seeds is told beside it.

What leaks, and is left in: features without a model are scaled and turned over all series, held-out ones
among them; the library's band statistics (mean, deviation) were measured on these series too, without labels.
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

import canada_series as data
import numpy as np
from canada_page import CROPS, FIELD, ZERO, brief, page
from evaluations_common import put_table

from alphaearth_nb.core import write_aside
from alphaearth_nb.intervals import block_bootstrap
from alphaearth_nb.predictors import PREDICTORS, predictor_maker
from alphaearth_nb.splits import TRIALS, Split, trial_plan

HERE = Path(__file__).parent
FIGURES, PAGE = HERE/'canada.json', HERE/'canada.md'
NOTEBOOK = HERE.parents[1]/'nbs'/'explanations'/'what_the_numbers_mean.ipynb'
CHOOSING = ('832769fffffffff', '832b8efffffffff', '832b02fffffffff', '832b90fffffffff')
FOLDS, SEEDS, DRAWS = 4, (0, 1), 20
COMMON = dict(window_px=data.SIDE, patch_px=2, pixel_share=1/64, windows=32, precision='bf16',
              support_days=(365, 486), checkpoint_every=50, log_every=25)
MODEL = dict(blocks=1, summary_queries=12)
YEARLY = dict(encoder_rate=1., uniformity=.05, period_days=(300, 400))
RECIPES = {FIELD: dict(steps=200), CROPS: dict(steps=1000, targets_of=('cdl',), **YEARLY)}
TRIED = {'tiny': dict(steps=0, model=dict(blocks=2, summary_queries=6)),
         'twelve queries': dict(steps=0, model=dict(blocks=2, summary_queries=12)),
         'twelve queries, one block': dict(steps=0),
         'eighteen queries, one block': dict(steps=0, model=dict(blocks=1, summary_queries=18)),
         'one rate for all, 300 steps': dict(steps=300, **YEARLY),
         'the same with crop maps': RECIPES[CROPS] | dict(steps=300)}


# ---- who learns from what

def folds_of(series:data.Series) -> np.ndarray: # (n,) fold of each series; −1 in the cells for choosing
    "Deal whole cells to folds, the largest first, each to the fold with the fewest series so far."
    cells, sizes = np.unique(series.cells, return_counts=True)
    found, filled = np.full(len(series), -1), np.zeros(FOLDS, int)
    for cell, size in sorted(zip(cells, sizes), key=lambda pair: (-pair[1], pair[0])):
        if cell in CHOOSING: continue
        found[series.cells == cell] = filled.argmin()
        filled[filled.argmin()] += size
    return found


def splits_of(series:data.Series, folds:np.ndarray) -> list[Split]:
    "One split a fold: labels outside of it, series inside of it."
    labelled = series.classes > 0
    return [Split(train=labelled & (folds != fold), test=labelled & (folds == fold),
                  ratio=1/(FOLDS - 1)) for fold in range(FOLDS)]


# ---- the encoder

def new_model(seed:int, targets:tuple[str, ...]=(), blocks:int=1, summary_queries:int=12) -> object:
    "An untrained encoder for the bands that the series have."
    import torch

    import alphaearth_nb as ae
    from alphaearth_nb.settings import preset, with_targets
    torch.manual_seed(seed)
    bands = {'era5land': data.WEATHER, 'glo30': ('elevation',), 'cdl': ('cropland',)}
    tiny = preset('tiny')
    config = replace(tiny, bands={'sentinel2': data.OPTICAL, 'sentinel1': data.RADAR},
                     stp=replace(tiny.stp, blocks=blocks), summary_queries=summary_queries)
    return ae.AlphaEarth(with_targets(config, {name: bands[name] for name in targets}))


def learn(series:data.Series, rows:np.ndarray, seed:int, out:Path|None, recipe:dict) -> object:
    "Train an encoder on some series; a run that was stopped goes on."
    import alphaearth_nb as ae
    recipe = dict(recipe)
    targets, changes = recipe.pop('targets_of', ()), recipe.pop('model', MODEL)
    places = [data.place(series, i, targets) for i in np.flatnonzero(rows)]
    model = new_model(seed, targets, **changes)
    return ae.train(model, places, out=out, seed=seed, quiet=True, **(COMMON | recipe)).model


def of_bands(values:np.ndarray, have:tuple[str, ...], want:tuple[str, ...]) -> np.ndarray:
    "Bands (t, c, n) in the order of a model; NaN where the series have none."
    found = np.full((len(values), len(want), values.shape[2]), np.nan, np.float32)
    for i, band in enumerate(want):
        if band in have: found[:, i] = values[:, have.index(band)]
    return found


def embed_all(model:object, series:data.Series, at_once:int=128) -> np.ndarray: # (n, 64) unit vectors
    "Embed every series for the year, from the frames of all months; the mean over its 256 pixels."
    import torch

    from alphaearth_nb.encoder import SourceBatch
    from alphaearth_nb.periods import parse_period, to_days
    from alphaearth_nb.sources import standardize
    year, days, found = parse_period(data.YEAR), to_days(series.times.astype(np.int64)), []
    values = {name: standardize(of_bands(part, have, want)[..., None], name, want)[..., 0].transpose(2, 0, 1)
              for name, have, part in (('sentinel2', data.OPTICAL, series.optical),
                                       ('sentinel1', data.RADAR, series.radar))
              for want in [model.config.bands[name]]}
    period = torch.tensor([[[to_days(year.start_ms), to_days(year.end_ms)]]], dtype=torch.float64)
    for rows in np.array_split(np.arange(len(series)), -(-len(series)//at_once)):
        batch = {}
        for name, part in values.items():
            there = np.isfinite(part[rows])                                        # (b, t, c)
            arrays = data._tile(part[rows]).copy(), np.tile(days, (len(rows), 1)), there.any(2), there
            batch[name] = SourceBatch(*map(torch.from_numpy, arrays))
        with torch.inference_mode():
            vectors = model.eval().summarize(model.encode(batch), period.expand(len(rows), 1, 2))[:, 0]
        found.append(vectors.mean((1, 2)).numpy())
    found = np.concatenate(found)
    return found/np.linalg.norm(found, axis=1, keepdims=True)


def jobs(recipes:dict=RECIPES) -> list[str]: # 'number of the recipe, fold, seed'
    "Every encoder that is wanted: a recipe with its first seed, the next recipe, then the other seeds."
    return [f'{which}_{fold}_{seed}' for seed in SEEDS for which in range(len(recipes))
            for fold in range(FOLDS)]


def one_encoder(work:Path, job:str) -> None:
    "Train one encoder and keep what it makes of all series, before the first step and after the last."
    import torch
    torch.set_num_threads(1)
    which, fold, seed = map(int, job.split('_'))
    series, recipe, start = data.read(), list(RECIPES.values())[which], time.process_time()
    rows = folds_of(series) != fold
    found = {'after': embed_all(learn(series, rows, seed, work/job, recipe), series)}
    if not which: found['before'] = embed_all(learn(series, rows, seed, None, recipe | {'steps': 0}), series)
    with write_aside(work/f'{job}.npz', overwrite=True) as aside, open(aside, 'wb') as file:
        np.savez(file, cpu_s=time.process_time() - start, **found)


# ---- scores

def hits(features:list[np.ndarray], truth:np.ndarray, splits:list[Split], draws:int) -> dict:
    "Share of the draws in which each series is told right, {trial: {predictor: (n,)}}; features by split."
    makers = [{kind: predictor_maker(kind, np.asarray(part, np.float64)) for kind in PREDICTORS}
              for part in features]
    found = {trial: {kind: np.zeros(len(truth)) for kind in PREDICTORS} for trial in TRIALS}
    classes = np.unique(truth[truth > 0])
    for i, trial, train, test in trial_plan(truth, classes, splits, 0, draws):
        values, share = np.asarray(features[i], np.float64), 1/(1 if trial == 'max' else draws)
        for kind, make in makers[i].items():
            told = make().fit(values[train], truth[train]).predict(values[test])
            found[trial][kind][test] += share*(told == truth[test])
    return found


def by_class(truth:np.ndarray, right:np.ndarray, sample_weight:np.ndarray|None=None) -> float:
    "Mean over the classes of the share that is right, or of a difference of such shares."
    weights = np.ones(len(truth)) if sample_weight is None else sample_weight
    total = np.bincount(truth, weights)[1:]
    with np.errstate(invalid='ignore'):
        return float(np.mean((np.bincount(truth, weights*right)[1:]/total)[np.bincount(truth)[1:] > 0]))


def best(told:dict, truth:np.ndarray) -> dict[str, str]:
    "The best predictor of each trial."
    return {trial: max(row, key=lambda kind: by_class(truth, row[kind])) for trial, row in told.items()}


def compare(told:dict[str, dict], truth:np.ndarray, cells:np.ndarray) -> list[dict]:
    "Each feature set: score with its interval, and each encoder minus it, paired by cells."
    rows, of = [], {name: {trial: one[trial][kind] for trial, kind in best(one, truth).items()}
                    for name, one in told.items()}
    for name, one in told.items():
        row = {'name': name, 'predictor': best(one, truth), 'score': {}, 'minus': {}}
        for trial in TRIALS:
            row['score'][trial] = vars(block_bootstrap(truth, of[name][trial], cells, by_class))
            for field in {FIELD, CROPS, ZERO} & set(of) - {name}:
                gap = of[field][trial] - of[name][trial]
                row['minus'].setdefault(field, {})[trial] = vars(block_bootstrap(truth, gap, cells, by_class))
        if CROPS in of and name not in (CROPS, FIELD, ZERO):
            gap = of[CROPS]['10'] - of[name]['max']
            row['ten_minus_all'] = vars(block_bootstrap(truth, gap, cells, by_class))
        rows.append(row)
    return rows


def mean_of(several:list[dict]) -> dict:
    "Mean of what `hits` gives, over seeds."
    return {trial: {kind: np.mean([one[trial][kind] for one in several], 0) for kind in PREDICTORS}
            for trial in TRIALS}


# ---- all of it

def score_all(series:data.Series, work:Path, draws:int=DRAWS) -> dict:
    "Score the baselines, and each recipe whose encoders are all there for a seed."
    folds, truth, told, seeds, cpu_s = folds_of(series), series.classes, {}, {}, []
    splits, used = splits_of(series, folds), (truth > 0) & (folds >= 0)

    def shares(parts:list[np.ndarray]) -> dict:
        found = hits(parts, truth, splits, draws)
        return {trial: {kind: part[used] for kind, part in row.items()} for trial, row in found.items()}
    for name, part in data.baselines(series).items(): told[name] = shares([part]*FOLDS)
    for name, which, key in ((ZERO, 0, 'before'), (FIELD, 0, 'after'), (CROPS, 1, 'after')):
        each = []
        for seed in SEEDS:
            paths = [work/f'{which}_{fold}_{seed}.npz' for fold in range(FOLDS)]
            if not all(path.exists() for path in paths): continue
            each.append(shares([np.load(path)[key] for path in paths]))
            cpu_s += [float(np.load(path)['cpu_s']) for path in paths if key == 'after']
        if not each: continue
        told[name] = mean_of(each)
        kinds = best(told[name], truth[used])
        seeds[name] = {trial: [by_class(truth[used], one[trial][kinds[trial]]) for one in each]
                       for trial in TRIALS}
    counts = {data.NAMES[code]: int((truth[used] == i).sum()) for i, code in enumerate(data.CODES, 1)}
    return {'date': time.strftime('%Y-%m-%d'), 'series': len(series), 'scored': int(used.sum()),
            'seeds': seeds, 'cells': len(np.unique(series.cells[used])), 'classes': counts,
            'cpu_s': round(sum(cpu_s)), 'rows': compare(told, truth[used], series.cells[used])}


def tried(series:data.Series, name:str, draws:int=30) -> dict:
    "Train a recipe without the cells for choosing and score it on them: {its name: {trial: score}}."
    choosing = np.isin(series.cells, CHOOSING)
    if name in TRIED: parts = {name: embed_all(learn(series, ~choosing, 0, None, TRIED[name]), series)}
    else: parts = data.baselines(series)
    return judged(parts, series, draws)


def judged(parts:dict[str, np.ndarray], series:data.Series, draws:int=30) -> dict[str, dict[str, float]]:
    "Score features (n, d) by name on the cells for choosing, the best predictor of each trial."
    choosing, labelled = np.isin(series.cells, CHOOSING), series.classes > 0
    split = Split(train=labelled & ~choosing, test=labelled & choosing, ratio=.2)
    found, truth = {}, series.classes[split.test]
    for one, values in parts.items():
        told = hits([values], series.classes, [split], draws)
        told = {trial: {kind: part[split.test] for kind, part in row.items()} for trial, row in told.items()}
        found[one] = {trial: by_class(truth, told[trial][kind]) for trial, kind in best(told, truth).items()}
    return found


def child(work:Path, job:str) -> None:
    "One encoder in a process of its own."
    words = [sys.executable, __file__, '--work', str(work), '--one', job]
    subprocess.run(words, check=True, env=os.environ | {'OMP_NUM_THREADS': '1'})


def write_pages(told:dict) -> None:
    "Write the page of all numbers, and the table of the page that readers begin with."
    PAGE.write_text(page(told), encoding='utf-8')
    if not put_table(brief(told), NOTEBOOK): print(f'{NOTEBOOK.name} has no such table:\n{brief(told)}')


def main() -> None:
    say = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    say.add_argument('--work', type=Path, required=True, help='folder that keeps one file an encoder')
    say.add_argument('--workers', type=int, default=2)
    say.add_argument('--score', action='store_true', help='train nothing: score what is there')
    say.add_argument('--page', action='store_true', help='write the page again from the figures')
    say.add_argument('--try', dest='recipe', help='one of TRIED, or "baselines", on the cells for choosing')
    say.add_argument('--one', help=argparse.SUPPRESS)
    asked = say.parse_args()
    if asked.page: return write_pages(json.loads(FIGURES.read_text(encoding='utf-8')))
    if not data.DATA.is_file(): raise SystemExit(f'{data.DATA.name} is not here, nor in the repository.')
    asked.work.mkdir(parents=True, exist_ok=True)
    if asked.one: return one_encoder(asked.work, asked.one)
    path = asked.work/'tried.json'
    known = json.loads(path.read_text()) if path.exists() else {}
    if asked.recipe: return print(path.write_text(json.dumps(known | tried(data.read(), asked.recipe))))
    wanted = [] if asked.score else [job for job in jobs() if not (asked.work/f'{job}.npz').exists()]
    with ThreadPoolExecutor(asked.workers) as pool: list(pool.map(lambda job: child(asked.work, job), wanted))
    told = score_all(data.read(), asked.work) | {'tried': known}
    FIGURES.write_text(json.dumps(told, indent=1, ensure_ascii=False) + '\n')
    write_pages(told)


if __name__ == '__main__': main()
