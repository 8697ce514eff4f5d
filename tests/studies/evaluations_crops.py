"""(e) Crops in Flanders: a field trained at the place itself, the model with zero steps, and all baselines.

Two crops of eleven parcels; the splits, draws and predictors of the first table of the page, halves of
whole parcels. One seed is trained; of two more, zero steps are scored, to see how much a seed matters.
Fields are kept in the work folder, and a training that was stopped goes on. The best predictor of each row
counts, which flatters every row alike.
"""
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from evaluations_common import ends, here, over_splits, percent, table

PLACE, PERIOD, STEPS = 'wc_flanders2018', '2018', 700
SEEDS, ALSO = (0,), (1, 2)                          # that are trained; of which only zero steps are scored
SPLITS, DRAWS, TRIALS = 20, 20, ('1', '10', 'max')
WORDS = {'coordinates': 'position alone, scaled', 'xy': 'position as sines (XY)', 'xyz': 'XYZ',
         'median': 'annual median of the bands', 'harmonics': 'harmonics',
         'convolutions': 'random convolutions', 'series': 'main components of the pixel series',
         'seasons': 'medians of four seasons'}


def make_fields(frames:object, seed:int, work:Path, trained:bool) -> None:
    "Embed the year with zero steps, then train as the command `demo` does and embed it again."
    from copy import deepcopy

    import torch

    import alphaearth_nb as ae
    from alphaearth_nb.periods import nearest_support, parse_period
    from alphaearth_nb.settings import TrainingConfig, preset, with_sources
    from alphaearth_nb.standardized import prepare
    from alphaearth_nb.training import train, whiten
    period, config = parse_period(PERIOD), TrainingConfig(steps=STEPS, seed=seed)
    support = nearest_support(period, [ms for part in frames.values() for ms in part.times])
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(seed)
        chosen = preset('tiny')
        model = ae.AlphaEarth(with_sources(chosen, [name for name in chosen.bands if name in frames.sources]))
    whiten(model, [prepare(frames, model.config)], config)
    def keep(one:object, name:str) -> None:
        field = ae.embed(one, frames, period, support, quiet=True)
        field.aef.to_cog(work/f'{name}_{seed}.tif', overwrite=True)
    keep(deepcopy(model).eval(), 'zero')
    if not trained: return
    run = train(model, [frames], replace(config, whiten=False), work/f'run_{seed}', quiet=True)
    keep(run.model, 'trained')


def fields_of(frames:object, work:Path, seeds:tuple[int, ...]) -> dict[str, np.ndarray]:
    "Vectors of the fields, made where they are missing."
    from alphaearth_nb.places import open_field
    found = {}
    for seed in (*seeds, *ALSO):
        names = ('zero', 'trained') if seed in seeds else ('zero',)
        if not all((work/f'{name}_{seed}.tif').exists() for name in names):
            make_fields(frames, seed, work, seed in seeds)
        for name in names: found[f'{name} {seed}'] = open_field(work/f'{name}_{seed}.tif').aef.vectors()
    return found


def best_row(card:object, trial:str) -> dict:
    "Best predictor of a trial, and its score on every split."
    name = card.best(trial)
    return {'predictor': name, 'splits': [round(one, 6) for one in card.scores[trial][name]]}


def scores_of(features:dict, found:object, splits:list, seed:int, work:Path) -> dict:
    "Scores of each set of features, from the work folder where they are known."
    from alphaearth_nb.probes import score_features
    path = work/'e.json'
    known = json.loads(path.read_text()) if path.is_file() else {}
    for name, values in features.items():
        if name in known: continue
        card = score_features({name: values}, found, splits, seed, DRAWS)[name]
        known[name] = {trial: best_row(card, trial) for trial in TRIALS}
        path.write_text(json.dumps(known))
    return {name: known[name] for name in features}


def made_on(path:Path) -> str: return time.strftime('%Y-%m-%d', time.localtime(path.stat().st_mtime))


def measure(work:Path, seeds:tuple[int, ...]=SEEDS) -> dict:
    "All numbers of the study."
    from alphaearth_nb.baselines import coordinates
    from alphaearth_nb.more_baselines import place_baselines
    from alphaearth_nb.parcels import parcels
    from alphaearth_nb.places import open_frames
    from alphaearth_nb.splits import fingerprint, parcel_splits, split_seed
    frames = open_frames(here(PLACE))
    features = {'coordinates': coordinates(frames)} | place_baselines(frames, PERIOD)
    fields = fields_of(frames, work, seeds)
    features |= fields
    made = {name: made_on(work/f'{name.replace(" ", "_")}.tif') for name in fields}
    found, seed = parcels(frames.labels['class_id'].values.astype(int)), split_seed(PLACE)
    splits = parcel_splits(found, SPLITS, seed)
    return {'scores': scores_of(features, found, splits, seed, work), 'seeds': list(seeds),
            'ratio': float(np.mean([split.ratio for split in splits])),
            'data': {'parcels of each class': {str(one): count for one, count in found.counts.items()},
                     'fields were made on': made, 'different splits': fingerprint(splits)[1],
                     'components': {name: int(np.shape(one)[-1]) for name, one in features.items()}}}


def best_of(found:dict, name:str, trial:str) -> np.ndarray:
    "Scores of the splits by the best predictor; of the seeds of a model, their mean."
    mine = [name] if name in found['scores'] else [f'{name} {seed}' for seed in found['seeds']]
    return np.mean([found['scores'][one][trial]['splits'] for one in mine], 0)


def rows_of(found:dict) -> dict[str, str]:
    "What the rows are called."
    there = {name: said for name, said in WORDS.items() if name in found['scores']}
    return there | {'zero': 'same model, zero steps', 'trained': f'trained here, {STEPS} steps'}


def differences(found:dict) -> dict[tuple[str, str, str], object]:
    "Every comparison that is made: trained against all, zero steps against all baselines, at every trial."
    from alphaearth_nb.intervals import paired
    names, made = [*rows_of(found)], {}
    for one in ('trained', 'zero'):
        for other in names[:names.index(one)]:
            for trial in TRIALS:
                scores = (best_of(found, name, trial) for name in (one, other))
                made[one, other, trial] = paired(*scores, found['ratio'])
    return made


def tables(found:dict) -> list[str]:
    "The table of the page, and all differences."
    apart, said, short = differences(found), rows_of(found), []
    for name, row in said.items():
        scores = [percent(over_splits(best_of(found, name, trial), found['ratio'])) for trial in TRIALS]
        against = [apart.get(('trained', name, trial)) for trial in TRIALS]
        short.append([row, *scores, *(percent(one and ends(one)) for one in against)])
    long = [[f'{said[one]} − {said[other]}', trial, percent(ends(each), 1), f'{each.p:.3f}',
             f'{100*each.detectable:.1f}', f'{each.wins} of {each.n}']
            for (one, other, trial), each in apart.items()]
    single = [[name, *(f"{100*np.mean(one['splits']):.1f} ({one['predictor']})" for one in each.values())]
              for name, each in found['scores'].items()]
    head = ['features', '1 label a class', '10 labels', 'up to 300']
    return [table([*head, *(f'trained − this, {label}' for label in ('1', '10', 'up to 300'))], short),
            table(['difference', 'labels', 'points', 'p', 'smallest detectable', 'splits won'], long),
            table(head, single)]
