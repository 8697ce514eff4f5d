"""Run every benchmark of this folder, each in its own process; print one table, write the figures as JSON.

    python tests/bench/run_all.py --out bench.json [--only codes]
"""
import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIMIT_S = 1200
HEAD = ('figure', 'unit', 'median', 'spread', 'core', 'ratio', 'to')   # core: a second of processor time


def run(path:Path) -> tuple[list[dict], str]:
    "Figures of one benchmark, and what went wrong."
    env = os.environ | {'PYTHONPATH': str(HERE)}
    command = [sys.executable, str(path)]
    try: done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=LIMIT_S)
    except subprocess.TimeoutExpired: return [], f'{path.name} took longer than {LIMIT_S} s'
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{')]
    figures = [{'bench': path.stem, **line} for line in lines]
    if done.returncode: return figures, f'{path.name} failed:\n{done.stderr[-1500:]}'
    return figures, '' if figures else f'{path.name} gave no figure'


def number(value:float|None) -> str: return '' if value is None else f'{value:,.4g}'


def row(line:dict) -> tuple[str, ...]:
    spread = f'{number(line["min"])} – {number(line["max"])} ({line["runs"]})'
    core, ratio = number(line.get('per_core')), number(line['ratio'])
    return (line['figure'], line['unit'], number(line['median']), spread, core, ratio, line['to'])


def table(figures:list[dict]) -> str:
    "The figures in columns."
    rows = [HEAD, *map(row, figures)]
    widths = [max(len(text) for text in column) for column in zip(*rows)]
    lines = ['  '.join(text.ljust(width) for text, width in zip(line, widths)).rstrip() for line in rows]
    return '\n'.join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description='Run every benchmark.')
    parser.add_argument('--out', type=Path, default=Path('bench.json'), help='file to write')
    parser.add_argument('--only', default='', help='part of the name of the benchmarks to run')
    parser.add_argument('--folder', type=Path, default=HERE, help='where the benchmarks are')
    asked = parser.parse_args()
    figures, problems = [], []
    for path in sorted(asked.folder.glob('bench_*.py')):
        if asked.only not in path.stem: continue
        print(f'running {path.name} …', file=sys.stderr, flush=True)
        found, problem = run(path)
        figures += found
        if problem: problems.append(problem)
    aside = asked.out.with_name(f'.{asked.out.name}.part')
    aside.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')
    aside.replace(asked.out)
    print(table(figures))
    print('\n'.join(problems), file=sys.stderr)
    return 1 if problems or not figures else 0


if __name__ == '__main__': sys.exit(main())
