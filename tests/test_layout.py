"""The house rules of the pages: how they are built, how long things get, what exported code may not do.

Each test runs once a page, so that a failure names the page and everything in it that has to change.
"""
import ast
import re
import sys
from itertools import pairwise

import pytest
from pages import (NBS, PACKAGE, ROOT, Faults, all_pages, any_page, dotted, each_page, library_pages,
                   lines_of, modules_imported, numbers)

COLUMNS, CELL_LINES, CLASS_LINES, FUNCTION_LINES, MODULE_LINES, SCRIPT_LINES = 110, 25, 40, 30, 400, 300
WORDS_A_LINE, ASSERTING_SHARE = 2, .5
PAGE_KB, TUTORIAL_KB = 200, 1000
MAY_PRINT = {'commands', 'demo', 'judging', 'finding', 'cli', 'training'}
FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


# ---- pages and modules belong together

def test_there_are_pages(): assert library_pages(), f'no numbered notebook in {NBS}'


def test_every_module_has_its_page():
    "A module whose notebook is gone would live on unseen, because export never deletes."
    modules = {path.stem for path in PACKAGE.rglob('*.py')} - {'__init__', '_modidx'}
    assert modules == set(numbers())
    assert {path.name for path in PACKAGE.iterdir() if path.is_dir()} - {'__pycache__'} == {'static'}


def test_numbers_and_names_are_unique():
    pages = library_pages()
    assert len({page.number for page in pages}) == len(pages)
    assert len({page.name for page in pages}) == len(pages)


def test_notebooks_are_named():
    "Numbered pages lie flat in nbs/; index.ipynb, tutorials/ and explanations/ have no numbers."
    legal = re.compile(r'index\.ipynb|(tutorials|explanations)/[a-z]\w*\.ipynb')
    others = [page.title for page in all_pages() if page not in library_pages()]
    assert not [title for title in others if not legal.fullmatch(title)]


# ---- how a page is built

@each_page
def test_opening(page):
    "Title with the module's name, a promise, `default_exp`, and soon a paragraph."
    first, second, *rest = page.cells
    assert first.kind == 'markdown', 'the first cell is markdown: title and promise'
    match = re.fullmatch(r'# (\S+)\n\n> (.+[.!?])', first.source.strip())
    assert match, f'must be "# {page.name}", an empty line, "> one-line promise."'
    assert match[1] == page.name
    assert second.source.strip() == f'#| default_exp {page.name}'
    opening = [cell for cell in rest[:4] if cell.kind == 'markdown']
    assert opening and len(opening[0].source.split()) >= 15, 'say what the page is for, and its source'


@any_page
def test_headings_stand_alone(page):
    "A heading cell holds a heading only; concepts are `##`, because `###` belongs to nbdev."
    fault = Faults()
    for cell in page.prose[1:]:
        headings = re.findall(r'^(#{1,6}) ', re.sub(r'```.*?```', '', cell.source, flags=re.S), re.M)
        if headings and '\n' in cell.source.strip(): fault(cell, 'more than a heading')
        if set(headings) - {'##'}: fault(cell, 'only ## is used below the title')
    fault.report()


def _is_import(node:ast.AST) -> bool: return isinstance(node, ast.Import | ast.ImportFrom)


def _import_cells(cells:list, fault:Faults) -> list:
    "Cells that import at their top level; they may do nothing else."
    found = [cell for cell in cells if any(map(_is_import, cell.tree.body))]
    for cell in found:
        if not all(map(_is_import, cell.tree.body)): fault(cell, 'imports and something else')
    return found


@each_page
def test_exported_imports_stand_in_one_cell(page):
    "All exported imports stand in one cell of their own, right after `default_exp`."
    fault = Faults()
    cells = _import_cells(page.exported, fault)
    for cell in cells[1:]: fault(cell, 'belongs into the first cell of exported imports')
    if cells and page.code.index(cells[0]) != 1: fault(cells[0], 'belongs right after default_exp')
    fault.report()


@each_page
def test_page_imports_stand_in_one_cell(page):
    "Imports that only the lessons need stand in one cell of their own."
    fault = Faults()
    for cell in _import_cells(page.lessons, fault)[1:]: fault(cell, 'belongs into the first such cell')
    fault.report()


def _group(node:ast.AST) -> int:
    "0 Python's own library, 1 others, 2 this package."
    name = node.names[0].name if isinstance(node, ast.Import) else node.module or ''
    top = 'alphaearth_nb' if getattr(node, 'level', 0) else name.partition('.')[0]
    return 2 if top == 'alphaearth_nb' else 0 if top in sys.stdlib_module_names else 1


