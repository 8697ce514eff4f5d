"""ChangeMap as people use it, in JupyterLab and Notebook 7: years, false alarms, patches, a pixel's path.

What is dragged is answered in the browser, what is asked of Python arrives, and nobody else is asked for
anything. Pictures of it go to build/screenshots.
"""
import re
from pathlib import Path

import numpy as np
import pytest
from maps_on_screen import FIELDS, STILL, focus, ours, place, spot

YEARS = FIELDS + '''
from dataclasses import replace
from alphaearth_nb.change_map import ChangeMap
from alphaearth_nb.inspection import pixels_lonlat
from alphaearth_nb.probes import fit_probe
rng, (rows, columns) = np.random.default_rng(0), np.mgrid[:96, :96]
centres = np.linalg.qr(np.random.default_rng(9).normal(size=(64, 3)))[0].T
small = np.linalg.qr(np.eye(64) + .02*np.random.default_rng(1).normal(size=(64, 64)))[0]
small *= np.sign(np.diag(small))
square = (rows >= 20) & (rows < 40) & (columns >= 30) & (columns < 60)      # water becomes meadow
def year(when, classes, turn):
    vectors = (centres[classes] + .03*rng.normal(size=(96, 96, 64)))@turn
    vectors[88:, 88:] = np.nan
    return make_field(vectors/np.linalg.norm(vectors, axis=-1, keepdims=True), a.aef.grid, when, model='mine')
before = truth(rows, columns)
after = np.where(square, 1, before)
fields = {2017: year('2017', before, np.eye(64)), 2020: year('2020', before, small),
          2024: year('2024', after, small@small)}
names = {1: 'water', 2: 'meadow', 3: 'maize'}
probe = replace(fit_probe(fields[2017], before + 1, 'linear', splits=0), class_names=names)
def lonlat(*pixel):
    return [float(one[0]) for one in pixels_lonlat(a.aef.grid, *(np.array([each]) for each in pixel))]
sent = []
def count(m):
    kept = m.panel.send
    def send(message, *more):
        sent.append(message['type'])
        kept(message, *more)
    m.panel.send = send
'''
DRAWN = "document.querySelector('canvas[data-layer={}][data-version]')"
PATHS = "document.querySelectorAll('.aenb-step').length === {}"


def colour(session, row:int, col:int, layer:str='change') -> list[int]:
    "Colour and opacity that a layer has at a pixel of the fields."
    lon, lat = eval(session.run(f'print(lonlat({row}, {col}))'))
    return spot(session, lon, lat, layer)['colour']


def click(session, row:int, col:int) -> None:
    "Click a pixel of the fields."
    lon, lat = eval(session.run(f'print(lonlat({row}, {col}))'))
    found = spot(session, lon, lat, 'year')
    session.page.mouse.click(found['x'], found['y'])


def start(session, name:str, words:str='') -> None:
    "Years, and a map of them whose change is drawn."
    cell = f'm = ChangeMap(fields{words})\ncount(m)\nm'
    session.open([YEARS, cell], name)
    session.sidebar(False)
    session.run_all()
    session.wait(DRAWN.format('year'))
    session.wait(DRAWN.format('change'))
    session.wait("document.querySelector('.aenb-patches')")
    session.wait(STILL)


def test_years_and_what_changed_between_them(session):
    "The square is painted, the ground is not; years, pairs and pixels are asked for; reload, restart."
    start(session, 'change', ', probe=probe, probe_year=2017')
    assert colour(session, 30, 45)[3] == 255 and colour(session, 60, 20)[3] == 0
    ground, seen = [colour(session, 60, 20, 'year')], [colour(session, 30, 45, 'year')]
    assert 'changed from 2017 to 2024: about 1 in 20' in session.page.inner_text('.aenb-said')
    assert 'water → meadow' in session.page.inner_text('.aenb-patches')
    assert 'water → meadow' in session.page.inner_text('.aenb-became')
    focus(session)
    session.page.keyboard.press('ArrowLeft')
    session.until("m.year == '2020'")
    session.page.keyboard.press('ArrowLeft')
    session.until("m.year == '2017' and m.wait()")
    session.page.keyboard.press('ArrowLeft')         # there is none before
    session.page.keyboard.press('s')
    session.until("m.year == '2024'")
    session.page.click('[data-year="2017"]')
    session.until("m.year == '2017'")
    session.wait("document.querySelector('.aenb-years input').value === '0'")
    session.run('m.wait()')
    ground.append(colour(session, 60, 20, 'year'))
    seen.append(colour(session, 30, 45, 'year'))
    assert np.abs(np.subtract(*ground)).max() <= 40          # the same colour means the same in each year
    assert np.abs(np.subtract(*seen)).max() > 60             # and the square was another ground
    click(session, 30, 45)
    session.wait(PATHS.format(3))
    steps = session.page.locator('.aenb-step').all_inner_texts()
    assert 'water' in steps[0] and 'meadow' in steps[2] and 'start' in steps[0]
    assert session.run("print([one['class_name'] for one in m.trajectory])") == "['water', 'water', 'meadow']"
    session.screenshot('change_path')
    click(session, 92, 92)
    session.wait("document.querySelector('.aenb-line').textContent.includes('data here in 2017, 2020, 2024')")
    session.page.select_option('[data-focus=To]', '2020')
    session.until("m.between == ['2017', '2020'] and m.change.between == ('2017', '2020')")
    session.wait("document.querySelector('.aenb-said').textContent.includes('to 2020')")
    assert colour(session, 30, 45)[3] == 0
    session.page.select_option('[data-focus=To]', '2024')
    session.until("m.change.between == ('2017', '2024')")
    session.reload()
    session.wait(DRAWN.format('change'))
    session.restart_kernel(run_all=True)
    session.wait("document.querySelector('.aenb-patches')")
    session.wait(DRAWN.format('change'))
    assert session.run('print(m.change.between, m.rate)') == "('2017', '2024') 0.05"
    assert not ours(session)
    session.assert_offline()


