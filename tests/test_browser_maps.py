"""CompareMap and ProbeMap as people use them, in JupyterLab and Notebook 7.

What is clicked is in Python, what Python knows is on the screen, and nobody else is asked for anything.
Pictures of it go to build/screenshots.
"""

import json
import re
from pathlib import Path

import numpy as np
import pytest

FIELDS = '''
import numpy as np, alphaearth_nb as ae
from alphaearth_nb.colours import class_colours, hex_to_rgb
from alphaearth_nb.fields import make_field
from alphaearth_nb.grids import grid_bounds_lonlat, utm_grid

def field(noise=.03, turn=None, model='mine', side=96):
    rng, (rows, columns) = np.random.default_rng(0), np.mgrid[:side, :side]
    centres = np.linalg.qr(np.random.default_rng(9).normal(size=(64, 3)))[0].T
    vectors = centres[truth(rows, columns)] + noise*rng.normal(size=(side, side, 64))
    vectors = vectors if turn is None else vectors@turn
    grid = utm_grid((3.2, 51., 3.2137, 51.0086))[:side, :side]
    return make_field(vectors/np.linalg.norm(vectors, axis=-1, keepdims=True), grid, '2018', model=model)

def truth(rows, columns): return np.where(rows < 48, 0, np.where(columns < 48, 1, 2))
turn = np.linalg.qr(np.random.default_rng(1).normal(size=(64, 64)))[0]
a, b = field(), field(.05, turn, 'theirs')
'''.strip()
PAINTED = "document.querySelectorAll('canvas.aenb-tile[data-version]').length >= {}"
PIXEL = """([x, y, layer]) => {
  for (const canvas of document.querySelectorAll(`canvas.aenb-tile[data-layer="${layer}"]`)) {
    const box = canvas.getBoundingClientRect(), scale = 256/box.width;
    if (x < box.left || x >= box.right || y < box.top || y >= box.bottom) continue;
    return [...canvas.getContext('2d').getImageData((x - box.left)*scale, (y - box.top)*scale, 1, 1).data];
} return null }"""
OTHERS = (
    'tile.openstreetmap.org',
    'fonts.googleapis.com',
    'fonts.gstatic.com',
)  # what geemap and leafmap ask for


def place(session, share_x: float, share_y: float) -> tuple[float, float]:
    "Where a share of the width and of the height of the field lies on the screen, from its tiles."
    west, south, east, north = json.loads(
        session.run('import json; print(json.dumps(grid_bounds_lonlat(a.aef.grid)))')
    )
    key, box = (
        session.page.evaluate("""() => {
        const one = document.querySelector('canvas.aenb-tile'), box = one.getBoundingClientRect();
        return [one.dataset.key, [box.left, box.top, box.width]]; }""")
    )
    zoom, column, row = map(int, key.split('/'))
    lon, lat = west + share_x * (east - west), north - share_y * (north - south)
    x = (lon + 180) / 360 * 2**zoom - column
    y = (1 - np.arcsinh(np.tan(np.radians(lat))) / np.pi) / 2 * 2**zoom - row
    return box[0] + x * box[2], box[1] + y * box[2]


def pixel(session, share_x: float, share_y: float, layer: str) -> list[int]:
    "Colour of a layer at a place of the field, as the browser has it."
    return session.page.evaluate(PIXEL, [*place(session, share_x, share_y), layer])


def ours(session) -> list[str]:
    "Errors on the console that are not those of Notebook 7 itself."
    marks = 'blob:', 'view for model', 'anywidget', 'aenb', '_layerAdd', 'not defined'
    return [error for error in session.errors if any(mark in error for mark in marks)]


def focus(session) -> None:
    session.page.locator('.leaflet-container').first.focus()


# ---- comparing


