"""The layers that need no torch also run on a newer Python, where one is installed and torch is not."""
import json
import shutil
import subprocess
import tomllib
from pathlib import Path

import environments
import pytest
from packaging.requirements import Requirement
from pages import NBS, PACKAGE, ROOT, Page, library_pages, modules_imported, numbers

NEWER = ('3.13', '3.12')
LEFT_OUT = {'torch', 'geemap', 'leafmap', 'earthengine-api'}  # what those layers never import
HARNESS = {'nbdev', 'fastcore', 'execnb', 'ghapi', 'hypothesis'}
LIGHT = [page for page in library_pages() if page.number//100 in (0, 1, 5)]


def shows_a_model(page:Page) -> bool:
    "Does a lesson make a model, which takes torch? The page's module does without."
    asked = {name.removeprefix(f'{PACKAGE.name}.') for cell in page.lessons
             for _, name in modules_imported(cell.tree)}
    return any(200 <= numbers().get(name, 0) < 370 for name in asked)     # what follows needs no torch


RUN = [page for page in LIGHT if not shows_a_model(page)]


def newer_python() -> Path|None:
    "The newest interpreter that is installed, on the path or by pyenv; nothing is downloaded."
    for version in NEWER:
        known = [shutil.which(f'python{version}'),
                 *sorted(Path.home().glob(f'.pyenv/versions/{version}.*/bin/python{version}'), reverse=True)]
        for path in filter(None, known):
            answer = subprocess.run([path, '-c', 'import sys; print("%d.%d" % sys.version_info[:2])'],
                                    capture_output=True, text=True)  # a shim of pyenv may lead nowhere
            if answer.stdout.strip() == version: return Path(path)
    return None


def wanted() -> list[str]:
    "What pyproject.toml asks for, without torch and the maps, what fetches frames, and what runs notebooks."
    table = tomllib.loads((ROOT/'pyproject.toml').read_text(encoding='utf-8'))['project']
    extras = table['optional-dependencies']
    tools = [line for line in extras['dev'] if Requirement(line).name in HARNESS]
    needed = [line for line in table['dependencies'] if Requirement(line).name not in LEFT_OUT]
    return needed + extras['stac'] + tools


@pytest.fixture(scope='module')
def second(tmp_path_factory):
    "Interpreter of an environment of the newer Python, with all that the light layers need and no torch."
    found = newer_python()
    if found is None: pytest.skip(f'no Python {" or ".join(NEWER)} is installed')
    folder = tmp_path_factory.mktemp('second')/'environment'
    python = environments.make(folder, found)
    environments.install(python, *wanted())
    yield python
    shutil.rmtree(folder)


def test_light_pages_run_without_torch(second, tmp_path):
    "Modules of layers 0, 1 and 5 are imported and their pages run, in a copy that holds only the pages."
    shutil.copytree(PACKAGE, tmp_path/PACKAGE.name, ignore=shutil.ignore_patterns('__pycache__'))
    (tmp_path/NBS.name).mkdir()
    for page in RUN: shutil.copy(page.path, tmp_path/NBS.name)
    for name in ('settings.ini', 'pyproject.toml'): shutil.copy(ROOT/name, tmp_path/name)
    env = environments.plain(PYTHONPATH=str(tmp_path), OMP_NUM_THREADS='1')
    told = environments.run(second, '-c', 'import importlib.util as u, json, sys; print(json.dumps('
                            '[sys.version_info[:2], u.find_spec("torch") is None]))', cwd=tmp_path, env=env)
    version, torchless = json.loads(told)
    assert tuple(version) >= (3, 12)
    assert torchless, 'torch is there: this would prove nothing'
    names = ', '.join(f'{PACKAGE.name}.{page.name}' for page in LIGHT)
    environments.run(second, '-c', f'import {names}', cwd=tmp_path, env=env)
    said = environments.run(second.parent/'nbdev_test', '--n_workers', 0, cwd=tmp_path, env=env)
    assert 'Success' in said and len(RUN) >= 15 and len(LIGHT) - len(RUN) <= 4
