"""A kernel that dies, ends, or cannot be reached: the line under the map says what to do."""
import re

import pytest
from maps_on_screen import FIELDS, ours

STOPPED = "document.querySelector('.aenb-line[data-kernel=stopped]')"
LIVE = "[...document.querySelectorAll('.aenb-line')].some(one => !one.dataset.kernel)"

PICTURE = """[...document.querySelectorAll('canvas[data-layer=prediction][data-version]')].filter(
    one => one.getBoundingClientRect().width > 100).map(one => one.toDataURL())"""
TIDY = """[...document.querySelectorAll('.jupyter-widgets-disconnected')].every(
    one => getComputedStyle(one, '::before').display === 'none')"""  # no broken links that push the map aside


def probe(session, name:str) -> None:
    "A map with two labels of two classes, and what the probe makes of them."
    session.open([FIELDS, "m = ae.ProbeMap(a, 'kept.labels.jsonl')\nm"], name)
    session.sidebar(False)
    session.run('import pathlib; pathlib.Path("kept.labels.jsonl").unlink(missing_ok=True)')
    session.run_all()
    session.run(
        'west, south, east, north = grid_bounds_lonlat(a.aef.grid)\n'
        'for which, (x, y) in enumerate([(.5, .2), (.2, .8)], 1):\n'
        '    m.add_class(f"class {which}")\n'
        '    m.label(west + x*(east - west), north - y*(north - south), which)\n'
        'm.wait()')
    session.wait("document.querySelector('canvas[data-layer=prediction][data-version]')")


@pytest.mark.parametrize('end', ['kill_kernel', 'restart_kernel', 'shut_kernel_down'])
def test_a_kernel_that_is_gone(session, end):
    "The line says so, the picture stays, and after the cells are run again all is as it was."
    probe(session, end)
    before = session.page.evaluate(PICTURE)
    assert before and session.page.evaluate(LIVE)
    getattr(session, end)()
    session.wait(STOPPED)
    session.screenshot(end)
    words = session.page.inner_text('.aenb-line')
    assert 'has stopped: run the cells again' in words and 'labels' in words.lower()
    assert session.page.evaluate(PICTURE) == before
    assert session.page.evaluate(TIDY)
    if end == 'shut_kernel_down': session.start_kernel()
    session.run_all()
    session.wait(LIVE)
    session.wait("document.querySelector('canvas[data-layer=prediction][data-version]')")
    assert session.run('print(len(m.labels), m.state.kind)') == '2 classes'
    session.run("m.panel.line.say('as before')")
    session.wait("document.querySelector('.aenb-line').innerText === 'as before'")
    assert not ours(session)
    session.assert_offline()


def test_a_kernel_out_of_reach(lab):
    "While the page cannot speak to the kernel, the line says so; afterwards it says what it said before."
    sockets, cut = [], []

    def carry(socket):
        if cut: return socket.close()
        socket.connect_to_server()
        sockets.append(socket)

    lab.page.route_web_socket(re.compile('/channels'), carry)
    probe(lab, 'out_of_reach')
    said = lab.page.inner_text('.aenb-line')
    cut.append(True)
    for socket in sockets: socket.close()
    lab.wait("document.querySelector('.aenb-line[data-kernel=away]')")
    assert 'cannot be reached' in lab.page.inner_text('.aenb-line')
    cut.clear()
    lab.command('notebook:reconnect-to-kernel')
    lab.wait(LIVE)
    assert lab.page.inner_text('.aenb-line') == said
    lab.run("m.panel.line.say('here again')")
    lab.wait("document.querySelector('.aenb-line').innerText === 'here again'")
    lab.assert_offline()