def test_compare(session):
    "Swipe, look closer, change the view, reload, restart."
    session.open([FIELDS, 'm = ae.CompareMap(a, b)\nm'], 'compare')
    session.sidebar(False)
    session.run_all()
    session.wait(PAINTED.format(4))
    session.wait("document.querySelector('.aenb-worst')")
    left, right = (pixel(session, 0.25, 0.25, layer) for layer in 'ab')
    assert np.abs(np.array(left) - right).max() <= 40 and left[3] == 255  # the same colour means the same
    west = pixel(session, 0.25, 0.75, 'a')
    assert np.abs(np.array(left)[:3] - west[:3]).max() > 60  # and different colours something else
    handle = session.page.locator('.aenb-swipe')
    box = handle.bounding_box()
    session.page.mouse.move(box['x'] + 1, box['y'] + 200)
    session.page.mouse.down()
    session.page.mouse.move(box['x'] - 150, box['y'] + 200, steps=4)
    session.page.mouse.up()
    session.until('m.split < .4')
    clipped = "[...document.querySelectorAll('.leaflet-layer')].filter(one => one.style.clipPath).length"
    assert session.page.evaluate(clipped) == 2
    session.page.mouse.click(*place(session, 0.3, 0.3))
    session.until("'cosine' in m.inspected")
    session.wait("document.querySelectorAll('.aenb-inspected svg.aenb-bars').length === 2")
    assert 0.9 < float(session.run("print(m.inspected['cosine'])")) <= 1
    session.page.click('.aenb-worst li:first-child button')
    session.until("abs(m.inspected['lon'] - m.worst[0]['lon']) < 1e-9")
    session.screenshot('compare_inspected')
    session.page.click('[data-view=linked]')
    session.until("m.view == 'linked'")
    session.wait(
        "[...document.querySelectorAll('.leaflet-container')].filter(map => map.clientWidth > 100 && "
        "map.querySelector('canvas[data-version]')).length === 2"
    )
    session.screenshot('compare_linked')
    session.run("m.view = 'agreement'")
    session.wait("document.querySelector('canvas[data-layer=agreement][data-version]')")
    session.page.keyboard.press('v')
    session.until("m.view == 'swipe'")
    session.reload()
    session.wait(PAINTED.format(4))
    session.restart_kernel(run_all=True)
    session.wait("document.querySelector('.aenb-worst')")
    session.wait(PAINTED.format(4))
    assert session.run('print(m.agreement.procrustes_cosine > .9, m.split)') == 'True 0.5'
    assert not ours(session)
    session.assert_offline()


# ---- probing

CLICKS = {
    '1': [(0.1, 0.1), (0.5, 0.2), (0.9, 0.4), (0.3, 0.3)],
    '2': [(0.1, 0.6), (0.3, 0.9), (0.4, 0.7), (0.2, 0.8)],
    '3': [(0.6, 0.6), (0.9, 0.9), (0.7, 0.8), (0.8, 0.7)],
}


def label_all(session) -> None:
    "Name three classes and click twelve labels, as a person does."
    for number, name in enumerate(('water', 'meadow', 'maize'), 1):
        session.page.fill('.aenb-new', name)
        session.page.press('.aenb-new', 'Enter')
        session.until(f'len(m.labels.classes) == {number}')
        session.wait(f"document.querySelectorAll('.aenb-class').length === {number}")
    done = 0
    for key, points in CLICKS.items():
        focus(session)
        session.page.keyboard.press(key)
        session.until(f'm.current == {key}')
        for point in points:
            session.page.mouse.click(*place(session, *point))
            done += 1
            session.until(f'len(m.labels) == {done}')
            session.page.mouse.move(5, 5)
            session.page.wait_for_timeout(400)  # what comes sooner is a double click to the browser, too


