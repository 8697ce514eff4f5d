"""Make each known mistake on purpose, one at a time, and require that the test named for it fails.

    python tests/torture.py [--every 10] [--folder mutations] [--workers 2] [--kills] [name ...]

A patch is a header, an empty line, and hunks of a unified diff without line numbers: what stands behind
blanks and minus signs must be found exactly once in the module, and is replaced. So a patch that no longer
applies is an error, never silence. The header:

    Mistake: one sentence on what is done wrong.
    Made by: who made it.
    Test: tests/test_x.py::test_name, which must fail
    Fails with: TypeError (another error than a failed assertion, if that is how it shows)

Package and tests are copied for each patch. The libraries are loaded once and each run is a fork of that, so
fifty patches take minutes. What was caught is remembered until package, test or patch change.
"""
import argparse
import hashlib
import importlib
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path

import hypothesis
import pytest

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
MEMORY = ROOT/'build'/'torture.json'
LIMIT_S, KILLS_LIMIT_S = 240, 900
CAMPAIGNS = (('fifty kills', 'tests/test_resume.py'), ('a thousand files', 'tests/test_mutated_geotiffs.py'),
             ('a thousand checkpoints', 'tests/test_checkpoint_files.py'),
             ('fifty kills of each writer', 'tests/test_kills.py'),
             ('200 worlds of shuffled labels', 'tests/test_evaluation_chance.py'))
HEADER = ('Mistake', 'Made by', 'Test')
FAILED = ('AssertionError', 'Failed')  # what assert, numpy and torch raise; and pytest.raises
HEAVY = ('torch', 'numpy', 'scipy.ndimage', 'pandas', 'xarray', 'odc.geo.xr', 'rasterio', 'affine', 'shapely',
         'safetensors.torch', 'hypothesis', 'tqdm')


class PatchError(Exception):
    "A patch that cannot be read, or that no longer applies."


# ---- patches

@dataclass(frozen=True)
class Patch:
    "One known mistake."
    path:Path

    @property
    def name(self) -> str: return self.path.stem

    @cached_property
    def text(self) -> str: return self.path.read_text(encoding='utf-8')

    @cached_property
    def header(self) -> dict[str, str]:
        "Its first lines, by the word before the colon."
        pairs = [line.partition(': ') for line in self.text.partition('\n\n')[0].splitlines()]
        found = {key: value.strip() for key, _, value in pairs}
        lost = [key for key in HEADER if not found.get(key)]
        if lost: raise PatchError(f'{self.name} lacks {lost}')
        return found

    @property
    def test(self) -> str: return self.header['Test']

    @property
    def errors(self) -> tuple[str, ...]:
        "Names of the errors that count as a failure of the test."
        return (self.header['Fails with'],) if 'Fails with' in self.header else FAILED

    @cached_property
    def changes(self) -> list[tuple[str, str, str]]:
        "Module, lines to find, lines to put there; one for each hunk."
        changes, module = [], ''
        for part in re.split(r'^(?=--- |@@)', self.text.partition('\n\n')[2], flags=re.M):
            first, *lines = part.splitlines() or ['']
            if first.startswith('--- '): module = first[4:].strip()
            if not first.startswith('@@'): continue
            if odd := [line for line in lines if line[:1] not in (' ', '-', '+')]:
                raise PatchError(f'{self.name}: a hunk line begins with a blank, - or +, not {odd[0]!r}')
            def side(marks:str) -> str: return ''.join(f'{line[1:]}\n' for line in lines if line[0] in marks)
            changes.append((module, side(' -'), side(' +')))
        if not changes: raise PatchError(f'{self.name} changes nothing')
        return changes

    def apply(self, folder:Path) -> None:
        "Make the mistake in a copy of the package."
        for module, old, new in self.changes:
            path = folder/module
            if not path.is_file(): raise PatchError(f'{self.name}: there is no {module}')
            text = path.read_text(encoding='utf-8')
            places = f'\n{text}'.count(f'\n{old}')
            if places != 1: raise PatchError(f'{self.name}: found {places} times in {module}:\n{old}')
            text = f'\n{text}'.replace(f'\n{old}', f'\n{new}')[1:]
            compile(text, module, 'exec')
            path.write_text(text, encoding='utf-8')


def patches(folder:Path) -> list[Patch]: return [Patch(path) for path in sorted(folder.glob('*.patch'))]


# ---- one run of pytest on a copy

def copy(folder:Path) -> Path:
    "Package and tests, as far as a test of the package needs them."
    leave = shutil.ignore_patterns('__pycache__', '.*', 'bench', 'mutations')
    for name in ('alphaearth_nb', 'tests'): shutil.copytree(ROOT/name, folder/name, ignore=leave)
    shutil.copy(ROOT/'pyproject.toml', folder)
    return folder


