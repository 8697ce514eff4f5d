"""Maps that others made are drawn on, and names that others chose run nothing."""

import json
from pathlib import Path

from maps_on_screen import FIELDS, OTHERS, PAINTED, pixel, place

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
