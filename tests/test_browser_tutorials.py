"""The tutorials of the two maps, opened and run in JupyterLab as a reader does."""
import json
import re
import shutil

from maps_on_screen import OTHERS, STILL, ours, spot
from pages import NBS, Page, text_of

BADGE = re.compile(r'https://colab\.research\.google\.com/assets/')  # every tutorial opens with it
CELL = '.jp-Cell[data-windowed-list-index="{}"] '
PAINTED = "document.querySelector('{}canvas.aenb-tile[data-version]')"
LOADED = """[...document.querySelectorAll('.jp-MarkdownCell img, .jp-Cell img')].some(one => one.complete
    && one.src.includes('{}') && one.naturalWidth > 600 && one.getBoundingClientRect().width > 300)"""


def read(lab, name:str) -> list[str]:
    "Run a tutorial beside its pictures, without the cell that needs the internet; the sources of its cells."
    path = NBS/'tutorials'/f'{name}.ipynb'
    book = json.loads(path.read_text(encoding='utf-8'))
    for cell in Page(path).code:
        if 'network' not in cell.directives: continue
        book['cells'][cell.index] = dict(cell_type='raw', id='network', metadata={}, source=cell.source)
    shutil.copytree(NBS/'images', lab.jupyter.folder/'images', dirs_exist_ok=True)
    lab.open_book(book, f'tutorials/{name}.ipynb')
    lab.sidebar(False)
    lab.run_all()
    lab.show_cell(0)
    lab.wait(LOADED.format('compare_map' if name.startswith('compare') else 'probe_map'))
    lab.screenshot(f'{name}_opens')
    return [text_of(cell['source']) for cell in book['cells']]


def see(lab, sources:list[str], start:str, name:str) -> str:
    "Scroll to a map and wait until it is painted, keep a picture; the selector of its cell."
    number = next(at for at, source in enumerate(sources) if start in source)
    cell, here = lab.show_cell(number), CELL.format(number)
    lab.wait(PAINTED.format(here))
    lab.wait(STILL)
    lab.screenshot(name, cell)
    return here


def brightness(lab, here:str, layer:str, place:str) -> int:
    "Of a layer, at the middle of a place that Python names."
    lon, lat = eval(lab.run(f'print(({place}["lon"], {place}["lat"]))'))
    return sum(spot(lab, lon, lat, layer, here)['colour'][:3])


def check_offline(lab, *others:str) -> None:
    "Nobody is asked but those that are named."
    asked = [url for url in lab.outside if not BADGE.match(url)]
    assert not [url for url in asked if not any(one in url for one in others)]


def test_compare_with_released(lab):
    "What was changed is dark, what is most alike is light; a click among strangers shows their series."
    sources = read(lab, 'compare_with_released')
    here = see(lab, sources, 'm = ae.CompareMap(', 'tutorial_compare')
    lab.wait(f"document.querySelector('{here}canvas[data-layer=agreement][data-version]')")
    worst, best = (brightness(lab, here, 'agreement', f'm.worst[{at}]') for at in (0, -1))
    assert worst + 120 < best
    lab.page.click(f'{here}[data-view=swipe]')
    lab.until("m.view == 'swipe'")
    for side in 'ab': lab.wait(f"document.querySelector('{here}canvas[data-layer={side}][data-version]')")
    lab.wait(STILL)
    lab.screenshot('tutorial_compare_swipe')
    here = see(lab, sources, 'strangers = ', 'tutorial_strangers')
    lab.page.click(f'{here}.aenb-worst li:nth-child(2) button')
    lab.until("abs(strangers.inspected['lon'] - strangers.worst[1]['lon']) < 1e-9")
    lab.wait(f"document.querySelectorAll('{here}svg.aenb-series').length === 2")
    assert not ours(lab)
    check_offline(lab)


def test_probe_land_cover(lab):
    "The map is painted, a click is one more label, numbers are a scale, and geemap shows it as well."
    sources = read(lab, 'probe_land_cover')
    here = see(lab, sources, 'm = ae.ProbeMap(', 'tutorial_probe')
    lab.wait(f"document.querySelector('{here}canvas[data-layer=prediction][data-version]')")
    assert lab.run('print(m.state.kind, len(m.labels))') == 'classes 31'
    assert lab.run('print(m.labels.labels[12].class_id)') == '5'   # the first of water
    lon, lat = eval(lab.run('print(tuple(m.labels.labels[12].shape["coordinates"]))'))
    red, green, blue, _ = spot(lab, lon, lat, 'prediction', here)['colour']
    assert blue > red and blue > green
    lab.page.click(f'{here}.leaflet-container', position=dict(x=385, y=240))
    lab.until('len(m.labels) == 32')
    here = see(lab, sources, 'fruit = ae.ProbeMap(', 'tutorial_numbers')
    lab.wait(f"document.querySelector('{here}canvas[data-layer=prediction][data-version]')")
    points = eval(lab.run('print([tuple(one.shape["coordinates"]) for one in fruit.labels.labels[::4]])'))
    shades = {tuple(spot(lab, *point, 'prediction', here)['colour']) for point in points}
    assert len(shades) > 5
    see(lab, sources, 'yours = geemap.Map', 'tutorial_geemap')
    assert not ours(lab)
    check_offline(lab, *OTHERS)