class Watch:
    "A plugin of pytest that keeps what came of each test, and which package was tested."
    def __init__(self): self.passed, self.failed, self.broken = 0, [], []

    def pytest_sessionstart(self):
        "One failure is enough: hypothesis need not look for the smallest one, nor for others."
        phases = hypothesis.Phase.explicit, hypothesis.Phase.generate
        hypothesis.settings.register_profile('torture', parent=hypothesis.settings.get_profile('house'),
                                             phases=phases, report_multiple_bugs=False)
        hypothesis.settings.load_profile('torture')

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item, call):
        report = (yield).get_result()
        if report.passed: self.passed += call.when == 'call'
        elif report.failed and call.when == 'call': self.failed += errors_in(call.excinfo.value)
        else: self.broken.append(f'{report.outcome} in {call.when}: {call.excinfo.exconly()[:200]}')

    def pytest_collectreport(self, report):
        if report.failed: self.broken.append(f'not collected: {report.longreprtext[-300:]}')

    def result(self) -> dict:
        package = sys.modules.get('alphaearth_nb')
        return {'passed': self.passed, 'failed': self.failed, 'broken': self.broken,
                'package': package and package.__file__}


def errors_in(error:BaseException) -> list[str]:
    "Names of the errors; hypothesis hands over several in a group."
    if not isinstance(error, BaseExceptionGroup): return [type(error).__name__]
    return [name for part in error.exceptions for name in errors_in(part)]


def run_tests(folder:Path, nodes:list[str], environment:dict[str, str]) -> None:
    "Run tests in this process, which has not imported the package; write what came of it beside the copy."
    watch = Watch()
    os.chdir(folder)
    os.environ.update(environment | {'PYTHONPATH': str(folder), 'PYTEST_DISABLE_PLUGIN_AUTOLOAD': '1'})
    others = [path for path in sys.path if path and Path(path).resolve() not in (ROOT, TESTS)]
    sys.path[:] = [str(folder), *others]
    nothing = [name for name in sys.modules if name.partition('.')[0] == 'alphaearth_nb']
    if nothing: raise RuntimeError(f'{nothing[0]} was imported before the mistake was made')
    without = [word for name in ('cacheprovider', 'unraisableexception') for word in ('-p', f'no:{name}')]
    pytest.main(['-q', '-x', '--tb=short', *without, *nodes], plugins=[watch])
    (folder/'result.json').write_text(json.dumps(watch.result()))


def fork(folder:Path, nodes:list[str], limit_s:int, environment:dict[str, str]) -> int:
    "Test a copy in a process of its own, which dies after a while; its number."
    child = os.fork()
    if child: return child
    signal.alarm(limit_s)
    with open(folder/'output.txt', 'w') as output:
        os.dup2(output.fileno(), 1), os.dup2(output.fileno(), 2)
        try: run_tests(folder, nodes, environment)
        except BaseException: traceback.print_exc()
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(0)


# ---- verdicts

CAUGHT, MISSED, UNSOUND = 'caught', 'NOT CAUGHT', 'NOT TRIED: tests of that file do not pass as it is'


def judge(folder:Path, wanted:tuple[str, ...]|None) -> str:
    "Say what a run showed; `wanted` are the errors that a mistake should raise, None if all has to pass."
    path = folder/'result.json'
    if not path.exists(): return 'NO RESULT: ' + (folder/'output.txt').read_text()[-600:]
    found = json.loads(path.read_text())
    if found['broken']: return f'BROKEN: {found["broken"][0]}'
    if not found['passed'] and not found['failed']: return 'NO SUCH TEST'
    if not (found['package'] or '').startswith(str(folder)): return f'ANOTHER PACKAGE: {found["package"]}'
    if wanted is None: return CAUGHT if not found['failed'] else 'FAILS WITHOUT ANY MISTAKE'
    if not found['failed']: return MISSED
    others = sorted(set(found['failed']) - set(wanted))
    return CAUGHT if not others else f'FAILED WITH {", ".join(others)}, not {" or ".join(wanted)}'


@dataclass(frozen=True)
class Job:
    "Something to try: a patch and its test, or tests that have to pass."
    name:str
    nodes:tuple[str, ...]
    patch:Patch|None = None
    limit_s:int = LIMIT_S
    environment:tuple[tuple[str, str], ...] = ()

    def key(self) -> str:
        "SHA-256 of all that the verdict depends on."
        digest = hashlib.sha256(repr((self.nodes, self.environment, self.patch and self.patch.text)).encode())
        shared = [TESTS/name for name in ('conftest.py', 'pages.py', 'small_model.py', 'torture.py')]
        tests = {ROOT/node.partition('::')[0] for node in self.nodes}
        package = [path for path in (ROOT/'alphaearth_nb').rglob('*') if path.suffix in ('.py', '.json')]
        for path in sorted({*shared, *tests, *package}):
            if path.is_file(): digest.update(f'{path.relative_to(ROOT)} {path.read_bytes().hex()}'.encode())
        return digest.hexdigest()

    def start(self, top:str) -> tuple[int, Path]:
        "Make the copy in a folder and begin; number of the process, and where the copy is."
        folder = copy(Path(tempfile.mkdtemp(dir=top)).resolve())
        if self.patch: self.patch.apply(folder)
        return fork(folder, list(self.nodes), self.limit_s, dict(self.environment)), folder

    def verdict(self, folder:Path) -> str: return judge(folder, self.patch.errors if self.patch else None)


