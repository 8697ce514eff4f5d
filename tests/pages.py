"""Reads the pages (notebooks) and modules for the tests that keep the house rules."""
import ast
import json
import re
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NBS, PACKAGE = ROOT/'nbs', ROOT/'alphaearth_nb'
DIRECTIVE = re.compile(r'^\s*#\s*\|\s*(.+?)\s*$', re.M)
EXPORTS = {'export', 'exports', 'exporti'}


def text_of(text:str|list[str]) -> str:
    "Text as notebooks store it: whole or in lines."
    return text if isinstance(text, str) else ''.join(text)


@dataclass(frozen=True)
class Cell:
    "One cell of a page."
    index:int      # position in the notebook, from 0
    kind:str       # 'markdown', 'code' or 'raw'
    source:str
    outputs:tuple  # of dicts, as in the file
    count:object   # execution count, None when cleaned

    @cached_property
    def directives(self) -> tuple[str, ...]:
        "What follows `#|`, as written."
        return tuple(DIRECTIVE.findall(self.source)) if self.kind == 'code' else ()

    @cached_property
    def exported(self) -> bool:
        "Does the cell become part of a module?"
        return any(directive.split()[0] in EXPORTS for directive in self.directives)

    @cached_property
    def body(self) -> list[str]:
        "Lines that are neither blank nor directives."
        return [line for line in self.source.splitlines() if line.strip() and not DIRECTIVE.match(line)]

    @cached_property
    def tree(self) -> ast.Module:
        "Syntax tree; lines of magic (% and !) do nothing in it."
        return ast.parse(re.sub(r'^([ \t]*)[%!].*', r'\1pass', self.source, flags=re.M))

    def __str__(self) -> str:
        first = next(iter(self.body), '')
        return f'cell {self.index} ({first[:60]!r})'


@dataclass(frozen=True)
class Page:
    "One notebook."
    path:Path

    @property
    def title(self) -> str: return self.path.relative_to(NBS).as_posix()

    @property
    def number(self) -> int: return int(self.path.name[:3])

    @property
    def name(self) -> str: return self.path.stem[4:]

    @property
    def module(self) -> Path: return PACKAGE/f'{self.name}.py'

    @cached_property
    def cells(self) -> list[Cell]:
        "All cells that hold anything."
        cells = json.loads(self.path.read_text(encoding='utf-8'))['cells']
        found = [Cell(index, cell['cell_type'], text_of(cell['source']), tuple(cell.get('outputs', ())),
                      cell.get('execution_count')) for index, cell in enumerate(cells)]
        return [cell for cell in found if cell.source.strip()]

    @property
    def code(self) -> list[Cell]: return [cell for cell in self.cells if cell.kind == 'code']

    @property
    def exported(self) -> list[Cell]: return [cell for cell in self.code if cell.exported]

    @property
    def lessons(self) -> list[Cell]: return [cell for cell in self.code if not cell.exported]

    @property
    def prose(self) -> list[Cell]: return [cell for cell in self.cells if cell.kind == 'markdown']


@cache
def all_pages() -> list[Page]:
    "Every notebook that nbdev sees: names that start with _ or . are left out, as it does."
    found = sorted(path for path in NBS.rglob('*.ipynb')
                   if not any(part.startswith(('_', '.')) for part in path.relative_to(NBS).parts))
    return [Page(path) for path in found]


@cache
def library_pages() -> list[Page]:
    "The numbered pages, each of which becomes a module."
    return [page for page in all_pages() if re.fullmatch(r'\d{3}_\w+\.ipynb', page.title)]


@cache
def numbers() -> dict[str, int]:
    "Module name -> number of its page."
    return {page.name: page.number for page in library_pages()}


def lines_of(path:Path) -> list[str]: return path.read_text(encoding='utf-8').splitlines()


def assigned(path:Path, name:str) -> object:
    "A literal that a module assigns, read without importing it."
    for node in ast.parse(path.read_text(encoding='utf-8')).body:
        found = isinstance(node, ast.Assign) and dotted(node.targets[0]) == name
        if found: return ast.literal_eval(node.value)
    return ()


def modules_imported(tree:ast.AST) -> list[tuple[int, str]]:
    "(line, dotted name) of every import in a tree, inside functions too; relative names are made absolute."
    found, callers = [], {'import_module', 'need'}
    callers -= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import): found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = '.'.join(filter(None, ['alphaearth_nb' if node.level else '', node.module or '']))
            names = [f'{base}.{alias.name}' for alias in node.names] if base == 'alphaearth_nb' else [base]
            found += [(node.lineno, name) for name in names]
        elif isinstance(node, ast.Call) and _name(node.func) in callers and node.args:
            if isinstance(node.args[0], ast.Constant): found.append((node.lineno, str(node.args[0].value)))
    return found


def _name(node:ast.AST) -> str:
    "Last part of a dotted name; '' for anything else."
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ''


def dotted(node:ast.AST) -> str:
    "A dotted name as written, 'a.b.c'; '' for anything else."
    if isinstance(node, ast.Attribute):
        base = dotted(node.value)
        return f'{base}.{node.attr}' if base else ''
    return node.id if isinstance(node, ast.Name) else ''


class Faults(list):
    "What is wrong with a page, one line each, so that a failing test names everything at once."

    def __call__(self, where:object, what:str) -> None: self.append(f'{where}: {what}')

    def report(self) -> None:
        "Fail if there is any."
        if self: pytest.fail('\n'.join(['', *self]), pytrace=False)


each_page = pytest.mark.parametrize('page', library_pages(), ids=lambda page: page.title)
any_page = pytest.mark.parametrize('page', all_pages(), ids=lambda page: page.title)