@each_page
def test_imports_stand_in_three_groups(page):
    "Python's own library, others, this package: in that order, with an empty line between."
    fault = Faults()
    for cell in page.code:
        nodes = cell.tree.body
        if not nodes or not all(map(_is_import, nodes)): continue
        groups = [_group(node) for node in nodes]
        if groups != sorted(groups): fault(cell, "order is Python's own library, others, alphaearth_nb")
        for before, after in pairwise(nodes):
            gap, change = after.lineno - before.end_lineno > 1, _group(before) != _group(after)
            if gap and not change: fault(cell, f'line {after.lineno}: empty line within a group')
            if change and not gap: fault(cell, f'line {after.lineno}: no empty line before')
    fault.report()


@any_page
def test_imports_are_explicit(page):
    fault = Faults()
    for cell in page.code:
        for node in ast.walk(cell.tree):
            starred = isinstance(node, ast.ImportFrom) and node.names[0].name == '*'
            if starred: fault(cell, 'import * hides where names come from')
    fault.report()


# ---- sizes

@any_page
def test_lines_are_short(page):
    fault = Faults()
    for cell in page.code:
        for line in cell.source.splitlines():
            if len(line) > COLUMNS: fault(cell, f'{len(line)} columns: {line.strip()[:60]!r}')
    fault.report()


@each_page
def test_exported_cells_are_short(page):
    "25 lines; a cell that is one class may have 40."
    fault = Faults()
    for cell in page.exported:
        one_class = len(cell.tree.body) == 1 and isinstance(cell.tree.body[0], ast.ClassDef)
        limit = CLASS_LINES if one_class else CELL_LINES
        if len(cell.body) > limit: fault(cell, f'{len(cell.body)} lines, limit {limit}')
    fault.report()


@each_page
def test_functions_are_short(page):
    fault = Faults()
    for cell in page.exported:
        lines = cell.source.splitlines()
        for node in ast.walk(cell.tree):
            if not isinstance(node, FUNCTION): continue
            count = sum(bool(line.strip()) for line in lines[node.lineno - 1:node.end_lineno])
            if count > FUNCTION_LINES: fault(cell, f'{node.name} has {count} lines, limit {FUNCTION_LINES}')
    fault.report()


@each_page
def test_module_is_short(page):
    count = len(lines_of(page.module))
    assert count <= MODULE_LINES, f'{count} lines: split the page within its layer'


@any_page
def test_notebook_is_small(page):
    limit = TUTORIAL_KB if page.title.startswith('tutorials/') else PAGE_KB
    size = page.path.stat().st_size/1000
    assert size <= limit, f'{size:.0f} kB, limit {limit} kB: keep fewer or smaller pictures'


def test_handwritten_files_are_narrow():
    fault = Faults()
    files = [PACKAGE/'__init__.py', *(ROOT/'tests').rglob('*.py'), *(PACKAGE/'static').glob('*')]
    for path in sorted(path for path in files if path.suffix in ('.py', '.js', '.css')):
        for number, line in enumerate(lines_of(path), 1):
            if len(line) > COLUMNS: fault(f'{path.relative_to(ROOT)}:{number}', f'{len(line)} columns')
    fault.report()


def test_widget_scripts_are_short():
    counts = {path.name: len(lines_of(path)) for path in (PACKAGE/'static').glob('*.js')}
    assert not {name: count for name, count in counts.items() if count > SCRIPT_LINES}


# ---- prose and lessons

@each_page
def test_prose_outweighs_code(page):
    words = sum(len(cell.source.split()) for cell in page.prose)
    lines = sum(len(cell.body) for cell in page.exported)
    assert words >= WORDS_A_LINE*lines, f'{words} words for {lines} exported lines'


ASSERTS = re.compile(r'\bassert\b|\btest_\w+\(|\bexpect_fail\(|\bpytest\.raises\b')


@each_page
def test_lessons_assert(page):
    "At least half of the cells that are not exported assert, `default_exp` and imports counted among them."
    silent = [cell for cell in page.lessons if not ASSERTS.search(cell.source)]
    share = 1 - len(silent)/len(page.lessons)
    assert share >= ASSERTING_SHARE, '\n'.join([f'{share:.0%} assert; these do not:', *map(str, silent)])


def _speaks_for_itself(node:ast.AST) -> bool:
    "Errors are shown where they are raised, records by what makes them, accessors by their name."
    if not isinstance(node, ast.ClassDef): return False
    marks = [dotted(mark.func if isinstance(mark, ast.Call) else mark) for mark in node.decorator_list]
    bases = [dotted(base) for base in node.bases]
    made = any(mark == 'dataclass' or mark.endswith('_accessor') for mark in marks)
    return made or any(base.endswith(('Error', 'Exception', 'NamedTuple')) for base in bases)


