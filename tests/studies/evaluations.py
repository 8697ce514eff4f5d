"""How good it is on real data: five studies, the table of each, and what was looked at before any score.

    python tests/studies/evaluations.py a                    Dynamic World classes from released embeddings
    python tests/studies/evaluations.py b                    Sentinel-1 medians from embeddings, and back
    python tests/studies/evaluations.py c                    tracts of metros that were held out
    python tests/studies/evaluations.py d --work runs/real   eight years of eight areas
    python tests/studies/evaluations.py e --work runs/real   crops in Flanders, fields trained on the way
    python tests/studies/evaluations.py page                 write the pages from what is there

A study replaces its part of evaluations.json and then writes the pages. With --work, what is done is kept
there and a run that was stopped goes on. No number of evaluations.md is typed by hand, nor any in the
tables of the page "What the numbers mean". The data are no part of the repository: where they are absent,
a study stops.
"""
import argparse
import importlib
import json
import time
from pathlib import Path

from evaluations_common import put_table

HERE = Path(__file__).parent
FIGURES, PAGE = HERE/'evaluations.json', HERE/'evaluations.md'
NOTEBOOK = HERE.parents[1]/'nbs'/'explanations'/'what_the_numbers_mean.ipynb'
STUDIES = {'a': ('classes', 'Dynamic World classes from released embeddings'),
           'b': ('radar', 'Sentinel-1 from embeddings, embeddings from Sentinel-1'),
           'c': ('tracts', 'Tracts of a metropolitan area that was held out'),
           'd': ('years', 'Eight years of eight areas'),
           'e': ('crops', 'Crops in Flanders, trained here')}
LEAD = '''# Evaluations

> Every score behind the tables on real data, and what was looked at before any score.

Brackets hold intervals of 95 %, but for R² in (c), where they hold the least and the largest metro. What the
studies show, and what they cannot show, is told on the page *What the numbers mean*.'''


def module(study:str): return importlib.import_module(f'evaluations_{STUDIES[study][0]}')


def told() -> dict: return json.loads(FIGURES.read_text(encoding='utf-8')) if FIGURES.is_file() else {}


def rounded(value:object) -> object:
    "Numbers as far as they matter, so that the figures stay small."
    if isinstance(value, dict): return {name: rounded(one) for name, one in value.items()}
    if isinstance(value, list): return [rounded(one) for one in value]
    return float(f'{value:.6g}') if isinstance(value, float) else value


def in_words(value:object) -> str:
    "A fact for people."
    if isinstance(value, float): return f'{value:.4g}'
    if isinstance(value, dict): return ', '.join(f'{name} {in_words(one)}' for name, one in value.items())
    return (', '.join(map(in_words, value)) or 'none') if isinstance(value, list) else str(value)


def tables(found:dict) -> dict[str, list[str]]:
    "All tables of each study, that of the page first."
    return {study: module(study).tables(found[study]['found']) for study in STUDIES if study in found}


def compared(found:dict) -> int:
    "How many differences are given with an interval."
    def inside(study:str) -> dict: return found[study]['found'] if study in found else {}
    count = len(inside('a').get('gaps', ())) + sum(map(len, inside('c').get('scores', {}).values()))
    return count + (len(module('e').differences(inside('e'))) if 'e' in found else 0)


def page(found:dict) -> str:
    "All tables as a page."
    count = compared(found)
    parts = [LEAD, f'{count} differences are given with an interval: about {round(.05*count)} of them would '
             'seem to be there if nothing differed at all.']
    for study, made in tables(found).items():
        about = ' '.join(module(study).__doc__.partition('\n\n')[2].split())
        date, data = found[study]['date'], found[study]['found']['data']
        parts += [f'## ({study}) {STUDIES[study][1]}', about,
                  f'Made on {date} by `python tests/studies/evaluations.py {study}`. Seen before any score:',
                  '\n'.join(f'- {name}: {in_words(value)}' for name, value in data.items()), *made]
    return '\n\n'.join(parts) + '\n'


def put_tables(found:dict, path:Path=NOTEBOOK) -> list[str]:
    "Put the first table of each study in the place of one with its head; name studies that have no place."
    return [study for study, made in tables(found).items() if not put_table(made[0], path)]


def main() -> None:
    say = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    say.add_argument('study', choices=[*STUDIES, 'page'])
    say.add_argument('--work', type=Path, help='folder that keeps what is done')
    asked = say.parse_args()
    if asked.study == 'e' and not asked.work: raise SystemExit('e keeps its fields in a folder: pass --work.')
    if asked.work: asked.work.mkdir(parents=True, exist_ok=True)
    if asked.study != 'page':
        found = rounded(module(asked.study).measure(asked.work))
        made = {'date': time.strftime('%Y-%m-%d'), 'found': found}
        every = dict(sorted((told() | {asked.study: made}).items()))
        FIGURES.write_text(json.dumps(every, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')
    PAGE.write_text(page(told()), encoding='utf-8')
    for study in put_tables(told()): print(f'the page has no table with the head of ({study})')
    if asked.study != 'page': print('\n\n'.join(tables(told())[asked.study]))


if __name__ == '__main__': main()