def test_probe(session):
    "Three classes, twelve clicks; undo, reload, restart, export; the map is the truth, here and there."
    session.open([FIELDS, "m = ae.ProbeMap(a, 'probe.labels.jsonl')\nm"], 'probe')
    session.sidebar(False)
    session.run('import pathlib; pathlib.Path("probe.labels.jsonl").unlink(missing_ok=True)')
    session.run_all()
    session.wait(PAINTED.format(1))
    assert 'Name a class' in session.page.inner_text('.aenb-line')
    label_all(session)
    session.until("m.wait() and (m.prediction().values == truth(*np.mgrid[:96, :96]) + 1).mean() > .99")
    session.wait(
        "document.querySelector('.aenb-card') && document.querySelector('.aenb-ghost:not([hidden])')"
    )
    for at, name in (((0.5, 0.25), 0), ((0.2, 0.7), 1), ((0.8, 0.9), 2)):
        expected = json.loads(session.run(f'print(list(hex_to_rgb(class_colours(3)[{name}])))'))
        seen = pixel(session, *at, 'prediction')
        assert seen[3] == 255 and np.abs(np.array(seen[:3]) - expected).max() <= 90, (at, seen, expected)
    session.screenshot('probe_labelled')
    focus(session)
    session.page.keyboard.press('u')
    session.until('len(m.labels) == 11')
    session.page.keyboard.press('r')
    session.until('len(m.labels) == 12')
    session.page.mouse.dblclick(*place(session, 0.5, 0.5))
    session.until("m.labels.redo() == 'add a label' and m.labels.undo() and len(m.labels) == 12")
    session.page.select_option('.aenb-save', 'geojson')
    session.until("list(pathlib.Path('.').glob('probe.labels*.geojson'))")
    session.page.select_option('.aenb-save', 'cog')
    session.until("list(pathlib.Path('.').glob('probe.classes*.tif'))")
    session.reload()
    session.wait(PAINTED.format(2))
    assert session.page.locator('.aenb-class').count() == 3
    session.restart_kernel(run_all=True)
    session.wait("document.querySelectorAll('.aenb-class').length === 3")
    session.wait("document.querySelector('canvas[data-layer=prediction][data-version]')")
    assert session.run('print(len(m.labels), m.state.kind)') == '12 classes'
    assert not ours(session)
    session.assert_offline()


def test_the_keyboard_is_enough(lab):
    "A class by its name, labels at the middle of the map, steps back and forth, without a mouse."
    lab.open(
        [
            FIELDS,
            'from alphaearth_nb.labels import LabelSet\nm = ae.ProbeMap({"one": a, "two": b}, LabelSet())\nm',
        ],
        'keys',
    )
    lab.run_all()
    lab.wait(PAINTED.format(1))
    lab.page.locator('.aenb-new').focus()
    for name in ('water', 'meadow'):
        lab.page.keyboard.type(name)
        lab.page.keyboard.press('Enter')
        lab.wait(
            f"[...document.querySelectorAll('.aenb-class')].some(one => one.innerText.includes('{name}'))"
        )
        lab.page.locator('.aenb-new').focus()
    focus(lab)
    lab.page.keyboard.press('1')
    lab.page.keyboard.press('ArrowUp')
    lab.page.keyboard.press('Enter')
    lab.until('len(m.labels) == 1')
    lab.page.keyboard.press('2')
    lab.until('m.current == 2')
    for _ in range(2):
        lab.page.keyboard.press('ArrowDown')
    lab.page.wait_for_timeout(500)  # the map glides
    lab.page.keyboard.press('Enter')
    lab.until("len(m.labels) == 2 and m.state.kind == 'classes'")
    lab.page.keyboard.press('n')
    lab.page.keyboard.press('p')
    lab.until("m.shown == 'how sure'")
    lab.page.keyboard.press('s')
    lab.until("m.field == 'two'")
    lab.run("m.shown = 'disagreement'")
    lab.wait("document.querySelector('canvas[data-layer=disagreement][data-version]')")
    lab.page.keyboard.press('?')
    lab.wait("document.querySelector('.aenb-keys')")
    lab.page.keyboard.press('h')
    lab.until('m.opacity == 0')
    assert lab.page.locator('.jp-Cell').count() == 2  # no key reached the notebook
    assert not ours(lab)
    lab.assert_offline()


# ---- both themes, for people to look at, and for the README


