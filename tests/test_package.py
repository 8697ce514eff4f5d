"""The archives are whole and work where only their dependencies are; the files that describe them agree.

`make dist` runs this on what it has built (AENB_DIST names the folder); otherwise they are built here.
"""
import ast
import email
import json
import os
import re
import shutil
import sys
import tarfile
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import environments
import pytest
import tutorial_cells
import yaml
from environments import run
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pages import NBS, PACKAGE, ROOT, Faults, assigned, lines_of, modules_imported
from services import services

PROJECT = tomllib.loads((ROOT/'pyproject.toml').read_text(encoding='utf-8'))['project']
LICENCES = {'apache2': 'Apache-2.0'}  # nbdev's word: SPDX's
CEILING_S = 1800                      # for one cell of a tutorial: only so that nothing hangs for ever
MADE = {'.venv', 'build', 'dist', '_proc', '_docs', 'runs', 'demo', '__pycache__'}


def files_below(folder:Path) -> set[str]:
    "Files of a folder of the project by their place in it, without what is made or hidden."
    found = {path.relative_to(ROOT) for path in folder.rglob('*') if path.is_file()}
    return {path.as_posix() for path in found
            if not any(part in MADE or part.startswith('.') for part in path.parts) and path.suffix != '.bak'}


# ---- the archives

@pytest.fixture(scope='module')
def archives(tmp_path_factory) -> Path:
    "Folder with the source archive and the wheel built from it, from a copy so that the tree stays as it is."
    if made := os.environ.get('AENB_DIST'): return (ROOT/made).resolve()
    source, target = tmp_path_factory.mktemp('source'), tmp_path_factory.mktemp('dist')
    for path in ROOT.iterdir():
        hidden = path.name.startswith('.') and path.name != '.ci'
        if hidden or path.name in MADE or path.suffix == '.egg-info': continue
        left = shutil.ignore_patterns('__pycache__', '.*')
        if path.is_dir(): shutil.copytree(path, source/path.name, ignore=left)
        else: shutil.copy(path, source/path.name)
    run(sys.executable, '-m', 'build', '--no-isolation', '--outdir', target, cwd=source)
    return target


@pytest.fixture(scope='module')
def wheel(archives) -> Path:
    "The one wheel."
    found, = archives.glob('*.whl')
    return found


def test_wheel_holds_the_package_and_nothing_else(wheel):
    "Every file of static/ with it; no tests, no notebooks."
    names = {name for name in zipfile.ZipFile(wheel).namelist() if '.dist-info/' not in name}
    assert names == files_below(PACKAGE)
    assert {f'alphaearth_nb/static/{name}' for name in ('report.css', 'statistics_v1.json')} <= names
    assert not any(name.startswith(('tests/', 'nbs/')) or name.endswith('.ipynb') for name in names)


def test_source_archive_holds_what_is_needed_to_go_on(archives):
    "Notebooks, tests and samples, and the files that say how to build and check them."
    found, = archives.glob('*.tar.gz')
    with tarfile.open(found) as archive:
        names = {member.name.partition('/')[2] for member in archive.getmembers() if member.isfile()}
    folders = (NBS, PACKAGE, ROOT/'tests', ROOT/'data_samples')
    needed = {'settings.ini', 'pyproject.toml', 'constraints.txt', 'Makefile', 'LICENSE', 'README.md',
              'CHANGELOG.md', 'CONTRIBUTING.md', 'CITATION.cff', '.ci/run'}
    assert not needed.union(*map(files_below, folders)) - names
    assert not [name for name in names if MADE & set(name.split('/')) or name.endswith(('.pyc', '.bak'))]


def test_wheel_says_what_it_is(wheel, settings):
    "Licence, version, addresses, extras and the README."
    archive = zipfile.ZipFile(wheel)
    licence = next(name for name in archive.namelist() if name.endswith('licenses/LICENSE'))
    assert archive.read(licence) == (ROOT/'LICENSE').read_bytes()
    text = archive.read(next(name for name in archive.namelist() if name.endswith('/METADATA'))).decode()
    about = email.message_from_string(text)
    assert about['License-Expression'] == 'Apache-2.0' and about['Requires-Python'] == '>=3.11'
    assert about['Version'] == settings['version'] == wheel.name.split('-')[1]
    assert dict(line.split(', ') for line in about.get_all('Project-URL')) == PROJECT['urls']
    assert set(about.get_all('Provides-Extra')) == set(PROJECT['optional-dependencies'])
    assert (ROOT/'README.md').read_text(encoding='utf-8') in text


def test_wheel_stays_small(wheel): assert wheel.stat().st_size < 5e6


# ---- an environment that holds the wheel and what it asks for, nothing else

@pytest.fixture(scope='module')
def installed(wheel, tmp_path_factory):
    "Programs of that environment; with nbclient and ipykernel, which run notebooks."
    folder = tmp_path_factory.mktemp('empty')/'environment'
    python = environments.make(folder)
    environments.install(python, wheel, 'nbclient', 'ipykernel')
    yield python.parent
    shutil.rmtree(folder)  # gigabytes


def test_installed_package_is_imported_from_anywhere(installed, tmp_path):
    code = 'import alphaearth_nb as ae, alphaearth_nb.sources as s; print(ae.__version__); print(s.__file__)'
    version, file = run(installed/'python', '-c', code, cwd=tmp_path).split()
    assert version == metadata.version('alphaearth_nb')
    assert Path(file).is_relative_to(installed.parent), 'the wheel was tested, not the checkout'


