"""Kernels are right wherever they are called from: threads, a forked process, a folder that is not theirs."""
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from pages import PACKAGE

from alphaearth_nb import codes as page
from alphaearth_nb.codes import best_class, dequantize, in_pieces, linear_scores, quantize

LIMIT_S = 120


@pytest.fixture(scope='module')
def task():
    "Codes (64, n), weights and offset, and what comes out of them."
    rng = np.random.default_rng(0)
    codes = np.clip(np.rint(rng.standard_normal((64, 60_001))*16), -127, 127).astype(np.int8)
    codes[:, ::17] = -128
    weights, offset = rng.standard_normal((5, 64)), rng.standard_normal(5)
    return codes, weights, offset, everything(codes, weights, offset)


def everything(codes, weights, offset):
    vectors, scores = dequantize(codes.T), linear_scores(codes, weights, offset)
    return (*best_class(codes, weights, offset), scores, vectors, quantize(vectors))


def same(found, wanted):
    for one, other in zip(found, wanted, strict=True): np.testing.assert_array_equal(one, other)


# ---- threads

def test_results_do_not_depend_on_the_number_of_threads(task, monkeypatch):
    *inputs, wanted = task
    monkeypatch.setattr(page.os, 'cpu_count', lambda: 1)
    same(everything(*inputs), wanted)
    monkeypatch.setattr(page.os, 'cpu_count', lambda: 7)
    same(everything(*inputs), wanted)


def test_several_callers_at_once(task):
    *inputs, wanted = task
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: everything(*inputs), range(8)): same(found, wanted)


def test_the_first_call_may_come_from_several_threads(task):
    "All of them compile, or wait; none gets a kernel that is half made."
    *inputs, wanted = task
    page._compiled.cache_clear()
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: everything(*inputs), range(4)): same(found, wanted)


def test_an_error_in_a_piece_reaches_the_caller():
    def work(first, stop):
        if first == 30: raise ValueError('no luck')
    with pytest.raises(ValueError, match='no luck'): in_pieces(work, 100, piece=10)


# ---- fork

def _child(inputs, wanted, answer):
    try:
        same(everything(*inputs), wanted)
        answer.put('same')
    except BaseException as error: answer.put(repr(error))


@pytest.mark.filterwarnings('ignore:.*multi-threaded.*fork')
def test_a_forked_process_goes_on_calling(task):
    "Also one that was forked while another thread was in the middle of a call."
    *inputs, wanted = task
    stop = threading.Event()
    def busy():
        while not stop.is_set(): best_class(*inputs)
    other = threading.Thread(target=busy)
    other.start()
    context = multiprocessing.get_context('fork')
    try:
        for _ in range(3):
            answer = context.SimpleQueue()
            child = context.Process(target=_child, args=(inputs, wanted, answer))
            child.start()
            child.join(LIMIT_S)
            alive = child.is_alive()
            if alive: child.kill()
            assert not alive and answer.get() == 'same'
    finally:
        stop.set()
        other.join()
    same(everything(*inputs), wanted)


# ---- where the machine code is kept

CALL = '''
import json, sys
import numpy as np
from alphaearth_nb import codes as page
planar = np.arange(64*5000).reshape(64, 5000).astype(np.int8)
planar[planar == -128] = 1
best, margin = page.best_class(planar, np.eye(64)[:3], np.zeros(3))
kept = page._compiled(page._sum_products, True) if sys.argv[1:] == ['hits'] else None
hits = sum(kept.stats.cache_hits.values()) if kept else 0
print(json.dumps({'best': best[:50].tolist(), 'hits': hits, 'file': page.__file__}))
'''


def call(env, *arguments, folder=PACKAGE.parent, limit=''):
    "The answer of a new process."
    command = [sys.executable, '-c', limit + CALL, *arguments]
    env = os.environ | {'PYTHONPATH': str(folder)} | env
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=LIMIT_S, cwd=folder)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_machine_code_is_kept_and_may_be_damaged(tmp_path):
    env = {'NUMBA_CACHE_DIR': str(tmp_path)}
    first = call(env, 'hits')
    assert first['hits'] == 0 and call(env, 'hits') == first | {'hits': 1}
    for ending in ('nbc', 'nbi'):
        files = list(tmp_path.rglob(f'*.{ending}'))
        assert files
        for path in files: path.write_bytes(path.read_bytes()[:20])
        assert call(env)['best'] == first['best']


def test_no_folder_can_be_written(tmp_path):
    "A package that belongs to somebody else, in a home that cannot be written: compiled each time."
    shutil.copytree(PACKAGE, tmp_path/'alphaearth_nb', ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('alphaearth_nb/__pycache__', 'home'): (tmp_path/name).write_text('no folder')
    home = str(tmp_path/'home')
    env = {'HOME': home, 'XDG_CACHE_HOME': home, 'PYTHONDONTWRITEBYTECODE': '1'}
    found = call(env, folder=tmp_path)
    assert found['file'].startswith(str(tmp_path)) and found['best'] == call({})['best']


def test_the_disk_is_full(tmp_path):
    "Nothing can be written to the folder, although it is there."
    limit = 'import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n'
    assert call({'NUMBA_CACHE_DIR': str(tmp_path)}, limit=limit)['best'] == call({})['best']
