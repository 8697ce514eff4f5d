"""A run that is killed at any moment, and started again, ends with the same bits as one that was not.

One child process imports the library and makes the place once, and forks a runner for every start, which is
killed with SIGKILL: at a random moment, or just when a checkpoint is about to get its name, or just after.
`AE_TORTURE=1` makes fifty kills of the five.
"""
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from pages import ROOT

KILLS = 50 if os.environ.get('AE_TORTURE') == '1' else 10
STEPS, EVERY = 40, 4  # steps of a run, steps between checkpoints
DIE = 'random', 'before', 'after'  # when to die: at any moment; around the renaming of a checkpoint

SERVER = f'''
import glob, json, os, signal, sys, time
import torch
torch.set_num_threads(1)
from alphaearth_nb.model import AlphaEarth
from alphaearth_nb.settings import ModelConfig, STPConfig, TrainingConfig
from alphaearth_nb.synthetic import synthetic_place
from alphaearth_nb.training import train

small = ModelConfig(name='resume', decoder_width=16, summary_width=16, summary_queries=1,
    bands={{'sentinel2': ('B02', 'B08'), 'sentinel1': ('VV', 'VH')}},
    stp=STPConfig(blocks=1, space_width=32, time_width=16, precision_width=16, heads=2))
config = TrainingConfig(steps={STEPS}, windows=2, window_px=16, frames=6, targets=1, support_days=(60, 100),
    rate=5e-3, warmup=4, uniformity=.05, consistency=.02, student_every=2, log_every=1,
    checkpoint_every={EVERY}, precision='fp32')  # 'auto' may choose otherwise in the other run
frames = synthetic_place(size_px=32, days=120)
torch.optim.AdamW([torch.zeros(1, requires_grad=True)], fused=True).step()  # forks would load it

def die_at_save(moment, count):
    "Kill this process around the count-th renaming of a checkpoint."
    rename, seen = os.replace, [0]
    def replace(source, target):
        seen[0] += 'checkpoint-' in str(target)
        if seen[0] == count and moment == 'before': os.kill(os.getpid(), signal.SIGKILL)
        rename(source, target)
        if seen[0] == count and moment == 'after': os.kill(os.getpid(), signal.SIGKILL)
    os.replace = replace

def run(folder, moment, count, seed):
    "Train in this process; a run that goes on has another untrained model in hand."
    torch.manual_seed(os.getpid() if glob.glob(folder + '/checkpoint-*') else seed)
    if moment != 'random': die_at_save(moment, count)
    train(AlphaEarth(small), [frames], config, out=folder, quiet=True)

print('ready', flush=True)
for line in sys.stdin:
    child, (after_s, *how) = os.fork(), json.loads(line)
    if not child:
        code = 1
        try:
            run(*how)
            code = 0
        finally: os._exit(code)
    if after_s is not None:
        time.sleep(after_s)
        os.kill(child, signal.SIGKILL)      # not waited for yet, so the number is still its own
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
'''


class Server:
    "A process with everything loaded, that forks a runner for each start."
    def __init__(self):
        environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
        self.process = subprocess.Popen([sys.executable, '-c', SERVER], cwd=ROOT, env=environment, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.line() == 'ready'

    def line(self) -> str: return self.process.stdout.readline().strip()

    def run(self, folder, moment:str='random', count:int=0, after_s:float|None=None,
            seed:int=0) -> tuple[int, float]:
        "Train in a process of its own: exit code, and seconds it took."
        began = time.monotonic()
        order = json.dumps([after_s, str(folder), moment, count, seed])
        print(order, file=self.process.stdin, flush=True)
        return int(self.line()), time.monotonic() - began

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=60)


@pytest.fixture(scope='module')
def server():
    server = Server()
    yield server
    server.close()


def digest(folder) -> str:
    "SHA-256 of the weights that a run ended with; the file's texts come in any order."
    from safetensors import safe_open
    total = hashlib.sha256()
    with safe_open(folder/'model.safetensors', 'np') as file:
        for name in sorted(file.keys()): total.update(name.encode() + file.get_tensor(name).tobytes())
    return total.hexdigest()


def logged(folder) -> list[tuple[int, str]]:
    "Every logged total, to the bit."
    lines = [json.loads(line) for line in (folder/'log.jsonl').read_text().splitlines()]
    return [(line['step'], line['total'].hex()) for line in lines]


@pytest.fixture(scope='module')
def uninterrupted(server, tmp_path_factory):
    "A run from beginning to end, and the seconds it took."
    folder = tmp_path_factory.mktemp('uninterrupted')
    code, took_s = server.run(folder)
    assert code == 0
    return folder, took_s


def saved(folder) -> list[int]:
    "Steps of the checkpoints of a run."
    from alphaearth_nb.checkpoints import checkpoints
    return [int(path.stem.partition('-')[2]) for path in checkpoints(folder)]


def test_killed_runs_end_with_the_same_bits(server, uninterrupted, tmp_path):
    "Each kill loses one interval at most, every checkpoint under a final name is whole, and the end agrees."
    from alphaearth_nb.checkpoints import checkpoints
    from alphaearth_nb.model import read_tensors
    whole, took_s = uninterrupted
    rng, killed = random.Random(0), Counter()
    folder, runs = tmp_path/'run-0', 0
    for number in range(4*KILLS):
        if killed.total() == KILLS: break
        moment, before = DIE[number % 3], saved(folder)
        delay = rng.uniform(0, .5*took_s) if moment == 'random' else None
        code, _ = server.run(folder, moment, rng.randint(1, 3), delay)
        killed[moment] += code == -signal.SIGKILL
        assert code in (0, -signal.SIGKILL)
        for path in checkpoints(folder): read_tensors(path)
        assert not before or saved(folder)[-1] >= before[-1]
        if code: continue
        assert digest(folder) == digest(whole) and logged(folder) == logged(whole)
        runs += 1
        folder = tmp_path/f'run-{runs}'
    assert server.run(folder)[0] == 0
    assert digest(folder) == digest(whole)
    assert logged(folder) == logged(whole)
    assert not [path.name for path in folder.iterdir() if path.name.startswith('.')]
    assert killed.total() == KILLS and min(killed[moment] for moment in DIE) > 0


def test_a_damaged_newest_checkpoint_costs_one_interval(server, uninterrupted, tmp_path):
    "The one before it serves, and the end is the same."
    folder, (whole, _) = tmp_path/'run', uninterrupted
    assert server.run(folder, 'after', 5)[0] == -signal.SIGKILL    # after steps 0, 4, 8, 12, 16
    assert saved(folder)[-1] == 4*EVERY
    newest = folder/f'checkpoint-{4*EVERY:07d}.safetensors'
    content = bytearray(newest.read_bytes())
    content[-9] ^= 64
    newest.write_bytes(content)
    assert server.run(folder)[0] == 0
    assert digest(folder) == digest(whole)
    assert logged(folder) == logged(whole)


def test_the_comparison_sees_a_difference(server, uninterrupted, tmp_path):
    "A run from another start ends elsewhere, so the tests above can fail."
    folder, (whole, _) = tmp_path/'run', uninterrupted
    assert server.run(folder, seed=1)[0] == 0
    assert digest(folder) != digest(whole)
    assert logged(folder) != logged(whole)
