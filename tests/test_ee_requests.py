"""Requests cover what they are for exactly once, obey every limit, and are repeated where that may help."""
import itertools
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphaearth_nb.ee_requests import (LIMITS, MOST_AT_ONCE, EarthEngineError, Limits, RequestTooLarge,
                                       Waiting, ask, halve, request_bytes, run_requests, split_grid)
from alphaearth_nb.grids import utm_grid


def counts(shape:tuple[int, int], windows:list) -> np.ndarray:
    "How often each pixel is covered, on the grid that the edges of the windows make up."
    rows = sorted({0, shape[0], *(edge for top, _, height, _ in windows for edge in (top, top + height))})
    columns = sorted({0, shape[1], *(edge for _, left, _, width in windows for edge in (left, left + width))})
    found = np.zeros((len(rows) - 1, len(columns) - 1), int)
    row_of, column_of = ({edge: at for at, edge in enumerate(edges)} for edges in (rows, columns))
    for top, left, height, width in windows:
        found[row_of[top]:row_of[top + height], column_of[left]:column_of[left + width]] += 1
    return found


regions = st.tuples(st.floats(-179, 178), st.floats(-79, 83), st.floats(1e-4, 1), st.floats(1e-4, 1))
limits = st.builds(Limits, bytes=st.integers(2**17, LIMITS.bytes), side_px=st.integers(64, 32_000))


@settings(max_examples=1000)
@given(regions, st.sampled_from([2.5, 10, 20, 160, 1280]), limits,
       st.sampled_from([(64, 1), (64, 8), (3, 4), (1, 8), (1024, 1)]))
def test_requests_cover_a_region_exactly_once_and_obey_every_limit(region, pixel_m, own, numbers):
    "A thousand random places, latitudes, zooms and limits."
    west, south, width, height = region
    grid = utm_grid((west, south, west + width, min(84, south + height)), pixel_m)
    (bands, item_bytes), shape = numbers, tuple(grid.shape)
    most_px = own.bytes//request_bytes(1, bands, item_bytes)
    if shape[0]*shape[1] > 2000*most_px: shape = tuple(min(side, 40*int(most_px**.5) + 7) for side in shape)
    windows = split_grid(*shape, bands, item_bytes, own)
    assert (counts(shape, windows) == 1).all()
    for _, _, height, width in windows:
        assert 1 <= height <= own.side_px and 1 <= width <= own.side_px
        assert height*width*bands*(item_bytes + 1) <= own.bytes <= 50_331_648


@settings(max_examples=50)
@given(st.integers(1, 700), st.integers(1, 700), st.integers(16, 200))
def test_halves_cover_their_window_and_end(height, width, smallest):
    left, done = [(7, 9, height, width)], []
    while left:
        window = left.pop()
        halves = halve(window, smallest)
        left += halves
        if not halves: done.append(window)
    moved = [(row - 7, column - 9, *size) for row, column, *size in done]
    assert (counts((height, width), moved) == 1).all()
    assert all(max(size) < 2*smallest for _, _, *size in done)
    assert all(min(size) >= min(smallest, height, width) for _, _, *size in done)


def test_a_full_request_of_codes_is_627_pixels_wide():
    "With the mask byte counted; 628 would be refused."
    assert split_grid(627, 627, 64, 1) == [(0, 0, 627, 627)] and len(split_grid(628, 628, 64, 1)) > 1


class Clock:
    "Time that passes only where somebody sleeps or works."
    def __init__(self): self.now, self.slept = 0., []
    def __call__(self) -> float: return self.now
    def sleep(self, seconds:float) -> None: self.slept.append(seconds); self.now += seconds


@given(st.lists(st.floats(0, 100), min_size=20, max_size=20), st.floats(0, 1), st.integers(1, 8))
def test_waiting_is_bounded(takes, jitter, tries):
    "However long the tries take: eight at most, none begun after five minutes, pauses in their limits."
    clock, calls = Clock(), []

    def call():
        calls.append(clock.now)
        clock.now += takes[len(calls) - 1]
        raise ConnectionResetError('cut')

    waiting = Waiting(tries=tries, sleep=clock.sleep, clock=clock, jitter=lambda: jitter)
    with pytest.raises(EarthEngineError, match='not answering after'): ask(call, waiting)
    assert 1 <= len(calls) <= tries <= 8 and calls[-1] < 300 and max(clock.slept, default=0) <= 60
    assert all(.5*2**at <= pause <= 2**at for at, pause in enumerate(clock.slept) if at < 6)


def test_a_try_may_last_no_longer_than_what_is_left_in_all():
    "An answer may take two minutes, but not the two after the fourth: the end is the end of all of it."
    done = threading.Event()
    try:
        with pytest.raises(EarthEngineError, match=r'after 1 tries \(no whole answer within 0\.2 s'):
            ask(lambda: done.wait(20), Waiting(total_s=.2, answer_s=5))
    finally: done.set()


@settings(max_examples=50)
@given(st.integers(1, 500), st.integers(1, 500), st.integers(1, 40), st.integers(64*64, 300*300))
def test_parts_are_complete_whatever_the_service_can_compute(height, width, at_once, memory_px):
    "Every pixel once, or a clear error; never a part left out."
    def call(window):
        if window[2]*window[3] > memory_px: raise EEException('User memory limit exceeded.')
        return window

    own = Limits(bytes=128*250*250, at_once=at_once)
    windows = split_grid(height, width, 64, 1, own)
    try: found = [*run_requests(windows, call, halve, own)]
    except RequestTooLarge:
        assert memory_px < 127*127
        return
    assert (counts((height, width), [part for part, _ in found]) == 1).all()
    assert all(part == answer for part, answer in found)


class EEException(Exception): "Named as the client's own."


def test_no_more_requests_are_under_way_than_are_allowed():
    "However many pools there are: the service counts for the project."
    running, most, lock = [0], [0], threading.Lock()

    def call(part):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(.2)
        with lock: running[0] -= 1

    own = Limits(at_once=MOST_AT_ONCE)
    pools = [threading.Thread(target=lambda: [*run_requests(range(60), call, list, own)]) for _ in range(3)]
    for pool in pools: pool.start()
    for pool in pools: pool.join()
    assert most[0] == MOST_AT_ONCE


def test_after_a_failure_nothing_more_is_asked():
    asked = itertools.count()

    def call(part):
        if next(asked) == 3: raise EEException('no permission')

    with pytest.raises(EarthEngineError, match='no permission'):
        [*run_requests(range(500), call, list, Limits(at_once=1))]
    time.sleep(.3)                                       # whoever went on would have been seen
    assert next(asked) < 10
