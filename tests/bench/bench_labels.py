"""What a click costs until it is on the disk, and how long a large set takes to open."""
import os
import tempfile
from pathlib import Path

from harness import figure, measure, seconds_of

from alphaearth_nb.journal import Change, ClassDef, Label, State, begin_journal, journal_line, plain_change
from alphaearth_nb.labels import LabelSet

CLICKS, MANY = 500, 100_000


def flush(file:object) -> None:
    "The least that the disk asks for a click."
    file.write(b'x'*200)
    file.flush()
    os.fsync(file.fileno())


def write_many(path:Path) -> None:
    "A journal of as many clicks, without waiting for the disk at each."
    size = begin_journal(path, State(), 0)
    changes = [Change('add a class', {1: ClassDef(id=1, name='maize', colour='#e69f00')}, {})]
    changes += [Change('add a label', {}, {number: Label(
        id=number, shape={'type': 'Point', 'coordinates': [3 + number/MANY, 51.]}, class_id=1, by='bench',
        time_ms=1_600_000_000_000 + number)}) for number in range(1, MANY + 1)]
    lines = (journal_line(number, plain_change(change) | {'kind': 'do'})
             for number, change in enumerate(changes, 1))
    with open(path, 'ab') as file:
        assert file.tell() == size
        file.writelines(lines)


def open_and_close(path:Path) -> None:
    with LabelSet(path) as labels: assert len(labels) == MANY


with tempfile.TemporaryDirectory(dir='.') as folder, open(Path(folder)/'least', 'wb') as least:
    with LabelSet(Path(folder)/'clicks.jsonl') as labels:
        labels.add_class('maize')
        labels.add((3., 51.), 'maize')
        clicks = [1e3*seconds_of(lambda: labels.add((3., 51.), 'maize')) for _ in range(CLICKS)]
    waits = [1e3*seconds_of(lambda: flush(least)) for _ in range(CLICKS)]
    figure('a label, until it is on the disk', 'ms', clicks,
           [click/wait for click, wait in zip(clicks, waits)], 'of appending 200 bytes and flushing them')
    many = Path(folder)/'many.jsonl'
    write_many(many)
    figure(f'open a journal of {MANY} labels', 's', measure(lambda: open_and_close(many)).seconds)
    with LabelSet(many) as labels: labels.compact()
    figure(f'open {MANY} labels compacted', 's', measure(lambda: open_and_close(many)).seconds)
