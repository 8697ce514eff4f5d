"""Dates that were never seen: inside gaps, and beyond the last frame. Makes the tables of `periods_and_time`.

Around a date all frames of some sources are taken away; then the model and three things that need no model
say what Sentinel-2 would have shown. Errors are mean absolute differences in standard deviations of the
standardised bands. In Flanders the truth is a clear frame of that date, and the model is trained on what is
left without the three months around it, on another place and year of Flanders and on six synthetic places.
On the synthetic Earth the truth is noiseless, and the places were not trained on.

    python tests/studies/gaps.py flanders --work runs/gaps --steps 1200
    python tests/studies/gaps.py synthetic --work runs/gaps

Models and errors are kept in the folder, so a study that was stopped goes on.
"""
import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from alphaearth_nb.frames import FrameSequence
from alphaearth_nb.inference import embed_periods
from alphaearth_nb.model import AlphaEarth
from alphaearth_nb.periods import DAY_MS, Period, to_days
from alphaearth_nb.places import open_frames
from alphaearth_nb.settings import TrainingConfig
from alphaearth_nb.sources import standardize
from alphaearth_nb.standardized import Standardized, prepare, standardize_source
from alphaearth_nb.synthetic import SyntheticWorld, true_values
from alphaearth_nb.training import train

OPTICAL, ALL = ('sentinel2', 'landsat'), ('sentinel2', 'landsat', 'sentinel1')
MONTH, YEAR = 30.44, 365.25                              # days
PERIOD_DAYS = 20                                         # of the embedding that is asked for a date
CLEAR = .5                                               # share of clear pixels that makes a frame a test
WAVES, RIDGE = 2, .1                                     # of the harmonics; weight of the ridge, in frames
CENTRES = ('2018-05-12', '2018-07-15', '2018-09-29')      # of the gaps in Flanders
NEAR = 14                                                # days from a centre that are tested
TRAINED, TESTED = range(100, 124), (1, 2, 3, 4)          # seeds of synthetic places
SYNTHETIC_DAYS = ('2018-01-15', '2018-03-15', '2018-05-01', '2018-06-01', '2018-07-01', '2018-08-01',
                  '2018-09-15')


@dataclass(frozen=True)
class Case:
    "What is taken away around a date."
    name:str
    sources:tuple[str, ...]
    before:float              # days
    after:float               # days


GAPS = [Case(f'{what}, {m} mo', sources, m*MONTH/2, m*MONTH/2)
        for what, sources in (('clouds', OPTICAL), ('nothing at all', ALL)) for m in (1, 2, 3)]
BEYOND = [Case(f'beyond, {m} mo', ALL, m*MONTH, np.inf) for m in (1, 2, 3)]


def day_of(date:str) -> float: return float(np.datetime64(date, 'D').astype(int))


def period_of(first:float, last:float) -> Period: return Period(round(first*DAY_MS), round(last*DAY_MS))


def without(frames:FrameSequence, sources:tuple[str, ...], first:float, last:float) -> FrameSequence:
    "Take away the frames of some sources between two days since 1970."
    def keep(name:str) -> np.ndarray:
        days = to_days(frames[name].times)
        return ~((days >= first) & (days <= last)) if name in sources else np.ones(len(days), bool)
    parts = {name: frames[name].take(keep(name)) for name in frames}
    parts = {name: part for name, part in parts.items() if len(part)}
    return FrameSequence(parts, frames.grid, frames.labels, frames.name, frames.notes, frames.origin)


