"""The notebooks are the source: modules are what export makes of them, pages are clean, outputs teach."""
import base64
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pages import NBS, PACKAGE, ROOT, Faults, any_page, each_page, text_of

OUTPUT_LINES, PICTURE_KB = 20, 60


# ---- export and clean change nothing

def run_nbdev(command:str, folder:Path) -> None:
    "Run one of nbdev's commands in a copy of the project."
    tool = Path(sys.executable).parent/command
    done = subprocess.run([tool], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope='module')
def exported(tmp_path_factory) -> Path:
    "A copy of the project after nbdev_export and nbdev_clean."
    folder = tmp_path_factory.mktemp('project')/ROOT.name
    folder.mkdir()
    for path in (NBS, PACKAGE):
        shutil.copytree(path, folder/path.name, ignore=shutil.ignore_patterns('__pycache__', '.*'))
    for name in ('settings.ini', 'pyproject.toml', 'README.md'): shutil.copy(ROOT/name, folder/name)
    run_nbdev('nbdev_export', folder)
    run_nbdev('nbdev_clean', folder)
    return folder


@each_page
def test_module_is_what_the_page_exports(page, exported):
    assert page.module.read_text() == (exported/PACKAGE.name/page.module.name).read_text(), 'run: make export'


@any_page
def test_notebook_is_clean(page, exported):
    assert page.path.read_text() == (exported/'nbs'/page.title).read_text(), 'run: make export'


def test_export_touches_nothing_else(exported):
    "The hand-written files stay as they are, and no module appears that is not here."
    for name in ('settings.ini', 'pyproject.toml', 'alphaearth_nb/__init__.py', 'alphaearth_nb/_modidx.py'):
        assert (ROOT/name).read_text() == (exported/name).read_text(), name
    here = {path.name for path in PACKAGE.glob('*.py')}
    assert {path.name for path in (exported/PACKAGE.name).glob('*.py')} == here


# ---- stored outputs

MACHINE = re.compile(r'/(home|root|tmp|work|Users|opt|mnt)/\w+|\b0x[0-9a-f]{8,}|\b[A-Z]:\\\\')


def texts_of(output:dict) -> list[str]:
    "Everything of an output that is text."
    found = [text for kind, text in output.get('data', {}).items() if kind.startswith('text/')]
    return [text_of(text) for text in [output.get('text', ''), *found]]


def picture_kb(output:dict) -> float:
    "Size of the largest picture of an output in kB."
    pictures = [text for kind, text in output.get('data', {}).items() if kind in ('image/png', 'image/jpeg')]
    return max((len(base64.b64decode(text_of(text))) for text in pictures), default=0)/1000


def check_output(output:dict) -> list[str]:
    "What keeps an output from being read on any machine."
    found = []
    if output['output_type'] == 'error': found.append('an error is stored')
    if output.get('name') == 'stderr': found.append('a warning or a progress bar is stored')
    if picture_kb(output) > PICTURE_KB: found.append(f'a picture of {picture_kb(output):.0f} kB')
    for text in texts_of(output):
        if match := MACHINE.search(text): found.append(f'depends on the machine: {match[0]!r}')
        lines = 0 if text.lstrip().startswith('<') else len(text.splitlines())
        if lines > OUTPUT_LINES: found.append(f'{lines} lines of text, limit {OUTPUT_LINES}')
    return found


@any_page
def test_outputs_teach(page):
    "Stored outputs are short, whole, and the same on every machine."
    fault = Faults()
    for cell in page.code:
        if cell.count is not None: fault(cell, 'execution count')
        for output in cell.outputs:
            for text in check_output(output): fault(cell, text)
    fault.report()


@pytest.mark.parametrize('output, words', [
    ({'output_type': 'error'}, 'an error'),
    ({'output_type': 'stream', 'name': 'stderr', 'text': '50%|####'}, 'progress bar'),
    ({'output_type': 'stream', 'name': 'stdout', 'text': ['a\n']*21}, '21 lines'),
    ({'output_type': 'stream', 'name': 'stdout', 'text': "'/home/me/x.tif'"}, 'depends on the machine'),
    ({'output_type': 'display_data', 'data': {'text/plain': '<object at 0x7f3a12345678>'}}, 'the machine'),
    ({'output_type': 'display_data', 'data': {'image/png': 'AAAA'*21_000}}, 'picture of 63 kB')])
def test_bad_outputs_are_seen(output, words): assert any(words in text for text in check_output(output))
