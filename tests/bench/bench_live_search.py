"""From a click to the picture: SearchMap in JupyterLab in a real Chromium, and another pair of ChangeMap.

A click of SearchMap is timed in the browser, from the event to the frame after the last changed tile; the
map shows the whole field. A pair of ChangeMap is timed in the kernel, from the change of a trait until all
that follows from it is there; pairs that were seen before are kept and only sent again.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # idle threads of torch do not spin beside the kernels

import browser
from harness import figure
from playwright.sync_api import sync_playwright

SIDES, CLASSES, CLICKS, YEARS = (512, 2048), 10, 16, 4
VIEW = {'width': 1500, 'height': 1150}
FIELD = f'''
import time
import numpy as np, alphaearth_nb as ae
from alphaearth_nb.codes import quantize
from alphaearth_nb.fields import as_field
from alphaearth_nb.grids import utm_grid, window
from alphaearth_nb.labels import LabelSet
rng = np.random.default_rng(0)
centres = np.linalg.qr(rng.normal(size=(64, {CLASSES})))[0].T
def made(side, year, noise=.1):
    rows, columns = np.mgrid[:side, :side]
    vectors = centres[(rows//90 + columns//110*3) % {CLASSES}].astype(np.float32)
    vectors += noise*rng.standard_normal(vectors.shape, np.float32)
    vectors[:60, :20*year] = centres[0]
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    codes = np.ascontiguousarray(np.moveaxis(quantize(vectors), -1, 0))
    attrs = dict(state='codes', model='bench', dataset='', version='', valid_period=str(2017 + year))
    return as_field(codes, window(utm_grid((3.2, 50.9, 3.85, 51.35)), 0, 0, side, side), attrs)
'''.strip()
PAIRS = f'''
import itertools, json
def once(work):
    start = time.perf_counter()
    work()
    m.wait()
    return 1000*(time.perf_counter() - start)
def look(pair): m.between = pair
pairs = [one for one in itertools.combinations(m.years, 2) if [*one] != m.between]
m.wait()
first = [once(lambda: look(pair)) for pair in pairs]
seen = [once(lambda: look(pairs[-1 - turn % 2])) for turn in range(1, 7)]   # two in turns
print(json.dumps(dict(first=first, seen=seen)))
'''.strip()
TAKEN = "(document.querySelector('.aenb-panel').dataset.takenMs || '').split(' ').filter(Boolean)"


def clicks(session: browser.Session) -> list[float]:
    "Milliseconds of each click but the first, which compiles, as the browser saw them."
    shown = session.page.locator('.leaflet-container').first
    shown.scroll_into_view_if_needed()
    box = shown.bounding_box()
    for number in range(CLICKS):
        session.run('m.says = ' + repr(('like this', 'unlike this')[number % 3 == 2]) + '; m.wait()')
        across, down = (0.3 + 0.4 * (number * share % 1) for share in (0.618, 0.414))
        session.page.mouse.click(box['x'] + across * box['width'], box['y'] + down * box['height'])
        session.wait(f'{TAKEN}.length > {number}')
    return [float(one) for one in session.page.evaluate(TAKEN)][1:]


def opened(session: browser.Session, cell: str, name: str, drawn: str) -> None:
    session.page.set_viewport_size(VIEW)
    session.open([FIELD, cell], name)
    session.sidebar(False)
    session.run_all()
    session.wait(f"document.querySelector('{drawn}')")
    session.run('m.wait()')


def measure(side: int, session: browser.Session) -> None:
    "Figures of a field of this side."
    opened(session, f'm = ae.SearchMap(made({side}, 0), LabelSet(), height_px=900)\nm',
           f'search{side}', 'canvas[data-version]')
    figure(f'SearchMap, click to picture, {side}×{side} px', 'ms', clicks(session))
    years = f'{{str(2017 + year): made({side}, year) for year in range({YEARS})}}'
    opened(session, f'm = ae.ChangeMap({years}, height_px=900)\nm', f'change{side}',
           'canvas[data-layer=change][data-version]')
    found = json.loads(session.run(PAIRS))
    figure(f'ChangeMap, a pair of years, {side}×{side} px', 'ms', found['first'])
    figure(f'ChangeMap, a pair that was seen before, {side}×{side} px', 'ms', found['seen'])


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        jupyter = browser.Jupyter(Path(folder))
        chromium = playwright.chromium.launch(
            executable_path=browser.program(), args=browser.FLAGS, headless=True
        )
        session = browser.Session(jupyter, chromium, 'lab')
        try:
            for side in SIDES: measure(side, session)
        finally:
            session.close()
            chromium.close()
            jupyter.stop()


if __name__ == '__main__': main()
