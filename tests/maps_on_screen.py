"""Fields to look at, and where on the screen their pixels are."""

import json

import numpy as np

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
STILL = """[...document.querySelectorAll('canvas.aenb-tile')].every(
    one => getComputedStyle(one).opacity === '1')"""   # Leaflet lets tiles appear little by little
PIXEL = """([x, y, layer]) => {
  for (const canvas of document.querySelectorAll(`canvas.aenb-tile[data-layer="${layer}"]`)) {
    const box = canvas.getBoundingClientRect(), scale = 256/box.width;
    if (x < box.left || x >= box.right || y < box.top || y >= box.bottom) continue;
    return [...canvas.getContext('2d').getImageData((x - box.left)*scale, (y - box.top)*scale, 1, 1).data];
} return null }"""
SPOT = """([here, layer, lon, lat]) => {
  for (const canvas of document.querySelectorAll(`${here} canvas[data-layer="${layer}"][data-version]`)) {
    const [zoom, column, row] = canvas.dataset.key.split('/').map(Number);
    const box = canvas.getBoundingClientRect();
    const across = (lon + 180)/360*2**zoom - column;
    const down = (1 - Math.asinh(Math.tan(lat*Math.PI/180))/Math.PI)/2*2**zoom - row;
    if (across < 0 || across >= 1 || down < 0 || down >= 1 || !canvas.isConnected) continue;
    const colour = canvas.getContext('2d').getImageData(across*256, down*256, 1, 1).data;
    return {x: box.left + across*box.width, y: box.top + down*box.height, colour: [...colour]};
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


def spot(session, lon: float, lat: float, layer: str, here: str = '') -> dict | None:
    "Where a place lies on the screen and the colour a layer has there, on the map inside a selector."
    return session.page.evaluate(SPOT, [here, layer, lon, lat])


def ours(session) -> list[str]:
    "Errors on the console that are not those of Notebook 7 itself."
    marks = 'blob:', 'view for model', 'anywidget', 'aenb', '_layerAdd', 'not defined'
    return [error for error in session.errors if any(mark in error for mark in marks)]


def focus(session) -> None:
    session.page.locator('.leaflet-container').first.focus()
