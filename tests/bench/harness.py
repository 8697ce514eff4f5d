"""Measures figures so that they mean something on a busy machine: medians of several runs, with their
spread, as a ratio to a calibration whose runs alternate with theirs, and per second of processor time,
which is what one core does while it is not taken away.

A benchmark is a program `bench_*.py` that prints one JSON line a figure; `run_all.py` runs them all.
"""
import json
import os
import platform
import re
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

RUNS, WARMUP, THREADS = 7, 2, 2
MATRIX, READ_BYTES = 4096, 1 << 30
LIBRARIES = ('alphaearth_nb', 'torch', 'numpy', 'numba', 'rasterio', 'xarray')


@dataclass(frozen=True, kw_only=True)
class Calibration:
    "Work of known size that tells how fast the machine is right now."
    name:str               # what a ratio is a share of
    work:Callable          # does it once
    amount:float           # size of it in `unit` seconds
    unit:str               # of the rate


def matmul(kind:str='bf16', size:int=MATRIX) -> Calibration:
    "One product of two square matrices in torch, 'bf16' or 'fp32'."
    import torch
    torch.set_num_threads(THREADS)
    dtype = {'bf16': torch.bfloat16, 'fp32': torch.float32}[kind]
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(size, size, generator=generator).to(dtype) for _ in range(2))
    out = torch.empty(size, size, dtype=dtype)
    return Calibration(name=f'{kind} matmul {size}³, {THREADS} threads', unit='GFLOP/s', amount=2*size**3/1e9,
                       work=lambda: torch.mm(left, right, out=out))


def memory_read(size:int=READ_BYTES, threads:int=THREADS) -> Calibration:
    "One sum over memory that no cache holds."
    import torch
    torch.set_num_threads(threads)
    values = torch.ones(size//4)
    return Calibration(name=f'memory read, {threads} threads', unit='GB/s', amount=values.nbytes/1e9,
                       work=values.sum)


@dataclass(frozen=True)
class Measured:
    "Seconds of each run, and of the calibration's run just before it; of the clock, and of all processors."
    seconds:tuple[float, ...]
    reference:tuple[float, ...]
    calibration:Calibration|None
    cpu:tuple[float, ...] = ()
    cpu_reference:tuple[float, ...] = ()

    def rates(self, amount:float) -> list[float]:
        "Amount a second, of each run."
        return [amount/second for second in self.seconds]

    def shares(self, amount:float) -> list[float]:
        "Rate of each run as a share of the calibration's; `amount` is in the calibration's measure."
        pairs = zip(self.rates(amount), self.reference)
        return [rate/(self.calibration.amount/second) for rate, second in pairs]

    def per_core(self, amount:float) -> list[float]:
        "Amount a second of processor time, of each run."
        return [amount/second for second in self.cpu]

    def core_shares(self, amount:float) -> list[float]:
        "The same as a share of the calibration's."
        pairs = zip(self.per_core(amount), self.cpu_reference)
        return [rate/(self.calibration.amount/second) for rate, second in pairs]

    def times(self) -> list[float]:
        "Time of each run as a multiple of the calibration's."
        return [second/before for second, before in zip(self.seconds, self.reference)]


def seconds_of(work:Callable) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def both_seconds(work:Callable) -> tuple[float, float]:
    "Seconds of the clock and of all processors of this process."
    start = time.process_time()
    seconds = seconds_of(work)
    return seconds, time.process_time() - start


def measure(work:Callable, calibration:Calibration|None=None, runs:int=RUNS, warmup:int=WARMUP) -> Measured:
    "Time some work, each run right after one of the calibration."
    for _ in range(warmup):
        if calibration: calibration.work()
        work()
    done, before = [], []
    for _ in range(runs):
        if calibration: before.append(both_seconds(calibration.work))
        done.append(both_seconds(work))
    (seconds, cpu), (reference, cpu_reference) = zip(*done), zip(*before) if before else ((), ())
    return Measured(seconds, reference, calibration, cpu, cpu_reference)


def peak_memory_mb() -> float:
    "Most memory that this process has held so far."
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1000


def machine() -> str:
    "Processor, cores and load, in words."
    try: names = re.findall(r'^model name\s*: (.*)$', Path('/proc/cpuinfo').read_text(), re.M)
    except OSError: names = []
    name, load = (names or [platform.machine()])[0], os.getloadavg()[0]
    return f'{name}, {os.cpu_count()} cores, load {load:.1f}'


def versions() -> dict[str, str]:
    "Versions of what the figures depend on."
    found = {'python': platform.python_version()}
    for name in LIBRARIES:
        try: found[name] = metadata.version(name)
        except metadata.PackageNotFoundError: pass
    return found


def figure(name:str, unit:str, values:Sequence[float], ratios:Sequence[float]=(), to:str='',
           per_core:Sequence[float]=()) -> dict:
    "Print one figure as a line of JSON: median and spread of the values, median ratio and what it is to."
    line = {'figure': name, 'unit': unit, 'median': statistics.median(values), 'min': min(values),
            'max': max(values), 'runs': len(values), 'ratio': statistics.median(ratios) if ratios else None,
            'to': to, 'per_core': statistics.median(per_core) if per_core else None,
            'machine': machine(), 'versions': versions()}
    print(json.dumps(line, ensure_ascii=False), file=sys.stdout, flush=True)
    return line


def figure_of_rate(name:str, measured:Measured, mega:float, bytes_each:float) -> dict:
    "Print a rate of millions of pixels, its share of the calibration by processor time, what a core does."
    shares = measured.core_shares(bytes_each*mega/1e3)
    return figure(name, 'Mpx/s', measured.rates(mega), shares,
                  f'of {measured.calibration.name}, in processor time (bytes read and written)',
                  measured.per_core(mega))


def figure_of_calibration(calibration:Calibration, measured:Measured) -> dict:
    "The calibration's own rate in this run, so that a reader sees what the ratios stand on."
    rates = [calibration.amount/second for second in measured.reference]
    cores = [calibration.amount/second for second in measured.cpu_reference]
    return figure(calibration.name, calibration.unit, rates, per_core=cores)