class Memory(dict):
    "Keys of jobs that ended well, in a file, so that a run that was stopped goes on."
    def __init__(self, path:Path|None):
        super().__init__(json.loads(path.read_text()) if path and path.exists() else {})
        self.path = path

    def add(self, name:str, key:str) -> None:
        self[name] = key
        if not self.path: return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        aside = self.path.with_suffix(f'.{os.getpid()}')
        aside.write_text(json.dumps(self, indent=1))
        aside.replace(self.path)


def run(jobs:list[Job], workers:int, memory:Memory) -> Iterator[tuple[Job, str, float]]:
    "Do the jobs, some at a time: verdict and seconds of the processor as they end."
    queue, running = list(jobs), {}
    with tempfile.TemporaryDirectory(prefix='torture-') as top:
        while queue or running:
            while queue and len(running) < workers:
                job = queue.pop(0)
                if memory.get(job.name) == job.key(): yield job, CAUGHT, 0.; continue
                try: child, folder = job.start(top)
                except (PatchError, SyntaxError) as error: yield job, f'DOES NOT APPLY: {error}', 0.; continue
                running[child] = job, job.key(), folder
            if not running: continue
            child, _, used = os.wait3(0)
            job, key, folder = running.pop(child)
            verdict = job.verdict(folder)
            if verdict == CAUGHT: memory.add(job.name, key)
            shutil.rmtree(folder)
            yield job, verdict, used.ru_utime + used.ru_stime


# ---- the whole

def load() -> None:
    "Import what is slow to import, and what torch loads at first use; never the package itself."
    for name in HEAVY: importlib.import_module(name)
    import torch
    torch.set_num_threads(1)
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)], fused=True).step()
    torch.testing.assert_close(torch.zeros(1), torch.zeros(1))


def sound(chosen:list[Patch]) -> list[Job]:
    "The named tests without any mistake, file by file: one that fails anyway would catch everything."
    nodes = sorted({patch.test for patch in chosen})
    files = groupby(nodes, lambda node: node.partition('::')[0])
    return [Job(f'sound: {file}', tuple(some)) for file, some in files]


def show(job:Job, verdict:str, used_s:float) -> bool:
    "One row of the table."
    test = job.patch.test.partition('::')[2] if job.patch else f'{len(job.nodes)} named'
    word = verdict if job.patch or verdict != CAUGHT else 'all pass'
    print(f'{job.name:<40} {test:<68} {used_s:5.1f} s  {word}', flush=True)
    return verdict == CAUGHT


def asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Make each known mistake and require its test to fail.')
    parser.add_argument('names', nargs='*', help='patches to try; all if none is named')
    parser.add_argument('--every', type=int, default=1, help='try every so manieth patch only')
    parser.add_argument('--folder', type=Path, default=TESTS/'mutations', help='where the patches are')
    parser.add_argument('--workers', type=int, default=2, help='processes')
    parser.add_argument('--memory', type=Path, default=MEMORY, help='file of what was caught before')
    parser.add_argument('--anew', action='store_true', help='forget what was caught before')
    parser.add_argument('--kills', action='store_true', help='also kill training, and damage files, in full')
    return parser.parse_args()


def main() -> int:
    wish, began = asked(), time.monotonic()
    found = [patch for patch in patches(wish.folder) if not wish.names or patch.name in wish.names]
    chosen = found[::wish.every]
    if not chosen: sys.exit(f'no patch {" ".join(wish.names)} in {wish.folder}')
    if wish.anew: wish.memory.unlink(missing_ok=True)
    memory = Memory(wish.memory)
    load()
    tests = sound(chosen)
    whole = [Job(name, (test,), None, KILLS_LIMIT_S, (('AE_TORTURE', '1'),)) for name, test in CAMPAIGNS]
    passing = [node for job, verdict, used_s in run(tests, wish.workers, memory)
               if show(job, verdict, used_s) for node in job.nodes]
    jobs = [Job(patch.name, (patch.test,), patch) for patch in chosen]
    good = [show(job, UNSOUND, 0.) for job in jobs if job.patch.test not in passing]
    jobs = [job for job in jobs if job.patch.test in passing]
    good += [show(*done) for done in run(whole*wish.kills + jobs, wish.workers, memory)]
    print(f'{sum(good)} of {len(good)} as they should be, in {time.monotonic() - began:.0f} s')
    return 0 if all(good) else 1


if __name__ == '__main__': sys.exit(main())
