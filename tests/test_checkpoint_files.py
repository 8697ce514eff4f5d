"""A thousand damaged checkpoints: `CheckpointError` in one sentence, nothing else, and nothing is unpickled.

`make torture` tries all of them; this tries a tenth.
"""
import collections
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mutated_checkpoints import KINDS, SEALED, write

FILES = 1000 if os.environ.get('AE_TORTURE') == '1' else 104
BATCH = 250


def child(*command) -> subprocess.CompletedProcess:
    "A process that finds the package and the tests where this one does."
    environment = os.environ | {'OMP_NUM_THREADS': '1', 'PYTHONPATH': os.pathsep.join(filter(None, sys.path))}
    return subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, timeout=600,
                          env=environment)


@pytest.mark.parametrize('kind', ['model', 'checkpoint'])
def test_damaged_files_are_refused_in_one_sentence(tmp_path, kind):
    "Whatever was done without knowing the hash is seen; with the right hash, what is no model is."
    write(tmp_path)
    found, count = {}, FILES//2
    for first in range(0, count, BATCH):
        last = min(count, first + BATCH)
        done = child(Path(__file__).with_name('mutated_checkpoints.py'), tmp_path, kind, first, last)
        lines = (line.split(' ', 1) for line in done.stdout.splitlines())
        found |= {int(seed): words for seed, words in lines}
        assert done.returncode == 0, (f'file {len(found)} ({KINDS[len(found) % len(KINDS)]}) ended with '
                                      f'{done.returncode}: {done.stderr[-800:]}')
    of = {seed: (KINDS[seed % len(KINDS)], words) for seed, words in found.items()}
    odd = {seed: both for seed, both in of.items() if both[1] not in ('refused', 'same', 'changed')}
    altered = {seed: both for seed, both in of.items() if both[1] == 'changed' and both[0] not in SEALED}
    counts = collections.Counter(words for _, words in of.values())
    assert len(found) == count and not odd and not altered, (odd, altered)
    assert counts['refused'] > .7*count, counts


WATCHED = '''
import pickle, sys
from pathlib import Path
seen = []
sys.addaudithook(lambda event, words: seen.append(words) if event == 'pickle.find_class' else None)
pickle.loads(pickle.dumps(Path('.')))
assert seen, 'the hook sees nothing'

import torch
from small_model import SMALL, TRAINING, incomplete_place
from dataclasses import replace
from alphaearth_nb.inference import embed
from alphaearth_nb.model import AlphaEarth
from alphaearth_nb.periods import Period
from alphaearth_nb.training import train
torch.optim.AdamW([torch.zeros(1, requires_grad=True)])         # which loads what defines unpicklers
def refuse(*words, **more): raise AssertionError('something is unpickled')
pickle.load = pickle.loads = pickle.Unpickler = torch.load = torch.save = refuse
seen.clear()
frames, folder = incomplete_place(), Path(sys.argv[1])
config = replace(TRAINING, steps=4, windows=2, checkpoint_every=2, log_every=1, precision='fp32', warmup=1)
class Stop(Exception): pass
def die(*words): raise Stop
import alphaearth_nb.training as training
keep, count = training.save_checkpoint, []
def save_some(*words):
    count.append(keep(*words))
    if len(count) == 2: raise Stop              # after steps 0 and 2
training.save_checkpoint = save_some
try: train(AlphaEarth(SMALL), [frames], config, out=folder, quiet=True)
except Stop: training.save_checkpoint = keep
run = train(AlphaEarth(SMALL), [frames], config, out=folder, quiet=True)
assert [line['step'] for line in run.log] == [1, 2, 3, 4]
embed(AlphaEarth.load(folder/'model.safetensors'), frames, Period('2018-02-01', '2018-05-01'), quiet=True)
assert not seen, seen
print('nothing was unpickled')
'''


def test_nothing_is_unpickled(tmp_path):
    "Not when a run is begun, goes on, is loaded or embeds: no file of this toolkit can run code."
    done = child('-c', WATCHED, tmp_path)
    assert done.returncode == 0 and 'nothing was unpickled' in done.stdout, done.stderr[-1500:]
