"""A thousand damaged GeoTIFFs: one sentence each, no crash, no hang, nothing altered if there is a hash.

`make torture` tries all of them; this tries a tenth.
"""
import collections
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mutated_geotiffs import KINDS, write

FILES = 1000 if os.environ.get('AE_TORTURE') == '1' else 104
BATCH = 125


def opened(folder:Path, kind:str, count:int) -> dict[int, str]:
    "What became of each damaged file, opened in processes with limits."
    found = {}
    for first in range(0, count, BATCH):
        last = min(count, first + BATCH)
        command = [sys.executable, Path(__file__).with_name('mutated_geotiffs.py'), folder, kind, first, last]
        paths = os.pathsep.join(path for path in sys.path if path)
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=600,
                              env=os.environ | {'OMP_NUM_THREADS': '1', 'PYTHONPATH': paths})
        lines = [line.split(' ', 1) for line in done.stdout.splitlines()]
        found |= {int(seed): words for seed, words in lines}
        assert done.returncode == 0, (f'file {len(found)} ({KINDS[len(found) % len(KINDS)]}) ended with '
                                      f'{done.returncode}: {done.stderr[-800:]}')
    return found


@pytest.mark.parametrize('kind', ['sealed', 'plain'])
def test_damaged_files_are_refused_in_one_sentence(tmp_path, kind):
    "With a hash nothing altered gets through; without one, the length of the vectors finds nine in ten."
    write(tmp_path, kind)
    found = opened(tmp_path, kind, FILES//2)
    counts = collections.Counter(found.values())
    assert len(found) == FILES//2 and set(counts) <= {'refused', 'same', 'changed'}, counts
    assert counts['refused'] > .5*len(found), counts
    if kind == 'sealed': assert not counts['changed'], [seed for seed in found if found[seed] == 'changed']
    else: assert counts['changed'] <= .1*(counts['changed'] + counts['refused']), counts
