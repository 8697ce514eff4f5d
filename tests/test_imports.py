"""Imports go down only; importing a module is light, silent and offline; the public names exist."""
import ast
import builtins
import json
import re
import subprocess
import sys

import pytest
from pages import PACKAGE, ROOT, Faults, Page, assigned, each_page, modules_imported, numbers

# What may not be loaded by importing a module (names at the top of sys.modules).
MAPS = {'geemap', 'leafmap', 'ee', 'lonboard', 'lightning'}
NUMBERS = {'numpy', 'scipy', 'sklearn', 'torch', 'numba', 'dask', 'pandas', 'xarray', 'rasterio'}
DECODING = {'queries', 'calibration'}  # pages behind inference that need a model, and so torch


# ---- direction

def _not_below(page:Page, tree:ast.AST, itself:bool) -> list[str]:
    "Imports of this package that do not lie below a page; `itself` lets the page import its own module."
    found = []
    for line, module in modules_imported(tree):
        top, _, rest = module.partition('.')
        name = rest.partition('.')[0]
        if top != 'alphaearth_nb' or name in ('static', '__version__'): continue
        if not name: found.append(f'line {line} imports the whole package')
        elif name not in numbers(): found.append(f'line {line}: {module} is no page')
        elif not (numbers()[name] < page.number or (itself and name == page.name)):
            found.append(f'line {line}: {numbers()[name]:03d}_{name} does not lie below')
    return found


@each_page
def test_module_imports_go_down(page):
    tree = ast.parse(page.module.read_text(encoding='utf-8'))
    assert not _not_below(page, tree, itself=False)


@each_page
def test_page_imports_go_down(page):
    fault = Faults()
    for cell in page.code:
        for text in _not_below(page, cell.tree, itself=not cell.exported): fault(cell, text)
    fault.report()


@pytest.mark.parametrize('code', [
    'from alphaearth_nb.zzz import x', 'from .zzz import x', 'import alphaearth_nb', 'from . import frames',
    'def f():\n    from alphaearth_nb.periods import Period', 'need("alphaearth_nb.periods", "to plan")'])
def test_upward_imports_are_seen(code):
    "Every way of writing an import that does not go down from page 00."
    assert _not_below(Page(ROOT/'nbs'/'000_core.ipynb'), ast.parse(code), itself=False)


# ---- what an import loads and does, each in a process of its own

PROBE = '''
import json, sys
asked = []
def listen(event, arguments):
    if event.startswith(("socket.connect", "socket.get", "socket.send", "urllib.Request")):
        asked.append(f"{event} {arguments[1:]}")
sys.addaudithook(listen)
before = set(sys.modules)
import MODULE
loaded = sorted({name.partition(".")[0] for name in set(sys.modules) - before})
print("PROBE", json.dumps({"loaded": loaded, "asked": asked}))
'''


def imported(module:str) -> tuple[set[str], list[str], str]:
    "Import a module in a new process: what was loaded, what was asked of the network, what was said."
    command = [sys.executable, '-c', PROBE.replace('MODULE', module)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    said, _, found = done.stdout.rpartition('PROBE')
    return set(json.loads(found)['loaded']), json.loads(found)['asked'], (said + done.stderr).strip()


def may_not_load(page:Page) -> set[str]:
    "What importing a page's module may not load."
    if page.number >= 600: return MAPS | NUMBERS - {'numpy'}
    behind = 410 <= page.number < 500 and page.name not in DECODING    # all that only uses fields
    light = page.number < 200 or behind or 500 <= page.number < 600
    return MAPS | {'torch'} if light else MAPS


@each_page
def test_import_is_light_silent_and_offline(page):
    loaded, asked, said = imported(f'alphaearth_nb.{page.name}')
    assert not loaded & may_not_load(page), 'import these inside the functions that need them'
    assert not asked, 'the network is looked at only when a function is called'
    assert not said, 'an import says nothing'


def test_import_of_the_package_is_light():
    loaded, asked, said = imported('alphaearth_nb')
    assert not asked and not said
    assert loaded <= {'alphaearth_nb', *sys.stdlib_module_names}


def test_the_probe_sees_what_it_looks_for(tmp_path, monkeypatch):
    "The three checks above can fire."
    code = 'import socket, wave\nprint("hello")\nsocket.getaddrinfo("127.0.0.1", 9)\n'
    (tmp_path/'loud.py').write_text(code)
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    loaded, asked, said = imported('loud')
    assert 'wave' in loaded and asked and said == 'hello'


# ---- the public names

def test_public_names_exist():
    "Every name of the lazy table is exported by its page."
    fault = Faults()
    for name, page in assigned(PACKAGE/'__init__.py', '_PAGES').items():
        if page not in numbers(): fault(name, f'there is no page {page}')
        elif name not in assigned(PACKAGE/f'{page}.py', '__all__'): fault(name, f'{page} does not export it')
        if name in numbers(): fault(name, 'is a page too: importing that page would replace the name')
        if hasattr(builtins, name): fault(name, 'hides a builtin')
    fault.report()


def test_editors_are_told_the_public_names():
    "The imports under TYPE_CHECKING repeat the table, for tools that do not run code."
    tree = ast.parse((PACKAGE/'__init__.py').read_text(encoding='utf-8'))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]
    told = {alias.name: node.module for node in imports for alias in node.names}
    assert told == assigned(PACKAGE/'__init__.py', '_PAGES')


def test_public_names_are_listed_and_unknown_ones_refused():
    import alphaearth_nb as ae
    assert dir(ae) == sorted(ae.__all__) and {'__version__', 'Period'} <= set(dir(ae))
    assert ae.Period.year(2018).days == 365
    with pytest.raises(AttributeError, match=re.escape("no attribute 'perriod'")): ae.perriod