@each_page
def test_every_function_and_class_has_a_lesson(page):
    "Whatever is public is used by some lesson of its page."
    fault = Faults()
    lessons = '\n'.join(cell.source for cell in page.lessons)
    for cell in page.exported:
        for node in cell.tree.body:
            if not isinstance(node, FUNCTION | ast.ClassDef) or node.name.startswith('_'): continue
            shown = _speaks_for_itself(node) or re.search(rf'\b{node.name}\b', lessons)
            if not shown: fault(cell, f'{node.name} is shown in no lesson')
    fault.report()


# ---- what exported code may not do

UNPICKLES = {'pickle', 'cPickle', 'dill', 'cloudpickle', 'shelve', 'marshal'}
DEVELOPMENT = {'fastcore', 'nbdev', 'execnb', 'pytest', 'hypothesis'}  # not installed at run time
FORBIDDEN_CALLS = {
    'eval': 'runs text as code', 'exec': 'runs text as code', 'breakpoint': 'stops the program',
    'torch.load': 'unpickles; use safetensors', 'torch.save': 'pickles; use safetensors',
    'joblib.load': 'unpickles', 'torch.manual_seed': 'sets global random state',
    'torch.seed': 'sets global random state'}
MAY_DRAW = {'default_rng', 'Generator', 'SeedSequence', 'PCG64', 'BitGenerator', 'Philox'}
SWITCHES = (('allow_pickle', True), ('weights_only', False), ('trust_remote_code', True))


def _forbidden(call:ast.Call) -> str:
    "Why a call is not allowed; '' if it is."
    name = dotted(call.func)
    if name in FORBIDDEN_CALLS: return f'{name} {FORBIDDEN_CALLS[name]}'
    parts = name.split('.')
    random = parts[0] == 'random' or parts[:2] in (['np', 'random'], ['numpy', 'random'])
    if random and len(parts) > 1 and parts[-1] not in MAY_DRAW: return f'{name} uses global random state'
    constants = [(key.arg, key.value.value) for key in call.keywords if isinstance(key.value, ast.Constant)]
    return ''.join(f'{key}={value}' for key, value in constants if (key, value) in SWITCHES)


def _marks(node:ast.AST) -> list[str]:
    "Decorators of a function, as written."
    return [dotted(mark) for mark in node.decorator_list] if isinstance(node, FUNCTION) else []


@each_page
def test_exported_code_is_clean(page):
    "No assert, print, pickle, eval, @patch, global random state; no library of the developers' at run time."
    fault = Faults()
    for cell in page.exported:
        for node in ast.walk(cell.tree):
            if isinstance(node, ast.Assert): fault(cell, 'assert: raise an error of the project instead')
            if isinstance(node, ast.Call) and _forbidden(node): fault(cell, _forbidden(node))
            if isinstance(node, ast.Call) and dotted(node.func) == 'print' and page.name not in MAY_PRINT:
                fault(cell, f'print: only {sorted(MAY_PRINT)} print')
            if any(mark.startswith('patch') for mark in _marks(node)): fault(cell, '@patch needs fastcore')
        for _, module in modules_imported(cell.tree):
            if module.partition('.')[0] in UNPICKLES | DEVELOPMENT: fault(cell, f'imports {module}')
    fault.report()


@any_page
def test_nothing_is_left_to_do(page):
    unfinished = re.compile(r'\b(TODO|FIXME|XXX|HACK)\b')
    assert not [str(cell) for cell in page.cells if unfinished.search(cell.source)]


@any_page
def test_every_cell_runs(page):
    "No cell and no page is taken out of the test run."
    fault = Faults()
    for cell in page.cells:
        if any(re.match(r'eval:\s*false|notest', mark) for mark in cell.directives): fault(cell, 'is not run')
        if re.search(r'^skip_exec\s*:', cell.source, re.M): fault(cell, 'takes the page out of the run')
    fault.report()


@each_page
def test_cells_are_exported_to_their_own_module(page):
    others = re.compile(r'export\w* +\S')
    assert not [str(cell) for cell in page.code if any(map(others.match, cell.directives))]


@pytest.mark.parametrize('code, words', [
    ('eval("1")', 'runs text'), ('torch.load(path)', 'safetensors'), ('model.eval()', None),
    ('np.random.rand(3)', 'random state'), ('random.shuffle(x)', 'random state'),
    ('np.random.default_rng(0)', None), ('np.load(path)', None),
    ('np.load(path, allow_pickle=True)', 'allow_pickle')])
def test_forbidden_calls_are_seen(code, words):
    "The rules above can fire, and let the harmless neighbours pass."
    why = _forbidden(ast.parse(code, mode='eval').body)
    assert words in why if words else not why
