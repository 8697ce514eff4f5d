"""Every picture of the two maps as it is on the screen, light and dark.

Numbers, how sure, disagreement, agreement. What was drawn with the mouse becomes one label.
Pictures of it go to build/screenshots.
"""
from itertools import combinations

import numpy as np
import pytest
from browser import ROOT
from maps_on_screen import FIELDS, STILL, ours, spot
from PIL import Image

MAPS = '''
import ipyleaflet
from alphaearth_nb.labels import LabelSet
c = a.copy().assign_attrs(model='theirs')
c.values[:, :48, 48:] = a.values[:, 48:, 48:]     # one quarter of this field looks like another one
west, south, east, north = grid_bounds_lonlat(a.aef.grid)
'''.strip()
QUARTERS = {'north-west': (.25, .25), 'north-east': (.75, .25),
            'south-west': (.25, .75), 'south-east': (.75, .75)}
PATHS = "document.querySelectorAll('path.leaflet-interactive').length === {}"

GREY = """(() => { for (const one of document.querySelectorAll(
    'canvas[data-layer=prediction][data-version]')) {
  const {data} = one.getContext('2d').getImageData(0, 0, 256, 256);
  for (let at = 0; at < data.length; at += 4)
    if (data[at + 3] && (data[at] !== data[at + 1] || data[at] !== data[at + 2])) return false;
} return true })()"""


def start(lab, theme:str, cell:str, layer:str) -> None:
    "Fields and one map in this theme."
    lab.open([FIELDS + '\n' + MAPS, cell], layer)
    lab.theme(theme)
    lab.sidebar(False)
    lab.run_all()
    lab.page.locator('.leaflet-container').first.scroll_into_view_if_needed()
    lab.wait(f"document.querySelector('canvas[data-layer={layer}][data-version]')")


def lonlat(lab, across:float, down:float) -> tuple[float, float]:
    "Degrees of a share of the width and of the height of the field."
    west, south, east, north = eval(lab.run('print((west, south, east, north))'))
    return west + across*(east - west), north - down*(north - south)


def colours(lab, layer:str) -> dict[str, np.ndarray]:
    "Colour of a layer in the middle of each quarter."
    return {name: np.array(spot(lab, *lonlat(lab, *at), layer)['colour'][:3], int)
            for name, at in QUARTERS.items()}


def click(lab, across:float, down:float, layer:str='embedding') -> None:
    "Click the map at a share of the width and of the height of the field."
    found = spot(lab, *lonlat(lab, across, down), layer)
    lab.page.mouse.click(found['x'], found['y'])


def shown(lab, name:str) -> np.ndarray:
    "Keep a picture of the map and its panel; what is really on the screen, (h, w, 3)."
    lab.page.mouse.move(2, 2)
    lab.wait(STILL)
    path = lab.screenshot(name, lab.page.locator('.jp-OutputArea').last)
    return np.asarray(Image.open(ROOT/path).convert('RGB')).astype(int)


def share(seen:np.ndarray, colour:np.ndarray, about:int=12) -> float:
    "Share of the screen that has about this colour."
    return float((np.abs(seen - colour).max(-1) <= about).mean())


def apart(one:np.ndarray, other:np.ndarray) -> int: return int(np.abs(one - other).max())


both_themes = pytest.mark.parametrize('theme', ['light', 'dark'])


