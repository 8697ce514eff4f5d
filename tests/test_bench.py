"""The benchmark harness counts right and says what failed. No test asserts a time."""
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pages import ROOT

BENCH = ROOT/'tests'/'bench'


@pytest.fixture
def harness(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    import harness
    return harness


def test_measure_alternates_with_the_calibration(harness):
    "Warm-ups come first; then one run of the calibration before each run of the work."
    done = []
    calibration = harness.Calibration(name='c', work=lambda: done.append('c'), amount=1, unit='1/s')
    measured = harness.measure(lambda: done.append('w'), calibration, runs=3, warmup=1)
    assert done == ['c', 'w']*4
    assert len(measured.seconds) == len(measured.reference) == 3


def test_ratios_are_taken_run_by_run(harness):
    "A machine that slows down in the middle changes the rates, not the ratios."
    calibration = harness.Calibration(name='c', work=None, amount=10, unit='GB/s')
    measured = harness.Measured((1., 2., 4.), (2., 4., 8.), calibration)
    assert measured.rates(8) == [8, 4, 2]
    assert measured.shares(8) == [8/5]*3     # 8 a second where the calibration makes 5
    assert measured.times() == [.5]*3


def test_rates_of_one_core_are_of_processor_time(harness):
    "Waiting for a core that another program has changes the rate, not what a core does."
    calibration = harness.Calibration(name='c', work=None, amount=10, unit='GB/s')
    measured = harness.Measured((5., 9.), (7., 8.), calibration, (2., 4.), (1., 2.))
    assert measured.per_core(8) == [4, 2] and measured.core_shares(8) == [.4, .4]
    waited = harness.measure(lambda: time.sleep(.01), calibration=None, runs=2, warmup=0)
    assert all(cpu < second for cpu, second in zip(waited.cpu, waited.seconds))


def test_figures_are_lines_of_json(harness, capsys):
    harness.figure('speed', 'px/s', [3, 1, 2], [.3, .1, .2], 'of light')
    line = json.loads(capsys.readouterr().out)
    assert (line['median'], line['min'], line['max'], line['runs'], line['ratio']) == (2, 1, 3, 3, .2)
    assert line['versions']['python'] and line['machine']


def run_all(folder:Path) -> subprocess.CompletedProcess:
    command = [sys.executable, BENCH/'run_all.py', '--folder', folder, '--out', folder/'bench.json']
    return subprocess.run(list(map(str, command)), capture_output=True, text=True)


GOOD = 'from harness import figure\nfigure("speed", "px/s", [3, 1, 2])\n'


def test_run_all_prints_a_table_and_writes_the_figures(tmp_path):
    (tmp_path/'bench_good.py').write_text(GOOD)
    done = run_all(tmp_path)
    assert done.returncode == 0, done.stderr
    head, row = done.stdout.splitlines()
    assert head.split() == ['figure', 'unit', 'median', 'spread', 'core', 'ratio', 'to']
    assert row.split()[:3] == ['speed', 'px/s', '2']
    assert [line['bench'] for line in json.loads((tmp_path/'bench.json').read_text())] == ['bench_good']


def test_run_all_goes_on_after_a_failure_and_says_so(tmp_path):
    (tmp_path/'bench_bad.py').write_text('raise RuntimeError("no luck")')
    (tmp_path/'bench_good.py').write_text(GOOD)
    (tmp_path/'bench_mute.py').write_text('')
    done = run_all(tmp_path)
    assert done.returncode == 1
    assert 'speed' in done.stdout
    assert 'no luck' in done.stderr and 'bench_mute.py gave no figure' in done.stderr


# ---- the page of the site

@pytest.fixture
def table(harness):
    import table
    return table


@pytest.fixture
def told(table) -> dict: return json.loads(table.FIGURES.read_text(encoding='utf-8'))


def test_the_page_says_what_was_measured(table, told):
    "Both come from one command; a number changed in one of them only is seen here."
    assert table.page(told) == table.PAGE.read_text(encoding='utf-8'), f'run: {table.COMMAND} --page'


def test_the_ablations_say_what_was_measured(monkeypatch):
    "Page and figures come from one command; every variant has its three seeds."
    monkeypatch.syspath_prepend(str(ROOT/'tests'/'studies'))
    import ablations
    told = json.loads(ablations.FIGURES.read_text(encoding='utf-8'))
    assert ablations.page(told) == ablations.PAGE.read_text(encoding='utf-8'), 'run: ablations.py --page'
    made = [(run['variant'], run['seed']) for run in told['runs']]
    assert sorted(made) == sorted((one.name, seed) for one in ablations.VARIANTS for seed in ablations.SEEDS)


def test_the_figures_are_whole(table, told):
    "Every target that something can be measured for has its figure, and figures come from runs."
    wanted = [target for target in table.TARGETS if target.figure]
    assert [target.what for target in wanted if table.figure_of(target, told) is None] == []
    assert {line['bench'] for line in told['figures']} == set(table.BENCHES)
    for line in told['figures']: assert 0 < line['min'] <= line['median'] <= line['max'] and line['runs'] >= 1
    timed = [target for target in wanted if target.unit != 'MB']          # a peak of memory is of one process
    for target in timed: assert table.figure_of(target, told)['runs'] >= 5


@pytest.mark.parametrize('least, value, words', [
    (True, 9, 'misses it: 90% of the target'), (True, 10, 'reaches the target'),
    (True, 20, 'reaches the goal'),
    (False, 12.5, 'misses it: 80% of the target'), (False, 10, 'reaches the target'), (False, 5, 'the goal')])
def test_a_miss_is_called_a_miss(table, least, value, words):
    target = table.Target('x', 'x', 's', 10, 20 if least else 5, least)
    assert words in table.verdict(target, value)


def test_one_benchmark_again_replaces_its_own_figures_only(table, told):
    "A run that was stopped goes on with `--only`; the others stay as they were."
    new = {'figure': 'a', 'unit': 's', 'median': 1, 'min': 1, 'max': 1, 'runs': 5, 'bench': table.BENCHES[1]}
    found = table.put(told, table.BENCHES[1], [new])
    assert [line['figure'] for line in found['figures'] if line['bench'] == table.BENCHES[1]] == ['a']
    others = [[line for line in lines if line['bench'] != table.BENCHES[1]]
              for lines in (found['figures'], told['figures'])]
    assert others[0] == others[1] and set(told) == set(found)


def test_what_was_not_measured_says_so(table, told):
    rows = table.page(told | {'figures': []}).splitlines()
    aims = [line for line in rows if line.startswith(tuple(f'| {target.what}, ' for target in table.TARGETS))]
    assert len(aims) == len(table.TARGETS) and all('not measured' in line for line in aims)
