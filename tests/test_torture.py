"""The patches of known mistakes fit the package, every tenth is caught, and torture.py can be seen red.

`make torture` makes all of them; this keeps them from rotting in between.
"""
import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torture
from pages import ROOT, Faults

TESTS = ROOT/'tests'
PATCHES = torture.patches(TESTS/'mutations')
NODE = 'tests/test_known_mistakes.py::test_the_valid_period_matters'
HEAD = f'Mistake: none.\nMade by: this test\nTest: {NODE}\n\n'


def nodes_of(path:Path) -> set[str]:
    "Node ids of the tests of a file."
    return {f'{path.relative_to(ROOT).as_posix()}::{node.name}' for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.FunctionDef) and node.name.startswith('test_')}


def run(folder:Path, tmp_path:Path, *words:str) -> tuple[int, str]:
    "Run torture.py on a folder of patches: exit code, and what it printed."
    command = [sys.executable, TESTS/'torture.py', '--workers', '1', '--folder', folder, '--memory',
               tmp_path/'memory.json', *words]
    environment = os.environ | {'OMP_NUM_THREADS': '1'}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment)
    return done.returncode, done.stdout + done.stderr


# ---- the patches

def test_every_patch_applies(tmp_path):
    "Each says what, who and which test, finds its lines once, and leaves modules that are still Python."
    fault = Faults()
    for patch in PATCHES:
        try:
            for module in {module for module, *_ in patch.changes}:
                (tmp_path/patch.name/module).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT/module, tmp_path/patch.name/module)
            patch.apply(tmp_path/patch.name)
        except (torture.PatchError, SyntaxError, OSError) as error: fault(patch.path.name, error)
        else:
            path = ROOT/patch.test.partition('::')[0]
            if not path.is_file() or patch.test not in nodes_of(path): fault(patch.path.name, 'no such test')
    fault.report()


def test_every_test_of_a_known_mistake_has_one():
    "So each has been seen red, for the reason it is there."
    named = {patch.test for patch in PATCHES}
    written = {test for path in TESTS.glob('test_known_mistakes*.py') for test in nodes_of(path)}
    assert not written - named


def test_every_tenth_mistake_is_caught(tmp_path):
    code, printed = run(TESTS/'mutations', tmp_path, '--every', '10')
    assert code == 0, printed
    assert printed.count(' caught') == len(PATCHES[::10]) > 3


# ---- the runner, seen red

PACK, CUT = '        packing = pack(batch)\n', '        parts = cut_periods(periods, q)\n'
BAD = {  # lines and what they become, and what has to be said
    'harmless': (PACK, PACK.replace('\n', '  # noted\n'), 'NOT CAUGHT'),
    'stale': (PACK.replace('batch', 'batches'), '', 'DOES NOT APPLY: stale: found 0 times'),
    'twice': ('        super().__init__()\n', '', 'DOES NOT APPLY: twice: found'),
    'misspelt': (PACK, PACK.replace('pack(', 'packed('), 'FAILED WITH NameError'),
    'no_python': (PACK, PACK.replace('= ', '= = '), 'DOES NOT APPLY'),
    'not_imported': ('import torch\n', 'import torch_of_nobody\n', 'BROKEN: not collected'),
    'lost': (PACK, '', 'NOT TRIED'),
    'good': (CUT, '        periods = periods*0 + memory.days.mean()\n' + CUT, ' caught')}


def hunk(old:str, new:str) -> str:
    "A hunk of a patch."
    lines = [f'{mark}{line}\n' for mark, text in (('-', old), ('+', new)) for line in text.splitlines()]
    return '--- alphaearth_nb/encoder.py\n@@\n' + ''.join(lines)


def test_what_is_no_catch_is_not_called_one(tmp_path):
    "A patch that changes nothing, that no longer applies, whose test is not there, that fails otherwise."
    (folder := tmp_path/'patches').mkdir()
    for name, (old, new, _) in BAD.items():
        head = HEAD if name != 'lost' else HEAD.replace(NODE, 'tests/test_resume.py::test_of_nobody')
        (folder/f'{name}.patch').write_text(head + hunk(old, new))
    code, printed = run(folder, tmp_path)
    rows = {line.split()[0]: line for line in printed.splitlines() if line.split()[:1]}
    assert code == 1 and f'1 of {len(BAD)} as they should be' in printed, printed
    assert 'NO SUCH TEST' in rows['sound:'], printed    # the last of the two files
    for name, (*_, words) in BAD.items(): assert words in rows[name], printed
    assert set(torture.Memory(tmp_path/'memory.json')) == {'good', 'sound: tests/test_known_mistakes.py'}


def test_what_was_caught_is_not_tried_again(tmp_path):
    "A run that was stopped goes on; a change of the patch, of its test or of the package begins anew."
    patch = PATCHES[0]
    job, memory = torture.Job(patch.name, (patch.test,), patch), torture.Memory(tmp_path/'memory.json')
    memory.add(job.name, job.key())
    remembered = torture.Memory(tmp_path/'memory.json')
    assert list(torture.run([job], 1, remembered)) == [(job, torture.CAUGHT, 0.)]
    changed = tmp_path/patch.path.name
    changed.write_text(patch.text + '\n')
    assert torture.Job(patch.name, (patch.test,), torture.Patch(changed)).key() != job.key()
    assert torture.Job(patch.name, ('tests/test_resume.py',), patch).key() != job.key()


@pytest.mark.parametrize('text, words', [
    ('Mistake: one.\n\n--- a.py\n@@\n-a\n+b\n', 'lacks'), (HEAD + '--- a.py\n', 'changes nothing'),
    (HEAD + '--- a.py\n@@\na\n+b\n', 'begins with'), (HEAD + '--- a.py\n@@\n-a\n+b\n', 'there is no a.py')])
def test_a_patch_that_cannot_be_read_is_refused(tmp_path, text, words):
    (tmp_path/'odd.patch').write_text(text)
    patch = torture.Patch(tmp_path/'odd.patch')
    with pytest.raises(torture.PatchError, match=words):
        patch.header
        patch.apply(tmp_path)