@both_themes
def test_numbers(lab, theme):
    "Three numbers by the mouse: a scale of colours, low dark and high bright."
    start(lab, theme, 'm = ae.ProbeMap(a, LabelSet())\nm', 'embedding')
    lab.page.check('[data-focus=number]')
    lab.until("m.says == 'number'")
    for count, (number, at) in enumerate(((1, (.4, .2)), (5, (.2, .8)), (9, (.8, .9))), 1):
        lab.page.fill('input[type=number]', str(number))
        lab.page.press('input[type=number]', 'Tab')
        lab.until(f'm.value == {number}')
        click(lab, *at)
        lab.until(f"len(m.labels) == {count} and m.labels.labels[-1].value == {number}")
        lab.page.mouse.move(2, 2)
        lab.page.wait_for_timeout(400)  # what comes sooner is a double click to the browser, too
    lab.until("m.wait().state.kind == 'values'")
    lab.wait("document.querySelector('canvas[data-layer=prediction][data-version]')")
    seen = shown(lab, f'numbers_{theme}')
    found = colours(lab, 'prediction')
    low, middle, high = (found[name] for name in ('north-west', 'south-west', 'south-east'))
    assert apart(low, middle) > 60 and apart(middle, high) > 60
    assert low.sum() < middle.sum() < high.sum()
    assert apart(low, found['north-east']) <= 25
    for colour in (low, middle, high): assert share(seen, colour) > .02
    assert not ours(lab)
    lab.assert_offline()


@both_themes
def test_polygon_sureness_and_disagreement(lab, theme):
    "A polygon that is drawn is one label, and its drawing goes; then the other pictures of two fields."
    start(lab, theme, "m = ae.ProbeMap({'mine': a, 'theirs': c}, LabelSet())\nm", 'embedding')
    lab.run('for name in ("water", "meadow", "maize"): m.add_class(name)\n'
            'def at(x, y): return west + x*(east - west), north - y*(north - south)\n'
            'm.label(*at(.2, .7), 2); m.label(*at(.7, .7), 3); m.panel.current = 1; m.wait()')
    lab.wait(PATHS.format(2))
    lab.click('.leaflet-draw-draw-polygon')
    corners = (.1, .2), (.4, .22), (.35, .45), (.12, .4), (.1, .2)   # below 'Finish' and 'Cancel'
    for across, down in corners:
        click(lab, across, down)
        lab.page.wait_for_timeout(400)  # or two corners are a double click
    lab.until('len(m.labels) == 3')
    assert lab.run("print(m.labels.labels[-1].shape['type'], m.labels.labels[-1].class_id)") == 'Polygon 1'
    tools = 'next(one for one in m.map.controls if isinstance(one, ipyleaflet.DrawControl))'
    lab.until(f'm.wait() and not {tools}.data')
    lab.wait(PATHS.format(3))            # two dots and one outline: the drawing itself is gone
    lab.wait("document.querySelector('canvas[data-layer=prediction][data-version]')")
    seen = shown(lab, f'polygon_{theme}')
    found = colours(lab, 'prediction')
    three = 'north-west', 'south-west', 'south-east'
    for one, other in combinations(three, 2):
        assert apart(found[one], found[other]) > 60
    assert share(seen, found['north-east']) > .02
    lab.page.click('[data-value="how sure"]')
    lab.until("m.shown == 'how sure'")
    lab.wait(GREY)
    seen = shown(lab, f'how_sure_{theme}')
    for colour in colours(lab, 'prediction').values():
        assert np.ptp(colour) == 0 and share(seen, colour) > .01
    lab.page.click('[data-value=disagreement]')
    lab.wait("document.querySelector('canvas[data-layer=disagreement][data-version]')")
    seen = shown(lab, f'disagreement_{theme}')
    found = colours(lab, 'disagreement')
    red = found.pop('north-east')
    assert red[0] - red[1] > 80 and share(seen, red) > .02
    for colour in found.values(): assert np.ptp(colour) <= 8 and share(seen, colour) > .02
    assert len(eval(lab.run('print([one.id for one in m.labels.labels])'))) == 3
    assert not ours(lab)
    lab.assert_offline()


@both_themes
def test_agreement(lab, theme):
    "The quarter that differs is dark, the rest is light, and the legend says which is which."
    start(lab, theme, "m = ae.CompareMap(a, c)\nm.view = 'agreement'\nm", 'agreement')
    lab.wait("document.querySelector('.aenb-legend:not([hidden]) .aenb-ramp')")
    seen = shown(lab, f'agreement_{theme}')
    found = colours(lab, 'agreement')
    dark = found.pop('north-east')
    for colour in found.values(): assert colour.sum() - dark.sum() > 240
    assert share(seen, dark, 40) > .02
    assert not ours(lab)
    lab.assert_offline()
