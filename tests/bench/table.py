"""Measure what has a target, keep the figures as JSON, and write the page "Speed" of the site from them.

    python tests/bench/table.py          run the benchmarks of the table (some minutes), write both
    python tests/bench/table.py --only bench_base    run one again, or go on where a run was stopped
    python tests/bench/table.py --page   write the page anew from the figures that are there

No number of the page is typed by hand: measured ones come from speed.json, targets from TARGETS below.
"""
import argparse
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from harness import machine, versions
from run_all import HERE, number, run

FIGURES, PAGE = HERE/'speed.json', HERE/'speed.md'
EQUAL_TIME = HERE.parent/'studies'/'equal_time.json'       # made by the study beside it
COMMAND = 'python tests/bench/table.py'
BENCHES = ('bench_codes', 'bench_fields', 'bench_encoder', 'bench_block', 'bench_base', 'bench_search',
           'bench_evaluation')
KEPT = ('bench', 'figure', 'unit', 'median', 'min', 'max', 'runs', 'per_core', 'ratio', 'to')
SHARE = '% of the matmul rate'


@dataclass(frozen=True)
class Target:
    "What a figure should be on two cores that have nothing else to do."
    what:str          # in the words of the page
    figure:str        # beginning of the figure's name; '' where there is none yet
    unit:str
    first:float
    goal:float
    least:bool = True # is more better?


TARGETS = (
    Target('similarity, one query on codes', 'similarity, one query on codes', 'Mpx/s', 120, 175),
    Target('dequantise to float32, into an array that is there', 'dequantize, into an array',
           'Mpx/s', 55, 70),
    Target('dequantise to float32, into fresh memory', 'dequantize 1024', 'Mpx/s', 55, 70),
    Target('change of two fields of codes', 'change of two fields', 'Mpx/s', 44, 90),
    Target('probe, 10 classes: best class and margin', 'best_class, 10 classes', 'Mpx/s', 37, 60),
    Target('reading a zstd COG, hashes and every pixel checked', 'read_cog', 'Mpx/s', 14, 20),
    Target('picture of 4 Mpx by principal directions', 'PCA picture', 's', .5, .3, least=False),
    Target('the highest scores of 4 Mpx', 'the highest 100 of 2048×2048 scores', 'ms', 3, 1, least=False),
    Target('nearest labels, 10⁴ of them, exact', 'nearest 3 of 10000 labels, exact', 'Mpx/s', .12, .2),
    Target('nearest labels, 10⁵ of them, exact too', 'nearest 3 of 100000 labels, exact', 'Mpx/s', .12, .3),
    Target('the protocol of the paper, 20,000 rows of 64, all trials and predictors',
           'evaluate, forest and logistic', 's', 60, 60, least=False),
    Target('linear probe, 100,000 labels', 'linear probe, 100,000', 's', 2, 2, least=False),
    Target('encoder small, forward, bf16', 'small forward', SHARE, 17, 30),
    Target('encoder small, training step, bf16 (28.5 % are 5 patches/s at 1.6 TFLOP/s)',
           'small training step', SHARE, 17, 28.5),
    Target('encoder of the paper, one block, bf16', 'paper, one block', SHARE, 60, 85),
    Target('base, embed, 16 frames, fp32, less processor time', 'base embed, T = 16, fp32, times',
           'times', 5, 8),
    Target('base, embed, 16 frames, bf16, less processor time', 'base embed, T = 16, bf16, times',
           'times', 5, 8),
    Target('the same, scaled to a core of 784 GFLOP/s in bf16', 'base embed, T = 16, bf16, the same',
           'times', 5, 8),
    Target('base, embed, 16 frames, bf16, for as many operations', 'base embed, T = 16, bf16, for as',
           'times', 3, 3),
    Target('base, training step, 16 frames, bf16, for as many operations',
           'base training step, T = 16, bf16, for as', 'times', 3, 3),
    Target('base, training step, 16 frames, bf16, less processor time',
           'base training step, T = 16, bf16, times', 'times', 5, 8),
    Target('base, embed, 16 frames, bf16, most memory', 'base embed, T = 16, bf16, most memory',
           'MB', 375, 375, least=False),
    Target('base, training step, 16 frames, bf16, most memory', 'base training step, T = 16, bf16, most',
           'MB', 2350, 2350, least=False))


# ---- from figures to words

def figure_of(target:Target, told:dict) -> dict|None:
    "The measured figure that a target is about."
    found = [line for line in told['figures'] if target.figure and line['figure'].startswith(target.figure)]
    return next((line for line in found
                 if 'memory' in target.figure or 'peak memory' not in line['figure']), None)


def value_of(target:Target, line:dict) -> float:
    return 100*line['ratio'] if target.unit == SHARE else line['median']


def verdict(target:Target, value:float) -> str:
    "Whether a value reaches what was aimed at; a miss is called one."
    def reaches(aim:float) -> bool: return value >= aim if target.least else value <= aim
    if reaches(target.goal): return 'reaches the goal'
    if reaches(target.first): return 'reaches the target'
    share = value/target.first if target.least else target.first/value
    return f'**misses it: {share:.0%} of the target**'


def spread(line:dict) -> str: return f'{number(line["min"])} – {number(line["max"])}'


def row(cells:list[str]) -> str: return '| ' + ' | '.join(cells) + ' |'


