"""The wheel is whole, works where nothing but its dependencies is, and the files that describe it agree."""
import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pages import PACKAGE, ROOT, Faults, assigned, lines_of, modules_imported

PROJECT = tomllib.loads((ROOT/'pyproject.toml').read_text(encoding='utf-8'))['project']
LICENCES = {'apache2': 'Apache-2.0'}  # nbdev's word: SPDX's


def run(*command:object, cwd:Path) -> str:
    "Run a program; its standard output."
    plain = {key: value for key, value in os.environ.items() if not key.startswith(('PYTHON', 'PIP_'))}
    done = subprocess.run([*map(str, command)], cwd=cwd, env=plain, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


# ---- the wheel

@pytest.fixture(scope='module')
def wheel(tmp_path_factory) -> Path:
    "The wheel, built from a copy so that the tree stays as it is."
    source, target = tmp_path_factory.mktemp('source'), tmp_path_factory.mktemp('wheel')
    for name in ('pyproject.toml', 'README.md', 'LICENSE'): shutil.copy(ROOT/name, source/name)
    for name in ('alphaearth_nb', 'nbs', 'tests'):
        shutil.copytree(ROOT/name, source/name, ignore=shutil.ignore_patterns('__pycache__', '.*'))
    run(sys.executable, '-m', 'build', '--wheel', '--no-isolation', '--outdir', target, cwd=source)
    return next(target.glob('*.whl'))


def test_wheel_holds_the_package_and_nothing_else(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if '.dist-info/' not in name}
    files = {path for path in PACKAGE.rglob('*') if path.is_file() and '__pycache__' not in path.parts}
    assert names == {path.relative_to(ROOT).as_posix() for path in files if not path.name.startswith('.')}
    assert any(name.startswith('alphaearth_nb/static/') for name in names)


def test_wheel_carries_licence_and_readme(wheel):
    archive = zipfile.ZipFile(wheel)
    licence = next(name for name in archive.namelist() if name.endswith('licenses/LICENSE'))
    assert archive.read(licence) == (ROOT/'LICENSE').read_bytes()
    about = archive.read(next(name for name in archive.namelist() if name.endswith('/METADATA'))).decode()
    assert 'License-Expression: Apache-2.0' in about and (ROOT/'README.md').read_text() in about


@pytest.fixture(scope='module')
def installed(wheel, tmp_path_factory) -> Path:
    "An environment that holds the wheel alone and sees the dependencies of this one; its folder of programs."
    folder = tmp_path_factory.mktemp('environment')
    venv.create(folder, with_pip=False)
    python = folder/'bin'/'python'
    pip = (sys.executable, '-m', 'pip', '--python', python)
    run(*pip, 'install', '--no-deps', '--no-index', wheel, cwd=folder)
    here = run(python, '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))', cwd=folder).strip()
    # A plain path: the .pth files that lie there are not read, so an editable install stays out.
    Path(here, 'dependencies.pth').write_text(sysconfig.get_path('purelib') + '\n')
    return folder/'bin'


def test_installed_package_is_imported_from_anywhere(installed, tmp_path):
    code = 'import alphaearth_nb as ae, alphaearth_nb.sources as s; print(ae.__version__); print(s.__file__)'
    version, file = run(installed/'python', '-c', code, cwd=tmp_path).split()
    assert version == metadata.version('alphaearth_nb')
    assert Path(file).is_relative_to(installed.parent), 'the wheel was tested, not the checkout'


def test_installed_package_finds_its_static_files(installed, tmp_path):
    code = 'from alphaearth_nb.sources import SOURCES, statistics; print(set(SOURCES) <= set(statistics()))'
    assert run(installed/'python', '-c', code, cwd=tmp_path).strip() == 'True'


def test_installed_command_answers(installed, tmp_path):
    said = run(installed/'aenb', '--help', cwd=tmp_path)
    assert all(word in said for word in ('demo', 'train', 'embed', 'info'))


# ---- the files that describe the package

@pytest.fixture(scope='module')
def settings() -> dict:
    parser = configparser.ConfigParser()
    parser.read(ROOT/'settings.ini', encoding='utf-8')
    return dict(parser['DEFAULT'])


def test_settings_and_pyproject_agree(settings):
    person = PROJECT['authors'][0]
    assert settings['lib_name'] == PROJECT['name']
    assert settings['version'] == assigned(PACKAGE/'__init__.py', '__version__')
    assert settings['version'] == metadata.version('alphaearth_nb')
    assert f'>={settings["min_python"]}' == PROJECT['requires-python']
    assert settings['description'] == PROJECT['description']
    assert LICENCES[settings['license']] == PROJECT['license']
    assert (settings['author'], settings['author_email']) == (person['name'], person['email'])
    assert settings['keywords'].split() == PROJECT['keywords']
    assert settings['lib_path'] == PACKAGE.name and PROJECT['scripts'] == {'aenb': 'alphaearth_nb.cli:main'}


def test_nbdev_3_is_told_the_same(settings):
    table = tomllib.loads((ROOT/'pyproject.toml').read_text(encoding='utf-8'))['tool']['nbdev']
    assert table['tst_flags'] == settings['tst_flags']


def pins() -> dict[str, Requirement]:
    "The pins of constraints.txt by name."
    lines = [line.partition('#')[0].strip() for line in lines_of(ROOT/'constraints.txt')]
    return {canonicalize_name(pin.name): pin for pin in map(Requirement, filter(None, lines))}


def wanted(*extras:str) -> list[Requirement]:
    "What pyproject.toml asks for, with some of the extras."
    more = [line for extra in extras for line in PROJECT['optional-dependencies'][extra]]
    return [Requirement(line) for line in PROJECT['dependencies'] + more]


def test_every_direct_dependency_is_pinned():
    "What CI installs is what was tested, and each pin fits what pyproject.toml asks for."
    found, fault = pins(), Faults()
    for asked in wanted('dev'):
        pin = found.get(canonicalize_name(asked.name))
        version = pin and re.fullmatch(r'==([\w.]+)', str(pin.specifier))
        if not version: fault(asked.name, 'has no == pin in constraints.txt')
        elif version[1] not in asked.specifier: fault(asked.name, f'{pin} does not fit {asked}')
    fault.report()


def test_every_import_is_declared():
    "A library that the code imports is a dependency of ours, not only of somebody we depend on."
    names = {canonicalize_name(asked.name) for asked in wanted('stac', 'scale', 'text')}
    distributions, fault = metadata.packages_distributions(), Faults()
    for path in sorted(PACKAGE.glob('*.py')):
        for _, module in modules_imported(ast.parse(path.read_text(encoding='utf-8'))):
            top = module.partition('.')[0]
            if top in sys.stdlib_module_names or top == 'alphaearth_nb': continue
            homes = {canonicalize_name(name) for name in distributions.get(top, [top])}
            if not homes & names: fault(path.name, f'imports {top}, which pyproject.toml does not name')
    fault.report()


def test_development_tools_are_no_dependency():
    "nbdev and fastcore are for development only."
    names = {canonicalize_name(asked.name) for asked in wanted()}
    assert not names & {'nbdev', 'fastcore', 'execnb', 'pytest', 'hypothesis', 'jupyterlab'}