@pytest.mark.parametrize('theme', ['light', 'dark'])
def test_pictures(lab, theme):
    "Everything fits a cell of 1280 × 720, in both themes."
    data = (Path(__file__).parents[2] / 'shared' / 'data' / 'aef_wisconsin_2024_32616_10m.tif').resolve()
    opened = (f"a = ae.open_field({str(data)!r}).assign_attrs(model='released', "
              "valid_period='2024-01-01/2025-01-01', dataset='GOOGLE/SATELLITE_EMBEDDING/V1/ANNUAL')\n")
    real = (opened if data.is_file() else '') + (
        "v = a.aef.vectors() + .03*np.random.default_rng(0).normal(size=a.aef.vectors().shape).astype('f4')\n"
        "v = ((v/np.linalg.norm(v, axis=-1, keepdims=True))@turn).astype('f4')\n"
        "b = make_field(v, a.aef.grid, '2024', model='my model')\n"
    )
    lab.open(
        [
            FIELDS + '\n' + real,
            "m = ae.CompareMap(b, a, names=('my model', 'released'))\nm",
            'from alphaearth_nb.labels import LabelSet\np = ae.ProbeMap(a, LabelSet())\np',
        ],
        'pictures',
    )
    lab.theme(theme)
    lab.sidebar(False)
    lab.run_all()
    lab.wait("document.querySelector('.aenb-worst')")
    lab.wait(PAINTED.format(3))
    lab.run(
        'west, south, east, north = grid_bounds_lonlat(a.aef.grid)\n'
        'for name in ("woods", "fields", "water"): p.add_class(name)\n'
        'for across, down, which in [(.55, .8, 1), (.62, .9, 1), (.4, .68, 1), (.2, .35, 2), (.25, .5, 2),\n'
        '                            (.7, .3, 2), (.1, .8, 3), (.05, .9, 3), (.1, .7, 3)]:\n'
        '    p.label(west + across*(east - west), north - down*(north - south), which)\np.wait()'
    )
    for number, name in ((1, 'compare_map'), (2, 'probe_map')):
        output = lab.page.locator('.jp-Cell').nth(number).locator('.jp-OutputArea').first
        output.scroll_into_view_if_needed()
        lab.wait(
            f"document.querySelectorAll('.jp-Cell')[{number}].querySelector('canvas[data-version]')"
        )
        box = output.bounding_box()
        assert box['height'] <= 560 and box['width'] <= 1280
        lab.screenshot(f'{name}_{theme}', output)
    ink = lab.page.evaluate("getComputedStyle(document.querySelector('.aenb-panel')).color")
    assert (sum(map(int, re.findall(r'\d+', ink)[:3])) > 380) == (theme == 'dark')


# ---- hosts

EARTH_ENGINE = '''
import sys; sys.path.insert(0, {tests!r})
import ee, geemap
from earth_engine import ASSET, Server, waves
import threading
server = Server(waves)
threading.Thread(target=server.serve_forever, daemon=True).start()
server.initialize()
image = ee.ImageCollection(ASSET).filterDate('2024-01-01', '2025-01-01').mosaic()
from alphaearth_nb.inspection import centres_lonlat
own = waves(*(one.reshape(96, 96) for one in centres_lonlat(a.aef.grid)), 2024)@turn
local = make_field(own.astype('f4'), a.aef.grid, '2024', model='mine')
'''


def test_an_image_of_earth_engine_beside_a_field(lab):
    "The real client, a server on this machine: tiles of three dot products, no download, a click reads both."
    lab.open(
        [
            FIELDS,
            EARTH_ENGINE.format(tests=str(Path(__file__).parent)),
            'm = ae.CompareMap(local, image, host=geemap.Map(ee_initialize=False))\nm',
        ],
        'geemap',
    )
    lab.run_all()
    lab.wait("document.querySelector('.aenb-worst')")
    lab.wait(
        "[...document.querySelectorAll('img.leaflet-tile')].some("
        "one => one.src.includes('/maps/') && one.complete && one.naturalWidth === 256)"
    )
    lab.wait(PAINTED.format(1))
    assert float(lab.run('print(m.agreement.procrustes_cosine)')) > 0.99
    lab.page.locator('.leaflet-container').first.scroll_into_view_if_needed()
    lab.page.mouse.click(*place(lab, 0.6, 0.6))
    lab.until("m.inspected.get('cosine', 0) > .99")
    lab.screenshot('geemap')
    asked = json.loads(
        lab.run(
            'print(json.dumps(sorted({path.split("/")[-1] for _, path in server.asked if ":" in path})))'
        )
    )
    assert asked == ['value:compute']  # points only; no pixels are downloaded
    assert not [url for url in lab.outside if not any(host in url for host in OTHERS)]


