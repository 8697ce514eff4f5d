"""From a click to changed pixels: ProbeMap in JupyterLab in a real Chromium, 16 Mpx, ten classes.

The viewport is about a megapixel; the tiles that cover it hold nearly two. What the browser sees of a click
is timed in the browser, from the event to the frame after the last changed tile; the kernel's part and the
whole field in the kernel, each beside a read of the same codes from memory.
"""

import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # idle threads of torch do not spin beside the kernels

import browser
from harness import figure, machine
from playwright.sync_api import sync_playwright

SIDE, CLASSES, CLICKS, RUNS = 4096, 10, 40, 9
PRESS_MS = 60  # that a finger stays on the button; the time of a click begins when it leaves it
VIEW = {'width': 1500, 'height': 1150}
FIELD = f'''
import time
import numpy as np, alphaearth_nb as ae
from alphaearth_nb.codes import quantize
from alphaearth_nb.fields import as_field
from alphaearth_nb.grids import grid_bounds_lonlat, utm_grid, window
side = {SIDE}
rng = np.random.default_rng(0)
centres = np.linalg.qr(rng.normal(size=(64, {CLASSES})))[0].T
codes = np.empty((64, side, side), np.int8)
for top in range(0, side, 256):
    rows, columns = np.mgrid[top:top + 256, :side]
    vectors = centres[(rows//90 + columns//110*3) % {CLASSES}].astype(np.float32)
    vectors += .05*rng.standard_normal((256, side, 64), np.float32)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    codes[:, top:top + 256] = np.moveaxis(quantize(vectors), -1, 0)
grid = window(utm_grid((3.2, 50.9, 3.85, 51.35)), 0, 0, side, side)
attrs = dict(state='codes', model='bench', dataset='', version='', valid_period='2018')
field = as_field(codes, grid, attrs)
'''.strip()
SHOW = f'''
m = ae.ProbeMap(field, 'bench.labels.jsonl', height_px=900)
west, south, east, north = grid_bounds_lonlat(grid)
for number in range({CLASSES}): m.add_class(f'class {{number + 1}}')
for number, (x, y) in enumerate(rng.uniform(.02, .98, ({CLASSES}*4, 2))):
    m.label(west + x*(east - west), north - y*(north - south), number % {CLASSES} + 1)
m.map.zoom = m.live.tiles[m.field].max_zoom
m
'''.strip()
KERNEL = '''
import json
from alphaearth_nb.live_state import LiveState
layer = m.panel._drawn['prediction']
names = sorted(set().union(*layer.looked_at.values()))
tiles = [tuple(map(int, name.split('/'))) for name in names]
read = np.concatenate([m.live.tiles[m.field].codes(*one).ravel() for one in tiles]).view(np.int64)
def once(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
def kernel():
    m.live.state = LiveState()                   # forgets the fit, not the pixels of labels
    m._state = m.live.update()
    for one in tiles: layer.render(*one)
def whole(): m.live.predict(m.field)
m.wait()
found = dict(tiles=len(tiles), bytes=read.nbytes, whole_bytes=codes.nbytes)
for name, work, array in (('kernel', kernel, read), ('whole', whole, codes.reshape(-1).view(np.int64))):
    work()
    pairs = [(once(lambda: array.max()), once(work)) for _ in range(RUNS)]
    found[name] = pairs
print(json.dumps(found))
'''.strip().replace('RUNS', str(RUNS))


TAKEN = "(document.querySelector('.aenb-panel').dataset.takenMs || '').split(' ').filter(Boolean)"
CHOSEN = "document.querySelector('.aenb-class button[aria-pressed=true]').innerText.includes('class {}')"


def clicks(session: browser.Session) -> list[float]:
    "Milliseconds of each click, as the browser saw them."
    shown = session.page.locator('.leaflet-container').first
    shown.scroll_into_view_if_needed()
    for number in range(CLICKS):
        one = number % CLASSES + 1
        session.run(f'm.current = {one}; m.wait()')
        session.wait(CHOSEN.format(one))
        box, (across, down) = (
            shown.bounding_box(),
            (0.1 + 0.8 * (number * share % 1) for share in (0.618, 0.414)),
        )
        session.page.mouse.click(
            box['x'] + across * box['width'], box['y'] + down * box['height'], delay=PRESS_MS
        )
        session.wait(f'{TAKEN}.length > {number}')
    return [float(one) for one in session.page.evaluate(TAKEN)]


with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
    jupyter = browser.Jupyter(Path(folder))
    chromium = playwright.chromium.launch(
        executable_path=browser.program(), args=browser.FLAGS, headless=True
    )
    session = browser.Session(jupyter, chromium, 'lab')
    try:
        session.page.set_viewport_size(VIEW)
        session.open([FIELD, SHOW], 'bench')
        session.sidebar(False)
        session.run_all()
        session.wait(
            "document.querySelectorAll('canvas[data-layer=prediction][data-version]').length >= 16"
        )
        session.run('m.wait()')
        size = session.page.locator('.leaflet-container').first.bounding_box()
        milliseconds = sorted(clicks(session))
        found = json.loads(session.run(KERNEL))
    finally:
        session.close()
        chromium.close()
        jupyter.stop()

megapixels = size['width'] * size['height'] / 1e6
name = f'click to changed pixels, {megapixels:.2f} Mpx, {found["tiles"]} tiles, {CLASSES} classes'
figure(name, 'ms', milliseconds)
figure(f'{name}, 95 of 100', 'ms', [statistics.quantiles(milliseconds, n=20)[-1]])
for part, words, amount in (
    ('kernel', f'fit and {found["tiles"]} tiles in the kernel', found['tiles'] * 65536 / 1e6),
    ('whole', f'whole field of {SIDE}×{SIDE} px', SIDE * SIDE / 1e6),
):
    seconds = [second for _, second in found[part]]
    shares = [before / second for before, second in found[part]]
    figure(
        words,
        'ms',
        [1000 * second for second in seconds],
        shares,
        'of one read of the same codes by one thread (1: as fast as reading)',
    )