DRAG = """([from, to]) => { const one = document.querySelector('[data-focus=rate]');
  window.same = one; const seen = [];
  one.dispatchEvent(new PointerEvent('pointerdown', {bubbles: true}));
  for (let at = from; at !== to; at += Math.sign(to - from)) {
    one.value = at; one.dispatchEvent(new Event('input', {bubbles: true}));
    let count = 0;
    for (const canvas of document.querySelectorAll('canvas[data-layer=change][data-version]')) {
      const {data} = canvas.getContext('2d').getImageData(0, 0, 256, 256);
      for (let byte = 3; byte < data.length; byte += 4) count += data[byte] > 0; }
    seen.push([count, document.querySelector('.aenb-said').textContent]); }
  return seen }"""


def test_the_slider_of_false_alarms_asks_nobody(lab):
    "Picture and words follow in the same moment, from looser to stricter; Python follows behind."
    start(lab, 'change_rate')
    lab.run('sent.clear()')
    seen = lab.page.evaluate(DRAG, [0, 9])
    counts = [count for count, _ in seen]
    assert counts == sorted(counts, reverse=True) and counts[0] > counts[-1] > 0
    for count, words in seen: assert re.search(r'about 1 in [\d,]+ of these is a false alarm', words)
    assert len({words for _, words in seen}) == 9
    assert lab.page.evaluate('window.same.isConnected')           # it is still the one that is held
    lab.page.evaluate("window.dispatchEvent(new PointerEvent('pointerup'))")
    lab.until('m.rate == 1/500 and m.wait()')
    assert 'tiles' not in lab.run('print(sent)')
    shown = int(lab.run("print(m.panel.stops[8]['pixels'])"))
    assert shown == int(lab.run('print(int(m.change.called(1/500).sum()))'))
    assert lab.run("print(m.patches == m.change.patches(1/500, 1))") == 'True'
    lab.run('m.rate = .5')
    lab.wait("document.querySelector('[data-focus=rate]').value === '0'")
    again = lab.page.evaluate(DRAG, [0, 1])
    assert again[0] == seen[0]
    lab.page.evaluate("window.dispatchEvent(new PointerEvent('pointerup'))")
    lab.page.select_option('[data-focus=least]', '9')
    lab.until('m.least_px == 9 and m.wait()')
    lab.wait("document.querySelector('.aenb-said').textContent.includes('9 pixels or more')")
    assert lab.page.evaluate(DRAG, [0, 1])[0][0] < again[0][0]
    assert not ours(lab)
    lab.assert_offline()


def test_the_keyboard_is_enough(lab):
    "Years, false alarms, patches, a pixel's path, files and code without a mouse."
    start(lab, 'change_keys')
    focus(lab)
    lab.page.keyboard.press('-')
    lab.until('m.rate == 1/50')
    lab.page.keyboard.press('+')
    lab.until('m.rate == 1/20')
    lab.page.keyboard.press('1')
    lab.wait(PATHS.format(3))
    lab.until("m.map.zoom >= m.panel.near and m.trajectory[2]['distance'] > .3")
    centre = lab.run('print(m.map.center)')
    lab.page.keyboard.press('ArrowLeft')
    lab.until("m.year == '2020'")
    assert lab.run('print(m.map.center)') == centre               # years, not the map
    lab.page.keyboard.press('Shift+ArrowLeft')
    lab.until(f'str(m.map.center) != {centre!r}')
    lab.run('asked = m.panel.inspected')
    lab.page.wait_for_timeout(500)  # the map glides
    focus(lab)
    lab.page.keyboard.press('Enter')
    lab.until('m.panel.inspected != asked')
    lab.page.keyboard.press('h')
    lab.until('m.opacity == 0')
    lab.page.keyboard.press('?')
    lab.wait("document.querySelector('.aenb-keys')")
    lab.page.locator('[data-focus=rate]').focus()
    lab.page.keyboard.press('ArrowRight')                         # of the slider, not of the years
    lab.until("m.rate == 1/50 and m.year == '2020'")
    lab.page.select_option('.aenb-save', 'geotiff')
    lab.until("'Written: change-2017-2024.tif' in m.message")
    lab.page.locator('[data-focus=code]').press('Enter')
    lab.wait("document.querySelector('.aenb-code')")
    assert 'rate=0.02, least_px=1' in lab.page.input_value('.aenb-code')
    assert lab.page.locator('.jp-Cell').count() == 2              # no key reached the notebook
    assert not ours(lab)
    lab.assert_offline()


