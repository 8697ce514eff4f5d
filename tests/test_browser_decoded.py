"""The slider of CompareMap's inspector in JupyterLab: what it shows is what the model decodes.

Pictures of it, light and dark, go to build/screenshots.
"""
import re

from maps_on_screen import PAINTED, ours

PLACE = '''
import numpy as np, torch, alphaearth_nb as ae
from alphaearth_nb.grids import grid_bounds_lonlat
from alphaearth_nb.synthetic import synthetic_place

torch.manual_seed(0)
model, frames = ae.AlphaEarth.preset('tiny', targets=['gedi', 'nlcd']), synthetic_place(size_px=32)
a = ae.embed(model, frames, '2018', quiet=True)
turn = np.linalg.qr(np.random.default_rng(1).normal(size=(64, 64)))[0].astype('f4')
b = a.copy(data=np.moveaxis(a.aef.vectors()@turn, -1, 0)).assign_attrs(model='theirs')
'''.strip()
SLIDER = "document.querySelector('.aenb-date')"
CLICK = '''
west, south, east, north = grid_bounds_lonlat(a.aef.grid)
_ = m.inspect((west + east)/2, (south + north)/2)
'''


def numbers(lab) -> dict[str, str]:
    "Values on the screen by band."
    cells = lab.page.locator('.aenb-values button').all_inner_texts()
    return dict(re.split(r'\s+', one.strip(), maxsplit=1) for one in cells)


def told(lab, digits:int, unit:str='') -> dict[str, str]:
    "The same, from Python."
    return eval(lab.run(f'shown = m.decoded.sel(time=m.date, method="nearest")\n'
                        f'print({{str(b): f"{{v:.{digits}f}}{unit}" '
                        'for b, v in zip(shown.band.values, shown.values)})'))


def test_the_slider_decodes(lab):
    "A click shows the middle of the period; keys move the date; another source is decoded; both themes."
    lab.open([PLACE, 'm = ae.CompareMap(a, b, frames=frames, models=model)\nm'], 'decoded')
    lab.sidebar(False)
    lab.run_all()
    lab.wait(PAINTED.format(2))
    lab.run('m.agreement')
    lab.run(CLICK)
    lab.wait(SLIDER)
    day = "document.querySelector('.aenb-day').textContent"
    assert lab.page.evaluate(day) == '2018-07-02'                       # the middle of 2018
    lab.page.locator('.aenb-date').focus()
    for _ in range(3): lab.page.keyboard.press('ArrowLeft')
    lab.until("m.date == '2018-06-29'")
    assert lab.page.evaluate('document.activeElement.className') == 'aenb-date'   # the focus has stayed
    assert lab.page.get_attribute('.aenb-date', 'aria-valuetext') == '2018-06-29'
    seen = numbers(lab)
    assert len(seen) == 10 and seen == told(lab, 3)
    lab.run("m.date = '2018-11-05'")
    lab.wait(f"{day} === '2018-11-05'")
    later = numbers(lab)
    assert later == told(lab, 3) and later != seen
    lab.page.click('.aenb-values button:nth-child(2)')
    lab.until("m.band == 'B03'")
    lab.wait("document.querySelector('.aenb-decoded svg').getAttribute('aria-label').startsWith('green')")
    dots = lab.page.locator('.aenb-decoded .aenb-seen').count()
    inside = "(frames['sentinel2'].times >= a.aef.valid.start_ms)"
    clear = "frames['sentinel2'].valid_pixels[:, 0, 16, 16]"
    assert dots == int(lab.run(f'print(({inside} & {clear}).sum())')) > 10
    output = lab.page.locator('.jp-Cell').nth(1).locator('.jp-OutputArea').first
    for theme in ('light', 'dark'):
        lab.theme(theme)
        lab.screenshot(f'decoded_{theme}', output)
    lab.page.select_option('.aenb-decoded select', 'a gedi')
    lab.until("m.decoding == 'a gedi' and m.panel.decoded['profile']")
    lab.wait("document.querySelectorAll('.aenb-decoded svg').length === 2")
    digits = int(lab.run("print(m.panel.decoded['bands'][98]['digits'])"))
    assert numbers(lab)['RH98'] == told(lab, digits, ' m')['RH98']
    lab.screenshot('decoded_heights_dark', output)
    assert not ours(lab)
    lab.assert_offline()
