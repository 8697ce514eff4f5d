"""CompareMap and ProbeMap as people use them, in JupyterLab and Notebook 7.

What is clicked is in Python, what Python knows is on the screen, and nobody else is asked for anything.
Pictures of it go to build/screenshots.
"""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from maps_on_screen import FIELDS, PAINTED, focus, ours, pixel, place


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
    session.page.focus('[data-focus=undo]')
    session.page.keyboard.press('Enter')  # presses the button that has the focus, and labels nothing
    session.until('len(m.labels) == 11')
    session.page.keyboard.press('r')
    session.until('len(m.labels) == 12')
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