def test_installed_package_brings_no_development_tools(installed, tmp_path):
    code = 'from importlib import metadata; print(*(d.metadata["Name"] for d in metadata.distributions()))'
    names = {canonicalize_name(name) for name in run(installed/'python', '-c', code, cwd=tmp_path).split()}
    assert 'torch' in names and not names & {'nbdev', 'fastcore', 'execnb', 'pytest', 'hypothesis'}


def test_installed_package_finds_its_static_files(installed, tmp_path):
    code = 'from alphaearth_nb.sources import SOURCES, statistics; print(set(SOURCES) <= set(statistics()))'
    assert run(installed/'python', '-c', code, cwd=tmp_path).strip() == 'True'


PLACES = sorted((PACKAGE/'static'/'places').glob('*.zarr')) or [
    pytest.param(None, marks=pytest.mark.skip(reason='the wheel carries no place yet'))]


@pytest.mark.parametrize('place', PLACES, ids=lambda place: place.stem if place else 'none')
def test_installed_package_opens_the_places_it_carries(place, installed, tmp_path):
    "By name, without network, away from the checkout."
    code = f'import alphaearth_nb as ae; print(*ae.open_frames({place.stem!r}).sources)'
    said = run(installed/'python', '-c', code, cwd=tmp_path, env=environments.offline())
    assert 'sentinel2' in said.split()


def test_installed_command_answers(installed, tmp_path):
    said = run(installed/'aenb', '--help', cwd=tmp_path)
    assert all(word in said for word in ('demo', 'train', 'embed', 'info'))


RUN = '''
import re, sys
import nbclient, nbformat
book = nbformat.read(sys.argv[1], 4)
asks = re.compile(r"^#\\\\s*\\\\|\\\\s*network\\\\b", re.M)
book.cells = [cell for cell in book.cells if not asks.search(cell.source)]
book.cells.append(nbformat.v4.new_code_cell("import alphaearth_nb; alphaearth_nb.__file__"))
nbclient.NotebookClient(book, timeout=CEILING_S, kernel_name="python3").execute()
found = [one for one in book.cells[-1].outputs if one.output_type == "execute_result"]   # geemap shows more
print(found[0].data["text/plain"])
'''.replace('CEILING_S', str(CEILING_S)).replace('\\\\', '\\')


def run_notebook(installed:Path, path:Path, folder:Path) -> str:
    "Run a copy of a notebook from top to bottom, without network; where it imported the library from."
    copy = shutil.copy(path, folder/path.name)
    with services() as told:
        env = environments.offline() | told
        return run(installed/'python', '-c', RUN, copy, cwd=folder, env=env).strip().strip("'")


TUTORIALS = tutorial_cells.tutorials() or [
    pytest.param(None, marks=pytest.mark.skip(reason='nbs/tutorials holds no notebook yet'))]


@pytest.mark.parametrize('path', TUTORIALS, ids=lambda path: path.stem if path else 'none')
def test_tutorial_runs_where_only_the_wheel_is(path, installed, tmp_path):
    "Top to bottom in a kernel of its own, away from the checkout; cells marked `network` are left out."
    assert Path(run_notebook(installed, path, tmp_path)).is_relative_to(installed.parent)


def notebook(*sources:str) -> str:
    "A notebook of code cells."
    cell = {'cell_type': 'code', 'execution_count': None, 'metadata': {}, 'outputs': []}
    cells = [{**cell, 'id': f'c{index}', 'source': source} for index, source in enumerate(sources)]
    return json.dumps({'cells': cells, 'metadata': {}, 'nbformat': 4, 'nbformat_minor': 5})


def test_a_tutorial_that_fails_is_seen(installed, tmp_path):
    "A failing cell fails the run, a network cell is left out, and nothing beyond this machine answers."
    path, folder = tmp_path/'bad.ipynb', tmp_path/'elsewhere'
    folder.mkdir()
    path.write_text(notebook('x = 1', '#| network\n1/0'))
    run_notebook(installed, path, folder)
    fetch = 'import urllib.request\nurllib.request.urlopen("http://example.com")'
    for source, words in [('x = 1\nassert x == 2', 'AssertionError'), (fetch, 'refused')]:
        path.write_text(notebook(source))
        with pytest.raises(AssertionError, match=words): run_notebook(installed, path, folder)


# ---- the files that describe the package

@pytest.fixture(scope='module')
def settings() -> dict: return tutorial_cells.settings()


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
    for asked in wanted('dev', 'docs'):
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


def test_the_citation_is_complete(settings):
    "CITATION.cff has the fields that its format asks for, and they are those of the package."
    told = yaml.safe_load((ROOT/'CITATION.cff').read_text(encoding='utf-8'))
    needed = {'cff-version', 'message', 'title', 'authors'}
    known = {'abstract', 'keywords', 'license', 'references', 'repository-code', 'type', 'version'}
    assert needed <= set(told) <= needed | known | {'date-released', 'doi', 'url'}
    assert told['cff-version'] == '1.2.0' and told['type'] == 'software'
    assert (told['title'], told['version']) == (settings['lib_name'], settings['version'])
    assert told['license'] == PROJECT['license'] and told['abstract'] == PROJECT['description']
    assert told['repository-code'] == PROJECT['urls']['Source'] == settings['git_url']
    assert told['authors'] == [{'name': person['name']} for person in PROJECT['authors']]
    for work in told['references']: assert {'type', 'title', 'authors', 'year', 'url'} <= set(work)
