"""Two processes take the step that one takes with the same batch: really two, over gloo on this machine."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pages import ROOT
from safetensors.torch import load_file

PROGRAM = ROOT/'tests'/'train_ranks.py'


def start(folder: Path, processes: int) -> Path:
    "Run the program in so many processes; where it wrote."
    folder.mkdir()
    torchrun = ['-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={processes}']
    paths = os.pathsep.join([str(ROOT/'tests'), str(ROOT)])
    done = subprocess.run([sys.executable, *(torchrun if processes > 1 else []), str(PROGRAM), str(folder)],
                          env=os.environ | {'PYTHONPATH': paths, 'OMP_NUM_THREADS': '1'},
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope='module')
def runs(tmp_path_factory) -> dict[int, Path]:
    "What one process wrote, and two."
    folder = tmp_path_factory.mktemp('ranks')
    return {count: start(folder/str(count), count) for count in (1, 2)}


@pytest.mark.parametrize('step', [0, 1])
def test_gradients_are_those_of_one_process(runs, step):
    "Losses were means of each process's means, and uniformity never met the rows of the others."
    alone = load_file(runs[1]/f'step-{step}-rank-0.safetensors')
    rounding = 1e-6*max(gradient.abs().max().item() for gradient in alone.values())
    for rank in (0, 1):
        shared = load_file(runs[2]/f'step-{step}-rank-{rank}.safetensors')
        assert set(shared) == set(alone)
        assert {'loss text', 'loss distill', 'text.log_scale'} < set(alone)
        for name, gradient in alone.items():
            torch.testing.assert_close(shared[name], gradient, rtol=1e-5, atol=rounding,
                                       msg=lambda text, name=name: f'{name}: {text}')


def test_training_goes_the_same_way(runs):
    "Whitened, four steps, a checkpoint between: the log of the first process, written once."
    alone, *shared = (json.loads((folder/f'log-{rank}.json').read_text())
                      for folder, rank in ((runs[1], 0), (runs[2], 0), (runs[2], 1)))
    assert len(alone) == 4
    for log in shared: assert log == pytest.approx(alone, rel=1e-3)
    assert [len((runs[count]/'run'/'log.jsonl').read_text().splitlines()) for count in (1, 2)] == [4, 4]
    names = [sorted(path.name for path in (runs[count]/'run').rglob('*')) for count in (1, 2)]
    assert names[0] == names[1]


def test_one_more_process_than_rows(tmp_path):
    with pytest.raises(AssertionError, match='Try windows=6'): start(tmp_path/'three', 3)
