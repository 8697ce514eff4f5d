"""SearchMap as people use it, in JupyterLab: clicks, the threshold, places, keys; light and dark.

What is on the screen is what Python says, the threshold is answered without asking, nobody else is asked for
anything. Pictures of it go to build/screenshots.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from browser import ROOT
from maps_on_screen import FIELDS, PAINTED, focus, ours, pixel, place
from PIL import Image

SEARCH = """
from alphaearth_nb.labels import LabelSet
from alphaearth_nb.search_map import SearchMap
from alphaearth_nb.searching import search
"""
SHOWN = "document.querySelector('canvas[data-layer=similarity][data-version]')"
SCORED = "document.querySelector('.aenb-threshold-part:not([hidden])')"
WISCONSIN = ROOT.parent / 'shared' / 'data' / 'aef_wisconsin_2024_32616_10m.tif'


def start(lab, name: str, cell: str = 'm = SearchMap(a, LabelSet())\nm', theme: str = 'light') -> None:
    "A field and its search in this theme."
    lab.open([FIELDS + SEARCH, cell], name)
    lab.theme(theme)
    lab.sidebar(False)
    lab.run_all()
    lab.page.locator('.leaflet-container').first.scroll_into_view_if_needed()
    lab.wait(PAINTED.format(1))


def click(lab, across: float, down: float, count: int, **words) -> None:
    "Click the map, and wait until the example is kept."
    lab.page.mouse.click(*place(lab, across, down), **words)
    lab.until(f'len(m.examples) == {count}')
    lab.page.mouse.move(5, 5)
    lab.page.wait_for_timeout(400)  # what comes sooner is a double click to the browser, too


def hits_on_screen(lab) -> np.ndarray:
    "Which of some places of the field look like hits: blue, where all else is grey."
    rows, columns = np.meshgrid(np.arange(0.06, 1, 0.11), np.arange(0.06, 1, 0.11), indexing='ij')
    seen = [pixel(lab, x, y, 'similarity') for y, x in zip(rows.ravel(), columns.ravel())]
    return np.array([one[2] - one[0] > 30 for one in seen]).reshape(rows.shape)


def hits_in_python(lab) -> np.ndarray:
    said = lab.run(
        'import json; at = (np.arange(.06, 1, .11)*96).astype(int); '
        'print(json.dumps(m.search.hits().values[np.ix_(at, at)].tolist()))'
    )
    return np.array(json.loads(said))


def test_search_by_clicking(lab):
    """A click beside the field leaves nothing behind, counter-examples alone find nothing; then one click, a
    wrong one ruled out, steps back and forth, restart: the screen is what Python says."""
    start(lab, 'search', "m = SearchMap(a, 'search.jsonl')\nm")
    assert lab.page.inner_text('.aenb-line') == 'Click a place that looks like what you search for.'
    lab.page.mouse.click(*place(lab, -0.05, 0.5))
    lab.wait("document.querySelector('.aenb-line').textContent.includes('off the field')")
    lab.wait("!document.querySelector('.aenb-ring')")
    lab.page.click('[data-value="unlike this"]')
    click(lab, 0.5, 0.25, 1)
    lab.wait("document.querySelector('.aenb-line').textContent.startsWith('Only what you do not')")
    lab.page.keyboard.down('Shift')
    click(lab, 0.5, 0.25, 0)
    lab.page.keyboard.up('Shift')
    lab.wait("document.querySelector('.aenb-line').textContent.startsWith('Click a place')")
    focus(lab)
    lab.page.keyboard.press('p')
    lab.until("m.says == 'like this'")
    click(lab, 0.25, 0.75, 1)
    lab.wait(SHOWN)
    lab.wait(SCORED)
    assert (hits_on_screen(lab) == hits_in_python(lab)).all()
    lab.wait("document.querySelectorAll('.aenb-signs span').length === 1")
    assert not lab.page.locator('.aenb-ring').count()
    focus(lab)
    lab.page.keyboard.press('n')
    lab.until("m.says == 'unlike this'")
    click(lab, 0.75, 0.75, 2)
    lab.until("m.panel.counts == [1, 1] and m.search.theirs.size == 1")
    lab.run('m.threshold = .35')
    lab.wait("document.querySelector('.aenb-score').textContent === '0.350'")
    lab.until("len(m.wait().panel.places) > 3")
    lab.until("m.panel._drawn['similarity'].painted == m.panel.facts['version']")
    seen = hits_in_python(lab)
    assert (hits_on_screen(lab) == seen).all() and seen[5:, :4].all() and not seen[:, 5:].any()
    lab.page.keyboard.press('u')
    lab.until('m.panel.counts == [1, 0]')
    lab.page.keyboard.press('r')
    lab.until('m.panel.counts == [1, 1]')
    lab.page.mouse.dblclick(*place(lab, 0.5, 0.25))
    lab.until('m.examples.redo() and m.examples.undo() and len(m.wait().examples) == 2')   # it was taken back
    lab.restart_kernel(run_all=True)
    lab.wait(SCORED)
    assert lab.run('print(m.wait().panel.counts)') == '[1, 1]'
    assert not ours(lab)
    lab.assert_offline()


def test_the_threshold_is_answered_in_the_browser(lab):
    "While the kernel is busy, picture and numbers follow the slider; then Python says the same. Then places."
    start(lab, 'threshold')
    click(lab, 0.25, 0.75, 1)
    click(lab, 0.15, 0.65, 2)
    lab.wait(SCORED)
    lab.until("m.wait().panel.places")
    before = hits_on_screen(lab)
    lab.run("lock = m._lock; lock.acquire()")
    try:
        said = lab.page.inner_text('.aenb-said')
        lab.page.locator('.aenb-threshold').focus()
        for _ in range(3): lab.page.keyboard.press('PageDown')
        lab.wait(f'document.querySelector(".aenb-said").textContent !== {json.dumps(said)}')
        lab.wait("document.querySelector('[data-focus=choose]:not([disabled])')")
        after = hits_on_screen(lab)
    finally: lab.run('lock.release()')
    assert after.sum() > before.sum()
    lab.until("m.search.threshold.rule == 'given'")
    assert (hits_in_python(lab) == after).all()
    share = float(lab.page.inner_text('.aenb-said').split(' %')[0])
    assert abs(share - 100 * float(lab.run('print(m.search.threshold.area)'))) < 0.06
    lab.page.click('[data-focus=choose]')
    lab.until("m.search.threshold.rule != 'given'")
    lab.wait("document.querySelector('[data-focus=choose][disabled]')")
    assert (hits_on_screen(lab) == before).all()
    box = lab.page.locator('.aenb-threshold').bounding_box()
    lab.page.mouse.move(box['x'] + box['width'] / 2, box['y'] + box['height'] / 2)
    lab.page.mouse.down()
    for step in range(8): lab.page.mouse.move(box['x'] + box['width'] * (0.5 - 0.04 * step), box['y'] + 8)
    lab.page.mouse.up()
    lab.until("m.search.threshold.rule == 'given' and m.panel.facts['level'] < 70")
    places_and_keys(lab)


def places_and_keys(lab) -> None:
    "Go to a place, say that it is right or wrong, by mouse and by keys alone."
    lab.run('for one in m.examples.labels: m.examples.remove(one.id)')
    lab.wait("!document.querySelector('.aenb-places')")
    focus(lab)
    lab.page.keyboard.press('Enter')
    lab.until('len(m.examples) == 1')
    lab.wait("document.querySelectorAll('.aenb-place').length > 3")
    lab.page.click('.aenb-place:nth-child(3) [data-kind="unlike this"]')
    lab.until('m.panel.counts == [1, 1] and m.wait().panel.places')
    focus(lab)
    lab.page.keyboard.press('g')
    lab.wait("document.querySelector('.aenb-place .aenb-grow[aria-pressed=true]')")
    lab.until("m.map.zoom >= m.panel.near")
    lab.page.keyboard.press('g')
    lab.page.keyboard.press('y')
    lab.until('m.panel.counts == [2, 1]')
    lab.page.keyboard.press('v')
    lab.until("m.shown == 'kinds'")
    lab.wait("document.querySelectorAll('.aenb-kind').length === 4")
    lab.wait("document.querySelector('canvas[data-layer=kinds][data-version]')")
    lab.page.keyboard.press('[')
    lab.until("m.search.threshold.rule == 'given'")
    lab.page.keyboard.press('?')
    lab.wait("document.querySelector('.aenb-keys')")
    lab.page.keyboard.press('h')
    lab.until('m.opacity == 0')
    lab.page.select_option('.aenb-save', 'polygons')
    lab.until("__import__('pathlib').Path('search.hits.geojson').exists()")
    lab.page.click('[data-focus=code]')
    lab.wait("document.querySelector('textarea.aenb-code')?.value.includes('found = search(')")
    assert lab.page.locator('.jp-Cell').count() == 2  # no key reached the notebook
    assert not ours(lab)
    lab.assert_offline()


@pytest.mark.parametrize('theme', ['light', 'dark'])
def test_pictures(lab, theme):
    "Everything fits a cell of 1280 × 720; rings tell their kind without colour; hits are seen."
    real = f'a = ae.open_field({str(WISCONSIN)!r})\n' if WISCONSIN.is_file() else ''
    lab.open([FIELDS + SEARCH + real, 'm = SearchMap(a, LabelSet())\nm'], 'search_pictures')
    lab.theme(theme)
    lab.sidebar(False)
    lab.run_all()
    lab.wait(PAINTED.format(1))
    output = lab.page.locator('.jp-Cell').nth(1).locator('.jp-OutputArea').first
    output.scroll_into_view_if_needed()
    lab.screenshot(f'search_empty_{theme}', output)
    lab.run(
        'west, south, east, north = grid_bounds_lonlat(a.aef.grid)\n'
        'for x, y, kind in [(.55, .8, 0), (.62, .9, 0), (.4, .68, 0), (.5, .85, 0), (.6, .75, 0),\n'
        '                   (.2, .35, 1), (.7, .3, 1)]:\n'
        '    m.mark(west + x*(east - west), north - y*(north - south), ("like this", "unlike this")[kind])\n'
        'm.mark(west + .3*(east - west), north - .9*(north - south))\nm.tick(2)\nm.wait()'
    )
    lab.wait(SHOWN)
    lab.until("m.wait() and len(m.panel.marks) >= 8")
    marks = lab.run('print(len(m.panel.marks))')
    lab.wait(f"document.querySelectorAll('.aenb-signs span').length === {marks}")
    lab.wait("document.querySelectorAll('.aenb-place').length > 3")
    lab.page.mouse.move(2, 2)
    box = output.bounding_box()
    assert box['height'] <= 560 and box['width'] <= 1280
    path = lab.screenshot(f'search_map_{theme}', output)
    seen = np.asarray(Image.open(ROOT / path).convert('RGB')).astype(int)
    assert ((seen[..., 2] - seen[..., 0]) > 60).mean() > 0.01
    lab.run("m.shown = 'kinds'")
    lab.wait("document.querySelectorAll('.aenb-kind').length > 1")
    lab.wait("document.querySelector('canvas[data-layer=kinds][data-version]')")
    lab.screenshot(f'search_kinds_{theme}', output)
    signs = "[...document.querySelectorAll('.aenb-signs span')].map(one => one.textContent)"
    assert sorted(set(lab.page.evaluate(signs))) == ['+', '−']
    rows = "[...document.querySelectorAll('.aenb-search .aenb-row, .aenb-place, .aenb-placehead')]"
    assert lab.page.evaluate(f'{rows}.every(one => one.scrollWidth <= one.clientWidth + 1)')
    words(lab, output, theme)


def words(lab, output, theme: str) -> None:
    "The text box: what cannot be read is said; what is searched for can be taken away again."
    lab.run('m.panel.reads = True')
    lab.page.fill('.aenb-ask', 'ponds')
    lab.page.press('.aenb-ask', 'Enter')
    lab.wait("document.querySelector('.aenb-line').textContent.includes('Pass model=')")
    lab.run("m._read['small ponds'] = m.field.aef.vectors()[40, 40][None]; m.texts = ['small ponds']")
    lab.wait("document.querySelector('.aenb-text')")
    lab.until('m.search.ours.size == m.panel.counts[0] + 1')
    lab.screenshot(f'search_words_{theme}', output)
    lab.page.click('.aenb-text')
    lab.until('m.texts == []')
    assert not ours(lab)
    lab.assert_offline()


def test_on_a_map_of_leafmap(lab):
    "A click on leafmap's own map is an example, and what is found lies among its layers until it is closed."
    start(lab, 'search_leafmap', "m = SearchMap(a, LabelSet(), host='leafmap')\nm")
    click(lab, 0.25, 0.75, 1)
    lab.wait(SCORED)
    lab.until("m.wait() and type(m.map).__module__.startswith('leafmap')")
    assert (hits_on_screen(lab) == hits_in_python(lab)).all()
    lab.screenshot('search_leafmap', lab.page.locator('.jp-OutputArea').last)
    lab.run('m.close()')
    lab.wait("!document.querySelector('canvas.aenb-tile')")
    assert not ours(lab)