def target_row(target:Target, told:dict) -> str:
    "One line of the first table."
    aims = [f'{target.what}, {target.unit}', number(target.first), number(target.goal)]
    line = figure_of(target, told)
    if line is None: return row([*aims, '', '', '**not measured: nothing to measure yet**'])
    value = value_of(target, line)
    between = '' if target.unit == SHARE else f' ({spread(line)})'
    return row([*aims, number(value) + between, number(line['per_core']), verdict(target, value)])


def figure_row(line:dict) -> str:
    "One line of the second table."
    ratio = f'{number(line["ratio"])} {line["to"]}' if line['ratio'] is not None else ''
    return row([f'{line["figure"]}, {line["unit"]}', f'{number(line["median"])} ({spread(line)})',
                str(line['runs']), number(line['per_core']), ratio])


def table(head:list[str], rows:list[str]) -> str: return '\n'.join([row(head), row(['---']*len(head)), *rows])


def bought(told:dict) -> str:
    "What the contenders reached in the same processor time."
    rows = [row([name, '', '', f'{error:.3f}']) for name, error in told['without'].items()]
    for run in sorted(told['runs'], key=lambda run: run['error']):
        error = f'{run["error"]:.3f} ({min(run["places"]):.3f} – {max(run["places"]):.3f})'
        rows.append(row([run['name'], number(run['steps']), number(run['cpu_s']), error]))
    return table(['who', 'steps', 'processor time, s', 'error (places)'], rows)


def page(told:dict) -> str:
    "The page as Markdown."
    equal = json.loads(EQUAL_TIME.read_text(encoding='utf-8'))
    loads = ' and '.join(f'{load:.1f}' for load in told['load'])
    libraries = ', '.join(f'{name} {version}' for name, version in told['versions'].items())
    aims = table(['what', 'target', 'goal', 'measured', 'one core', 'verdict'],
                 [target_row(target, told) for target in TARGETS])
    every = table(['figure', 'median', 'runs', 'one core', 'ratio'],
                  [figure_row(line) for line in told['figures']])
    return f'''# Speed

> What the kernels, the files and the encoder do in a second, beside what they should do.

Measured on {told["date"]} by `{told["command"]}`, which wrote this page, in {told["minutes"]:.1f} minutes
on {told["machine"]}; {libraries}. The load of the machine was {loads} at the start and at the end: one
program that works all the time is a load of 1, and where other programs worked too, everything took longer
than it takes.

"Measured" is the median of the runs by the clock, with all cores, and the lowest and highest of them. "One
core" is the same amount by the time that processors worked on it, which other programs disturb less; two
free cores do up to twice that. Targets are for two cores that have nothing else to do, and what is measured
by the clock is held against them whatever else the machine did. Files are read from the system's memory,
not from a disk.

## Beside the targets

{aims}

## What the same processor time buys

About {equal["seconds"]:.0f} seconds on one thread each, on the same four synthetic places of 64 × 64 pixels,
Sentinel-2 alone and hardly a cloud; the presets as they come, and the first public implementation of the
paper as it is, with its own trainer. Every fifth frame was taken out before; the error is that of these
dates, decoded, against the noiseless truth, in standard deviations of the bands. The mean image and the line
between the two nearest frames take no training. One seed each, four places.
Made on {equal["date"]} by `python tests/studies/equal_time.py`.

{bought(equal)}

## Every figure

A ratio is to a calibration whose runs alternate with those of the figure, so that a slow moment of the
machine slows both.

{every}
'''


# ---- measuring

def write(path:Path, text:str) -> None:
    aside = path.with_name(f'.{path.name}.part')
    aside.write_text(text, encoding='utf-8')
    aside.replace(path)


def put(told:dict, name:str, found:list[dict]) -> dict:
    "Everything that is known, with the figures of one benchmark in place of its old ones."
    kept = [line for line in told.get('figures', ()) if line['bench'] in BENCHES and line['bench'] != name]
    new = [{key: line.get(key) for key in KEPT} for line in found]
    return {**told, 'figures': sorted(kept + new, key=lambda line: BENCHES.index(line['bench']))}


def measure_all(names:list[str]) -> None:
    "Run the benchmarks; write what the page says after each, so that a run that is stopped loses one."
    told = json.loads(FIGURES.read_text(encoding='utf-8')) if FIGURES.exists() else {}
    start, before = time.monotonic(), os.getloadavg()[0]
    earlier = told.get('minutes', 0) if len(names) < len(BENCHES) else 0
    for name in names:
        print(f'running {name}.py …', file=sys.stderr, flush=True)
        found, problem = run(HERE/f'{name}.py')
        if problem: raise SystemExit(problem)
        told = put(told, name, found) | {
            'date': time.strftime('%Y-%m-%d', time.gmtime()), 'command': COMMAND,
            'minutes': earlier + (time.monotonic() - start)/60,
            'machine': machine().rsplit(', load', 1)[0], 'load': [before, os.getloadavg()[0]],
            'versions': versions()}
        write(FIGURES, json.dumps(told, indent=1, ensure_ascii=False) + '\n')


def main() -> None:
    parser = argparse.ArgumentParser(description='Measure what has a target; write the page of it.')
    parser.add_argument('--page', action='store_true', help='measure nothing, only write the page')
    parser.add_argument('--only', nargs='+', choices=BENCHES, default=BENCHES, help='benchmarks to run')
    wish = parser.parse_args()
    if not wish.page: measure_all(list(wish.only))
    write(PAGE, page(json.loads(FIGURES.read_text(encoding='utf-8'))))
    print(f'{FIGURES.name} and {PAGE.name} are written')


if __name__ == '__main__': main()