def test_on_a_map_of_the_user(lab):
    "On geemap's map the layers lie among its own, and closing takes them off."
    lab.open([YEARS, "m = ChangeMap(fields, host='geemap')\nm"], 'change_geemap')
    lab.sidebar(False)
    lab.run_all()
    lab.wait(DRAWN.format('change'))
    lab.wait("document.querySelector('.aenb-years')")
    names = eval(lab.run('print([one.name for one in m.map.layers])'))
    assert names[-2:] == ['embedding, 2024', 'change, 2017 to 2024']
    lab.wait(STILL)
    lab.screenshot('change_geemap', lab.page.locator('.jp-OutputArea').last)
    lab.run('m.close()')
    lab.wait("!document.querySelector('canvas.aenb-tile')")
    assert lab.run("print([one.name for one in m.map.layers if 'change' in one.name])") == '[]'
    assert not ours(lab)


REAL = '''
opened = ae.open_field({path!r})
opened = opened.isel(y=slice(0, 192), x=slice(0, 192))
vectors = opened.aef.vectors()
high, wide = vectors.shape[:2]
rows, columns = np.mgrid[:high, :wide]
rng = np.random.default_rng(1)
def unit(one): return (one/np.linalg.norm(one, axis=-1, keepdims=True)).astype(np.float32)
def skew(seed):
    found = np.linalg.qr(np.eye(64) + .015*np.random.default_rng(seed).normal(size=(64, 64)))[0]
    return found*np.sign(np.diag(found))
now, fields = vectors.copy(), {{}}
for at, when in enumerate(range(2017, 2025)):
    for _ in range(3*(at > 0)):                         # a few parcels become what stands elsewhere
        high_px, wide_px = rng.integers(6, 16, 2)
        (top, other_top), (left, other_left) = (rng.integers(0, side - 16, 2) for side in (high, wide))
        now[top:top + high_px, left:left + wide_px] = vectors[other_top:other_top + high_px,
                                                              other_left:other_left + wide_px]
    seen = unit(now + .02*rng.normal(size=now.shape))@skew(at)
    fields[when] = make_field(seen.astype(np.float32), opened.aef.grid, str(when), model='released, redrawn')
there = np.int64(np.array([.1, .45, .8, .3])*high), np.int64(np.array([.15, .5, .3, .8])*wide)
near = np.argmax(vectors@vectors[there].T, -1) + 1
probe = replace(fit_probe(fields[2017], near, 'linear', splits=0),
                class_names={{1: 'maize', 2: 'forest', 3: 'pasture', 4: 'built'}})
a = opened
'''


@pytest.mark.parametrize('theme', ['light', 'dark'])
def test_pictures(lab, theme):
    "Everything fits a cell of 1280 × 720, in both themes, for people to look at."
    data = (Path(__file__).parents[2]/'shared'/'data'/'aef_wisconsin_2024_32616_10m.tif').resolve()
    real = REAL.format(path=str(data)) if data.is_file() else ''
    cell = 'm = ChangeMap(fields, probe=probe, probe_year=2017, least_px=4)\nm'
    lab.open([YEARS + real, cell], 'change_pictures')
    lab.theme(theme)
    lab.sidebar(False)
    lab.run_all()
    lab.wait(DRAWN.format('change'))
    lab.wait("document.querySelector('.aenb-became')")
    output = lab.page.locator('.jp-Cell').nth(1).locator('.jp-OutputArea').first
    output.scroll_into_view_if_needed()
    lab.page.mouse.move(2, 2)
    lab.wait(STILL)
    box = output.bounding_box()
    assert box['height'] <= 560 and box['width'] <= 1280
    lab.screenshot(f'change_map_{theme}', output)
    lab.page.locator('.aenb-panel').evaluate('one => one.scrollTop = 1e6')
    lab.screenshot(f'change_map_below_{theme}', output)
    lab.page.locator('.aenb-patches button').first.click()
    lab.wait("document.querySelector('.aenb-path')")
    lab.page.locator('.aenb-panel').evaluate('one => one.scrollTop = 0')
    lab.page.mouse.move(2, 2)
    lab.wait(STILL)
    lab.screenshot(f'change_map_patch_{theme}', output)
    ink = lab.page.evaluate("getComputedStyle(document.querySelector('.aenb-panel')).color")
    assert (sum(map(int, re.findall(r'\d+', ink)[:3])) > 380) == (theme == 'dark')
    strip = lab.page.locator('.aenb-years').bounding_box()
    for other in ('.leaflet-control-scale', '.leaflet-control-attribution', '.aenb-legend'):
        found = lab.page.locator(other).first.bounding_box()
        apart = (found['x'] + found['width'] <= strip['x'] or strip['x'] + strip['width'] <= found['x']
                 or found['y'] + found['height'] <= strip['y'] or strip['y'] + strip['height'] <= found['y'])
        assert apart, other
    assert not ours(lab)
    lab.assert_offline()