def nearest(values:np.ndarray, days:np.ndarray, order:np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    "The first clear value of each pixel in some order of frames, and its day."
    found, when = np.full(values.shape[1:], np.nan), np.full(values.shape[1:], np.nan)
    for i in order:
        new = np.isnan(found) & np.isfinite(values[i])
        found[new], when[new] = values[i][new], days[i]
    return found, when


def harmonics(values:np.ndarray, days:np.ndarray) -> np.ndarray:
    "Least squares of a year's waves on the clear values of each pixel, at day 0; waves with a little ridge."
    angle = 2*np.pi*days[:, None]*np.arange(1, WAVES + 1)/YEAR
    design = np.concatenate([np.ones((len(days), 1)), np.sin(angle), np.cos(angle)], 1)
    at = np.concatenate([[1], np.zeros(WAVES), np.ones(WAVES)])
    flat = values.reshape(len(days), -1)
    seen = np.isfinite(flat).astype(float)
    outer = np.einsum('ti,tj->tij', design, design).reshape(len(days), -1)
    gram = (seen.T @ outer).reshape(-1, len(at), len(at)) + np.diag([1e-6] + [RIDGE]*2*WAVES)
    right = np.nan_to_num(flat).T @ design
    return (np.linalg.solve(gram, right[..., None])[..., 0] @ at).reshape(values.shape[1:])


def guesses(part:Standardized, day:float) -> dict[str, np.ndarray]:
    "What needs no model: (c, h, w) for a day, from the clear pixels within a year of it."
    near = np.abs(part.days - day) <= YEAR
    days, values = part.days[near] - day, np.where(part.weights[near], part.values[near], np.nan)
    mean = np.nan_to_num(np.nanmean(values, 0))
    (before, t0), (after, t1) = (nearest(values, days, order) for order in
                                 (np.flatnonzero(days < 0)[::-1], np.flatnonzero(days > 0)))
    share = np.where(np.isnan(after), 0, np.where(np.isnan(before), 1, -t0/(t1 - t0)))
    between = np.nan_to_num(before)*(1 - share) + np.nan_to_num(after)*share
    last = np.where(np.isnan(before), after, before)
    return {'linear interpolation': np.where(np.isnan(before) & np.isnan(after), mean, between),
            'harmonics': harmonics(values, days), 'last value': np.where(np.isnan(last), mean, last)}


@torch.inference_mode()
def decoded(model:AlphaEarth, frames:FrameSequence, day:float, support:Period,
            angles_deg:np.ndarray|None=None) -> np.ndarray:
    "What the model says of Sentinel-2 on a day, (c, h, w)."
    period = period_of(day - PERIOD_DAYS/2, day + PERIOD_DAYS/2)
    field = embed_periods(model, frames, [period], support, quiet=True)[0]
    unit = torch.from_numpy(np.ascontiguousarray(np.moveaxis(field.values, 0, -1)))[None]
    angles = None if angles_deg is None else torch.from_numpy(angles_deg[None])
    return model.decoders['sentinel2'](unit, torch.tensor([.5]), angles)[0].permute(2, 0, 1).numpy()


def errors(model:AlphaEarth, frames:FrameSequence, day:float, truth:np.ndarray, seen:np.ndarray, case:Case,
           angles_deg:np.ndarray|None=None) -> dict[str, float]:
    "Errors of the model and of what needs none, for one day and one case."
    left = without(frames, case.sources, day - case.before, day + case.after)
    said = guesses(standardize_source(left, 'sentinel2', model.config), day)
    support = period_of(day - (YEAR/2 if np.isfinite(case.after) else YEAR), day + YEAR/2)
    said['model'] = decoded(model, left, day, support, angles_deg)
    return {name: float(np.abs(values - truth)[seen].mean()) for name, values in said.items()}


def trained(path:Path, places:list[FrameSequence], config:TrainingConfig) -> AlphaEarth:
    "A model from a file, or trained and put there."
    if path.exists(): return AlphaEarth.load(path)
    torch.manual_seed(config.seed)
    model = AlphaEarth.preset('tiny')
    train(model, places, config, out=path.with_suffix(''))
    model.save(path)
    return model


def flanders(work:Path, config:TrainingConfig) -> list[dict]:
    "One model for each gap, trained without its three months; the clear dates near its centre are tested."
    frames, rows = open_frames('flanders2018'), []
    others = [open_frames('flanders2019'), *(SyntheticWorld(seed).frames() for seed in TRAINED[:6])]
    part = standardize_source(frames, 'sentinel2', AlphaEarth.preset('tiny').config)
    clear = part.weights.any(1).mean((1, 2)) > CLEAR
    for centre in CENTRES:
        middle, half = day_of(centre), 1.5*MONTH + 1
        left = without(frames, ALL, middle - half, middle + half)
        model = trained(work/f'flanders_{centre}.safetensors', [left, left, *others], config)
        for i in np.flatnonzero(clear & (np.abs(part.days - middle) <= NEAR)):
            for case in GAPS:
                found = errors(model, frames, float(part.days[i]), part.values[i], part.weights[i], case,
                               part.angles_deg[i])
                rows.append({'gap': centre, 'day': float(part.days[i]), 'case': case.name, **found})
    return rows


def synthetic(work:Path, config:TrainingConfig) -> list[dict]:
    "One model of many places; other places and the noiseless truth are tested."
    places = [SyntheticWorld(seed).frames() for seed in TRAINED]
    model, rows = trained(work/'synthetic.safetensors', places, config), []
    bands = model.config.bands['sentinel2']
    for seed in TESTED:
        world = SyntheticWorld(seed)
        frames = world.frames()
        for date in SYNTHETIC_DAYS:
            day, noon = day_of(date) + .45, np.array([(day_of(date) + .45)*DAY_MS]).astype(np.int64)
            truth = standardize(true_values(world.land, 'sentinel2', bands, noon), 'sentinel2', bands,
                                model.config.statistics)[0]
            for case in (*GAPS, *BEYOND):
                found = errors(model, frames, day, truth, np.ones(truth.shape, bool), case)
                rows.append({'gap': seed, 'day': day, 'case': case.name, **found})
    return rows


def table(rows:list[dict]) -> str:
    "Mean error of each case, its spread over places or gaps, and the model against the best of the others."
    import pandas
    frame = pandas.DataFrame(rows)
    each = frame.drop(columns='day').groupby(['case', 'gap'], sort=False).mean()      # every gap counts once
    mean = each.groupby('case', sort=False).mean()
    best = mean.drop(columns='model').min(axis=1)
    mean['less error'] = 100*(1 - mean['model']/best)
    rival = mean.drop(columns=['model', 'less error']).idxmin(axis=1)
    ratio = [each.loc[case, 'model']/each.loc[case, rival[case]] for case in mean.index]
    mean['from'], mean['to'] = ([100*(1 - of(one)) for one in ratio] for of in (max, min))
    percent = ('less error', 'from', 'to')
    return mean.round({name: 0 if name in percent else 3 for name in mean}).to_string()


def main() -> None:
    "Run a study from the command line."
    say = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    say.add_argument('study', choices=('flanders', 'synthetic'))
    say.add_argument('--work', type=Path, required=True, help='folder for models and results')
    say.add_argument('--steps', type=int, default=1500)
    asked = say.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    config = TrainingConfig(steps=asked.steps, windows=6, encoder_rate=.3, precision='bf16')
    if asked.study == 'flanders': rows = flanders(asked.work, config)
    else: rows = synthetic(asked.work, config)
    (asked.work/f'{asked.study}.json').write_text(json.dumps(rows))
    print(table(rows))


if __name__ == '__main__': main()
