"""What people see and do: maps in JupyterLab and Notebook 7, in a real Chromium that reaches nobody else."""
import sys

import browser
import pytest

MAP = '''
import numpy as np
from alphaearth_nb.colours import data_url
from ipyleaflet import ImageOverlay, Map
from ipywidgets import Layout
picture = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
overlay = ImageOverlay(url=data_url(picture, scale=8), bounds=((50, 4), (51, 5)))
'''.strip()
SHOW = '''
clicks = []
m = Map(center=(50.5, 4.5), zoom=8, layers=[overlay], layout=Layout(height='400px'))

def on_click(**event):
    if event['type'] == 'click': clicks.append(event['coordinates'])

m.on_interaction(on_click)
m
'''.strip()
SEEN = """[...document.querySelectorAll('img.leaflet-image-layer')].some(
    image => image.complete && image.naturalWidth > 0 && image.getBoundingClientRect().width > 50)"""


# ---- the harness itself

def test_a_click_reaches_python_and_a_change_the_page(session):
    "And the map stands again after a reload, and works again after a restart; nothing is asked of others."
    session.open([MAP, SHOW], 'harness')
    session.run_all()
    session.wait(SEEN)
    assert session.run('print(clicks)') == '[]'
    session.click('.leaflet-container', .5, .5)
    session.until('clicks')
    latitude, longitude = eval(session.run('clicks[-1]'))
    assert abs(latitude - 50.5) < .05 and abs(longitude - 4.5) < .05
    session.run('overlay.opacity = .25')
    session.wait("document.querySelector('img.leaflet-image-layer').style.opacity === '0.25'")
    session.reload()
    session.wait(SEEN)
    session.click('.leaflet-container', .5, .25)
    session.until('len(clicks) == 2')
    session.restart_kernel()
    with pytest.raises(RuntimeError, match='clicks'): session.run('clicks')
    session.run_all()
    session.wait(SEEN)
    session.click('.leaflet-container', .5, .5)
    session.until('len(clicks) == 1')
    session.screenshot('harness')
    session.assert_offline()


def test_themes_do_not_outlive_their_test(lab):
    "Dark is dark, and the next notebook starts light again."
    lab.open(['1'], 'themes')
    lab.theme('dark')
    lab.sidebar(False)
    lab.screenshot('dark')
    assert lab.page.evaluate("document.body.dataset.jpThemeLight") == 'false'
    lab.open(['1'], 'themes')
    lab.wait("document.body.dataset.jpThemeLight === 'true'")


def test_what_goes_wrong_is_seen(lab):
    "A failing cell, a request to another machine, a state that never comes."
    lab.open(['1/0'], 'wrong')
    with pytest.raises(RuntimeError, match='ZeroDivisionError'): lab.run_all()
    with pytest.raises(RuntimeError, match='ZeroDivisionError'): lab.run('1/0')
    with pytest.raises(AssertionError, match='not in 0.2 s: false'): lab.wait('false', timeout_s=.2)
    with pytest.raises(AssertionError, match='not in 0.2 s: 1 > 2'): lab.until('1 > 2', timeout_s=.2)
    lab.assert_offline()
    lab.page.evaluate("fetch('https://example.com/tile.png').catch(() => 0)")
    assert lab.outside == ['https://example.com/tile.png']
    with pytest.raises(pytest.fail.Exception, match='example.com'): lab.assert_offline()


@pytest.mark.parametrize(('lacks', 'words'), [('Chromium', 'apt-get install'), ('Playwright', 'uv pip')])
def test_without_a_browser_the_command_is_told(lacks, words, monkeypatch):
    "Skipped at home, red on CI."
    if lacks == 'Chromium': monkeypatch.setattr(browser, 'program', lambda: None)
    else: monkeypatch.setitem(sys.modules, 'playwright.sync_api', None)
    monkeypatch.delenv('CI', raising=False)
    with pytest.raises(pytest.skip.Exception, match=words): browser.leave_out(browser.missing())
    monkeypatch.setenv('CI', 'true')
    with pytest.raises(pytest.fail.Exception, match=words): browser.leave_out(browser.missing())
