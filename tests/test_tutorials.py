"""Every tutorial opens in Colab as it does at home, asks the network in one cell at most, and hides nothing.

That each runs from top to bottom is tested in test_package.py, where nothing but the wheel is installed.
"""
import json
import sys
from types import SimpleNamespace

import pytest
import tutorial_cells
from IPython.core.inputtransformer2 import TransformerManager
from pages import NBS, Faults, Page, all_pages, any_page, text_of

TUTORIALS = [Page(path) for path in tutorial_cells.tutorials()]
each_tutorial = pytest.mark.parametrize('page', TUTORIALS or [
    pytest.param(None, marks=pytest.mark.skip(reason='nbs/tutorials holds no notebook yet'))],
    ids=lambda page: page.title if page else 'none')


# ---- Colab

@each_tutorial
def test_opens_with_the_cells_for_colab(page):
    "Title, badge to its own place in the repository, installation, widgets; and each once only."
    def plain(book): return [{**cell, 'source': text_of(cell['source'])} for cell in book['cells']]
    found = json.loads(page.path.read_text(encoding='utf-8'))
    assert plain(found) == plain(tutorial_cells.with_cells(page.path)), 'run: make tutorials'
    assert page.cells[0].source.startswith('# ')
    assert [cell.source for cell in page.cells if 'colab' in cell.source.lower()] == [
        ''.join(cell['source']) for cell in tutorial_cells.cells(page.path)], 'more cells about Colab'


def test_the_badge_leads_to_the_notebook():
    colab = 'https://colab.research.google.com'
    place = 'alphaearth_nb/alphaearth_nb/blob/main/nbs/tutorials/quickstart.ipynb'
    link = tutorial_cells.badge(NBS/'tutorials'/'quickstart.ipynb')
    assert link == f'[![Open in Colab]({colab}/assets/colab-badge.svg)]({colab}/github/{place})'


class Shell:
    "Stands in for IPython: remembers the magics that are run."
    def __init__(self, name:str): self.name, self.ran = name, []
    def __str__(self) -> str: return self.name
    def run_line_magic(self, magic:str, line:str) -> None: self.ran.append((magic, line))


@pytest.mark.parametrize('name, acts', [
    ('<ipykernel.zmqshell.ZMQInteractiveShell object>', False), ('<google.colab._shell.Shell object>', True)])
def test_the_cells_act_in_colab_only(name, acts, monkeypatch):
    "At home nothing is installed and nothing switched on; in Colab both."
    switched = []
    output = SimpleNamespace(enable_custom_widget_manager=lambda: switched.append(True))
    for name_of in ('google', 'google.colab'):
        monkeypatch.setitem(sys.modules, name_of, SimpleNamespace(output=output))
    shell = Shell(name)
    for cell in tutorial_cells.cells(NBS/'tutorials'/'quickstart.ipynb'):
        if cell['cell_type'] != 'code': continue
        code = TransformerManager().transform_cell(''.join(cell['source']))
        exec(compile(code, cell['id'], 'exec'), {'get_ipython': lambda: shell})
    assert bool(switched) == acts
    assert [magic for magic, _ in shell.ran] == ['pip']*acts
    if acts: assert shell.ran[0][1].endswith('git+https://github.com/alphaearth_nb/alphaearth_nb@main')


def test_the_cells_are_written_once(tmp_path, monkeypatch):
    "Written twice, or over cells with other ids, a notebook stays the same."
    monkeypatch.setattr(tutorial_cells, 'ROOT', tmp_path)
    told = {'git_url': 'https://github.com/a/b', 'branch': 'main'}
    monkeypatch.setattr(tutorial_cells, 'settings', lambda: told)
    path = tmp_path/'first.ipynb'
    title = {'cell_type': 'markdown', 'id': 'a', 'metadata': {}, 'source': ['# First']}
    path.write_text(json.dumps({'cells': [title, {**title, 'id': 'b', 'source': ['Words.']}]}))
    once = tutorial_cells.with_cells(path)
    renamed = [cell | {'id': f'{index}'} for index, cell in enumerate(once['cells'])]
    path.write_text(json.dumps({'cells': renamed}))
    sources = [cell['source'] for cell in once['cells']]
    again = [cell['source'] for cell in tutorial_cells.with_cells(path)['cells']]
    assert again == sources and len(sources) == 5


# ---- what a test run leaves out

@any_page
def test_network_cells_are_rare(page):
    "One a tutorial at most; elsewhere none."
    asking = [cell for cell in page.code if any('network' in mark.split() for mark in cell.directives)]
    assert len(asking) <= page.title.startswith('tutorials/'), [*map(str, asking)]


def test_no_notebook_is_passed_over():
    "A name that starts with _ or ., or a file .notest, would take notebooks out of the run unseen."
    fault, seen = Faults(), {page.path for page in all_pages()}
    for path in NBS.rglob('*'):
        if '.ipynb_checkpoints' in path.parts: continue
        if path.suffix == '.ipynb' and path not in seen: fault(path.relative_to(NBS), 'is run by nobody')
        if path.name == '.notest': fault(path.relative_to(NBS), 'takes its folder out of the run')
    fault.report()