def test_fields_on_maps_of_leafmap_and_ipyleaflet(lab):
    "A picture on the one, tiles of a file on the other."
    lab.open(
        [
            FIELDS,
            'import leafmap.leafmap as leafmap, ipyleaflet\nfirst = leafmap.Map()\n'
            'ae.add_field(first, a)\nfirst',
            "b.aef.to_cog('b.tif', overwrite=True)\nsecond = ipyleaflet.Map(layers=())\n"
            "layer = ae.add_field(second, 'b.tif')\nsecond",
        ],
        'hosts',
    )
    lab.run_all()
    lab.wait(
        "[...document.querySelectorAll('img.leaflet-image-layer')].some("
        "one => one.complete && one.naturalWidth > 90)"
    )
    lab.wait(PAINTED.format(1))
    colour = pixel(
        lab, 0.25, 0.25, lab.page.evaluate("document.querySelector('canvas.aenb-tile').dataset.layer")
    )
    assert colour[3] == 255
    lab.run('layer.opacity = .4')
    lab.wait("[...document.querySelectorAll('.leaflet-layer')].some(one => one.style.opacity === '0.4')")
    assert not [url for url in lab.outside if not any(host in url for host in OTHERS)]


# ---- what is data stays data


def payloads() -> list[str]:
    "Fifty ways of having a script run by a page that takes text for markup."
    calls = ['window.hit=1', 'parent.hit=1', 'self["hit"]=1', 'top.hit=1', 'Function("window.hit=1")()']
    forms = [
        '<script>{}</script>',
        '<img src=x onerror="{}">',
        '<svg onload="{}">',
        '"><img src=x onerror=\'{}\'>',
        "'><svg/onload='{}'>",
        '</script><script>{}</script>',
        '<iframe srcdoc="<script>parent.{}</script>">',
        '<details open ontoggle="{}">',
        '<input autofocus onfocus="{}">',
        '<a href="javascript:{}">x</a>',
    ]
    return [form.format(call) for form in forms for call in calls]


def test_names_are_never_markup(lab):
    "Fifty scripts as names, through panel, legend, layer control, message line, tables and exports."
    names = payloads()
    assert len(set(names)) == 50
    lab.open(
        [
            FIELDS,
            f'from alphaearth_nb.labels import LabelSet\nnames = {names!r}',
            'm = ae.CompareMap(a.assign_attrs(model=names[0], attribution=names[1]),\n'
            '                  b.assign_attrs(model=names[2]), names=(names[3], names[4]))\nm',
            'p = ae.ProbeMap({names[5]: a, names[6]: b}, LabelSet())\n'
            'for name in names[:45]: p.labels.add_class(name)\n'
            'west, south, east, north = grid_bounds_lonlat(a.aef.grid)\n'
            'for one in range(1, 46):\n'
            '    p.label(west + one/50*(east - west), south + (one*7 % 45)/50*(north - south), one)\n'
            'p.wait()\np',
            'p.panel.line.say(names[7], "problem")\n'
            'p.panel.suggestion = dict(lon=west, lat=south, reason=names[8])\np.labels',
            'm.agreement',
            'import ipyleaflet\nx = ipyleaflet.Map(layers=())\n'
            'for name in names: ae.add_field(x, a, name=name)\n'
            'x.add(ipyleaflet.LayersControl())\nx',
        ],
        'names',
    )
    lab.run_all()
    lab.wait("document.querySelectorAll('.aenb-class').length === 45")
    for control in lab.page.locator('.leaflet-control-layers').all():
        control.scroll_into_view_if_needed()
        control.hover()
    for button in lab.page.locator('.aenb-class button[aria-expanded]').all()[:8]:
        button.click()
    lab.page.locator('.aenb-save').first.select_option('geojson')
    lab.until('list(__import__("pathlib").Path(".").glob("*.geojson"))')
    frames = "[...document.querySelectorAll('iframe')].map(one => one.contentWindow)"
    hit = f"[window, ...{frames}].some(one => one && one.hit)"
    assert not lab.page.evaluate(hit)
    assert lab.page.evaluate("document.querySelector('.aenb-class').innerText").startswith(names[0][:20])
    lab.assert_offline()
