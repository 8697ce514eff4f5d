"""Tokens stay out of logs however many threads read at once."""
import logging
import threading

from alphaearth_nb.stac import _LOUD, _discreet

SIGNED = 'https://host/file.tif?sig=secret'


def heard(log:logging.Logger) -> list[str]:
    "What a listener hears of a line with a token."
    lines, listener = [], logging.Handler()
    listener.emit = lambda record: lines.append(record.getMessage())
    log.addHandler(listener)
    try: log.error('cannot open %s', SIGNED)
    finally: log.removeHandler(listener)
    return lines


def test_the_first_that_ends_does_not_open_the_mouths_of_the_others():
    "Each reader put its filter in and took it away again: of two at once, the second went on without."
    log, inside, leave = logging.getLogger(_LOUD[1]), threading.Event(), threading.Event()
    def other() -> None:
        with _discreet():
            inside.set()
            leave.wait(20)
    reader = threading.Thread(target=other)
    reader.start()
    assert inside.wait(20)
    with _discreet(): assert heard(log) == ['cannot open https://host/file.tif']
    assert heard(log) == ['cannot open https://host/file.tif']  # the other one still reads
    leave.set()
    reader.join()
    assert SIGNED in heard(log)[0]  # nobody reads: the user's own lines are left alone
    assert not log.filters
