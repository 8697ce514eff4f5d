"""The journal of labels: a model beside it, killed processes, torn and damaged files, full disks, script.

AE_TORTURE=1 kills fifty times instead of ten.
"""
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import geopandas as gpd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from alphaearth_nb.core import FileExists, LabelError, WriteError
from alphaearth_nb.journal import journal_line, parse_line
from alphaearth_nb.labels import LabelSet, rescue_labels

KILLS = 50 if os.environ.get('AE_TORTURE') else 10
OUTLINE = {'type': 'Polygon', 'coordinates': [
    [[0, 0], [1, 0], [1, 1], [0, 0]], [[.5, .1], [.6, .1], [.6, .2], [.5, .1]]]}


def content(labels:LabelSet) -> tuple:
    "All that a set says."
    return labels.classes, labels.labels


def begun(path:Path, count:int=3) -> LabelSet:
    "A set with two classes and some labels."
    labels = LabelSet(path, by='test')
    for name in ('maize', 'grass'): labels.add_class(name)
    for number in range(count): labels.add((number, 1.5), 'maize')
    return labels


# ---- against a model: copies of everything after each step

TEXTS = st.text(st.characters(exclude_categories=['Cs']), min_size=1, max_size=30)


class Machine(RuleBasedStateMachine):
    "Whatever is done in whatever order, the set says what a list of copies says."
    @initialize()
    def begin(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name)/'labels.jsonl'
        self.labels = LabelSet(self.path)
        self.now, self.past, self.future = ({}, {}), [], []  # ({class: name}, {label: (class, value)})
        self.steps, self.given = 0, (0, 0)
        for number, name in enumerate(('maize', 'grass'), 1):
            self.labels.add_class(name)
            self.step(self.now[0] | {number: name}, self.now[1])
            self.labels.add((number, 0), name)
            self.step(self.now[0], self.now[1] | {number: (number, None, (number, 0))})

    def step(self, classes:dict, labels:dict):
        self.past.append(self.now)
        self.now, self.future, self.steps = (classes, labels), [], self.steps + 1
        self.given = tuple(max([last, *part]) for last, part in zip(self.given, self.now))

    def pick(self, data, part): return data.draw(st.sampled_from(sorted(self.now[part])))

    @rule(name=TEXTS)
    def add_class(self, name):
        if name in self.now[0].values():
            with pytest.raises(LabelError): self.labels.add_class(name)
        else:
            number = self.labels.add_class(name)
            assert number == self.given[0] + 1
            self.step(self.now[0] | {number: name}, self.now[1])

    @rule(lon=st.floats(-180, 180), lat=st.floats(-90, 90), value=st.sampled_from([None, 0., -.1]),
          data=st.data())
    def add(self, lon, lat, value, data):
        none = [0] if value is not None else []
        class_id = data.draw(st.sampled_from([*sorted(self.now[0]), *none] or [7]))
        if class_id and class_id not in self.now[0]:
            with pytest.raises(LabelError): self.labels.add((lon, lat), class_id, value)
            return
        number = self.labels.add((lon, lat), class_id, value)
        assert number == self.given[1] + 1
        self.step(self.now[0], self.now[1] | {number: (class_id, value, (lon, lat))})

    @precondition(lambda self: self.now[1])
    @rule(data=st.data())
    def remove(self, data):
        number = self.pick(data, 1)
        self.labels.remove(number)
        self.step(self.now[0], {one: said for one, said in self.now[1].items() if one != number})

    @precondition(lambda self: self.now[1])
    @rule(data=st.data(), value=st.floats(0, 1))
    def relabel(self, data, value):
        number = self.pick(data, 1)
        self.labels.relabel(number, value=value)
        self.step(self.now[0], self.now[1] | {number: (0, value, self.now[1][number][2])})

    @precondition(lambda self: self.now[0])
    @rule(data=st.data(), name=TEXTS)
    def rename(self, data, name):
        number = self.pick(data, 0)
        if name in [other for one, other in self.now[0].items() if one != number]: return
        self.labels.rename_class(number, name)
        self.step(self.now[0] | {number: name}, self.now[1])

    @precondition(lambda self: len(self.now[0]) > 1)
    @rule(data=st.data())
    def merge(self, data):
        old, new = data.draw(st.permutations(sorted(self.now[0])))[:2]
        self.labels.merge_classes(old, new)
        moved = {one: (new if said[0] == old else said[0], *said[1:]) for one, said in self.now[1].items()}
        self.step({one: name for one, name in self.now[0].items() if one != old}, moved)

    @precondition(lambda self: self.now[0])
    @rule(data=st.data())
    def delete(self, data):
        number = self.pick(data, 0)
        self.labels.delete_class(number)
        self.step({one: name for one, name in self.now[0].items() if one != number},
                  {one: said for one, said in self.now[1].items() if said[0] != number})

    @rule()
    def undo(self):
        assert bool(self.labels.undo()) == bool(self.past)
        if self.past:
            self.future.append(self.now)
            self.now, self.steps = self.past.pop(), self.steps + 1

    @rule()
    def redo(self):
        assert bool(self.labels.redo()) == bool(self.future)
        if self.future:
            self.past.append(self.now)
            self.now, self.steps = self.future.pop(), self.steps + 1

    @rule()
    def compact(self): self.labels.compact()

    @rule()
    def reopen(self):
        before = content(self.labels)
        self.labels.close()
        self.labels = LabelSet(self.path)
        assert content(self.labels) == before and not self.labels.notes

    @invariant()
    def says_the_same(self):
        classes = {one.id: one.name for one in self.labels.classes}
        said = {one.id: (one.class_id, one.value, tuple(one.shape['coordinates']))
                for one in self.labels.labels}
        assert (classes, said) == self.now and self.labels.version == self.steps
        classed = [one for one, *_ in said.values()]
        assert self.labels.counts() == {one: classed.count(one) for one in {*classes, *classed}}

    def teardown(self):
        if hasattr(self, 'labels'): self.labels.close(); self.folder.cleanup()


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)


# ---- killed between any two clicks

CLICKS = '''
import itertools, sys
from alphaearth_nb.labels import LabelSet
labels = LabelSet(sys.argv[1], by='clicks')
if not labels.classes: labels.add_class('maize')
print('open', *labels.notes, flush=True)
for count in itertools.count(1):
    number = labels.add((count % 180, 1.), 'maize')
    print(number, flush=True)
    if count % 7 == 0: labels.undo(); print(-number, flush=True)
    if count % 25 == 0: labels.compact()
'''


def killed(path:Path, after:int, cut:int) -> tuple[list[int], list[str]]:
    "Label until killed: numbers that were acknowledged, and what was said before."
    program = subprocess.Popen([sys.executable, '-c', CLICKS, path], stdout=subprocess.PIPE, text=True)
    said = [program.stdout.readline() for _ in range(after)]
    if cut: threading.Event().wait(cut/4000)   # anywhere within a click, not only after it
    program.send_signal(signal.SIGKILL)
    said += program.communicate()[0].splitlines()
    lines = [line.strip() for line in said if line.strip()]
    assert lines and lines[0].startswith('open'), lines
    return list(map(int, lines[1:])), lines[:1]


def test_kill_9_loses_nothing_acknowledged_and_doubles_nothing(tmp_path):
    "What was printed was acknowledged: it is there after each kill, once, unless its undo was acknowledged."
    path, there = tmp_path/'labels.jsonl', set()
    for kill in range(KILLS):
        said, _ = killed(path, after=2 + 11*kill % 37, cut=kill % 5)
        taken, undone = {one for one in said if one > 0}, {-one for one in said if one < 0}
        with LabelSet(path) as labels:
            numbers = [one.id for one in labels.labels]
            again = content(labels)
        assert len(numbers) == len(set(numbers))
        now, must = set(numbers), there | (taken - undone)
        last = {max(taken)} if taken and not len(taken) % 7 else set()   # its undo may be there, unsaid
        assert must - now <= last and not undone & now, f'kill {kill} lost {sorted(must - now - last)}'
        assert len(now - must) <= 1        # written, and killed before it could be said
        with LabelSet(path, read_only=True) as labels: assert content(labels) == again
        there = now
    assert len(there) > 5*KILLS


@pytest.mark.parametrize('place', ['base written', 'journal written', 'before the old base goes'])
def test_killed_while_compacting(tmp_path, monkeypatch, place):
    "At each rename and removal of a compaction, what is on the disk holds every label."
    labels = begun(tmp_path/'labels.jsonl')
    labels.compact()
    labels.add((9, 9), 'grass')
    before, calls = content(labels), []
    stop = {'base written': 1, 'journal written': 2}.get(place)

    class Killed(BaseException): pass

    def replacing(old, new):
        calls.append(new)
        if len(calls) == stop: raise Killed
        return real(old, new)

    def removing(self, missing_ok=False): raise Killed

    real = os.replace
    monkeypatch.setattr(os, 'replace', replacing)
    if not stop: monkeypatch.setattr(Path, 'unlink', removing)
    with pytest.raises(Killed): labels.compact()
    monkeypatch.undo()
    labels.close()
    with LabelSet(tmp_path/'labels.jsonl') as labels:
        assert content(labels) == before
        labels.compact()
        assert content(labels) == before and labels.undo() == 'add a label'
    with LabelSet(tmp_path/'labels.jsonl') as labels: assert len(labels) == 3


# ---- torn and damaged

def test_torn_at_every_byte(tmp_path):
    "However much of the last line is there: the rest is whole, the loss is said, and work goes on."
    path = tmp_path/'labels.jsonl'
    begun(path).close()
    whole = path.read_bytes()
    start = whole.rindex(b'\n', 0, -1) + 1
    for end in range(start, len(whole) + 1, 3):
        path.write_bytes(whole[:end] if end % 2 else whole[:end] + b'\0\0')
        torn = path.read_bytes() not in (whole[:start], whole)
        with LabelSet(path) as labels:
            assert bool(labels.notes) == torn == ('dropped' in repr(labels))
            labels.add((5, 5), 'grass')
            after = content(labels)
        with LabelSet(path) as labels: assert content(labels) == after and not labels.notes


def test_a_lost_line_feed_and_foreign_line_ends_lose_nothing(tmp_path):
    path = tmp_path/'labels.jsonl'
    begun(path).close()
    whole = path.read_bytes()
    for text in (whole[:-1], whole.replace(b'\n', b'\r\n')):
        path.write_bytes(text)
        with LabelSet(path) as labels:
            assert len(labels) == 3 and not labels.notes
            labels.add((5, 5), 'grass')
        with LabelSet(path) as labels: assert len(labels) == 4


def damages(lines:list) -> dict:
    "Ways to damage a journal in the middle."
    return {'changed': [*lines[:3], lines[3].replace(b'1.5', b'2.5'), *lines[4:]],
            'lost': lines[:3] + lines[4:], 'doubled': lines[:4] + lines[3:],
            'swapped': [*lines[:3], lines[4], lines[3], *lines[5:]],
            'empty line': [*lines[:3], b'\n', *lines[3:]],
            'zeros': [*lines[:3], b'\0'*len(lines[3]), *lines[4:]], 'no head': lines[1:], 'nothing': [],
            'last one changed': [*lines[:-1], lines[-1].replace(b'1.5', b'2.5')],
            'other format': [journal_line(0, {'format': 'else'}), *lines[1:]],
            'deep': [*lines[:3], journal_line(3, {'what': 'x'}).replace(b'"x"', b'['*10**5), *lines[4:]]}


@pytest.mark.parametrize('kind', damages([b'']*6))
def test_damage_is_refused_and_rescued(tmp_path, kind):
    "Nothing is changed, the way out is named and works, and only what was damaged is missing."
    path = tmp_path/'labels.jsonl'
    begun(path).close()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(bad := b''.join(damages(lines)[kind]))
    for read_only in (False, True):
        with pytest.raises(LabelError, match=r'damaged in line \d.*rescue_labels'):
            LabelSet(path, read_only=read_only)
    assert path.read_bytes() == bad
    if not bad: return
    with rescue_labels(path, tmp_path/'rescued.jsonl') as labels:
        assert len(labels) >= (1 if kind == 'zeros' else 2)
        assert all(one.shape['coordinates'][1] == 1.5 for one in labels.labels)
        assert {one.class_id for one in labels.labels} <= {one.id for one in labels.classes}
        after = content(labels)
    with LabelSet(tmp_path/'rescued.jsonl') as labels: assert content(labels) == after
    assert path.read_bytes() == bad
    with pytest.raises(FileExists): rescue_labels(path, tmp_path/'rescued.jsonl')


def test_a_changed_base_is_refused(tmp_path):
    labels = begun(tmp_path/'labels.jsonl')
    labels.compact()
    labels.add((8, 8), 'grass')
    labels.close()
    base, = tmp_path.glob('*.parquet')
    whole = base.read_bytes()
    base.write_bytes(whole[:-1] + b'?')
    with pytest.raises(LabelError, match='changed or gone'): LabelSet(tmp_path/'labels.jsonl')
    with rescue_labels(tmp_path/'labels.jsonl', tmp_path/'rescued.jsonl') as labels: assert len(labels) == 1
    base.write_bytes(whole)
    with LabelSet(tmp_path/'labels.jsonl') as labels: assert len(labels) == 4


# ---- full disks

def test_a_full_disk_takes_nothing_and_loses_nothing(tmp_path):
    "The change is refused, memory and disk stay the same, and with space again work goes on."
    path = tmp_path/'labels.jsonl'
    labels = begun(path)
    before, size = content(labels), path.stat().st_size
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in (0, 1, 50):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, limit[1]))
        try:
            for step in (lambda: labels.add((5, 5), 'grass'), labels.undo, labels.compact):
                with pytest.raises(WriteError, match='could not be written'): step()
                assert content(labels) == before
        finally: resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        assert content(labels) == before and labels.version == 5 and path.stat().st_size == size
        with LabelSet(path, read_only=True) as other: assert content(other) == before and not other.notes
    labels.add((5, 5), 'grass')
    labels.close()
    with LabelSet(path) as labels: assert len(labels) == 4
    assert {one.name for one in tmp_path.iterdir()} == {'labels.jsonl', '.labels.jsonl.lock'}


@pytest.mark.parametrize('error', [OSError(5, 'Input/output error'), KeyboardInterrupt()])
def test_a_failed_or_interrupted_flush_takes_nothing(tmp_path, monkeypatch, error):
    labels = begun(tmp_path/'labels.jsonl')
    before, heard = content(labels), []
    labels.observe(heard.append)

    def failing(handle): raise error

    monkeypatch.setattr(os, 'fsync', failing)
    with pytest.raises((WriteError, KeyboardInterrupt)): labels.add((5, 5), 'grass')
    monkeypatch.undo()
    assert content(labels) == before and not heard
    with LabelSet(labels.path, read_only=True) as other: assert content(other) == before
    labels.add((5, 5), 'grass')


def test_every_line_is_flushed_before_the_call_returns(tmp_path, monkeypatch):
    labels, flushed, real = begun(tmp_path/'labels.jsonl'), [], os.fsync

    def noting(handle):
        flushed.append(os.fstat(handle).st_size)
        return real(handle)

    monkeypatch.setattr(os, 'fsync', noting)
    for step in (lambda: labels.add((5, 5), 'grass'), labels.undo, labels.redo):
        step()
        assert flushed[-1] == labels.path.stat().st_size
    assert len(flushed) == 3


# ---- two writers

def test_a_second_process_is_refused_or_looks_on(tmp_path):
    path = tmp_path/'labels.jsonl'
    labels = begun(path)
    code = ('import sys; from alphaearth_nb.labels import LabelSet\n'
            'try: LabelSet(sys.argv[1]); print("opened")\n'
            'except ValueError as error: print("refused", error)\n'
            'looks = LabelSet(sys.argv[1], read_only=True); print(len(looks))\n'
            'try: looks.undo()\nexcept ValueError as error: print(error)')
    before = path.read_bytes()

    def other() -> str:
        command = [sys.executable, '-c', code, path]
        return subprocess.run(command, capture_output=True, text=True).stdout

    said = other()
    assert 'refused' in said and 'read_only=True' in said and '\n3\n' in said and 'opened read-only' in said
    assert path.read_bytes() == before
    labels.close()
    assert 'opened' in other().splitlines()[0]


def test_a_forked_process_may_not_write(tmp_path):
    labels = begun(tmp_path/'labels.jsonl')
    if not (child := os.fork()):
        try: labels.add((5, 5), 'grass')
        except LabelError: os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    labels.add((5, 5), 'grass')


def test_opening_again_in_one_process_takes_over(tmp_path):
    first = begun(tmp_path/'labels.jsonl')
    second = LabelSet(tmp_path/'labels.jsonl')
    second.add((5, 5), 'grass')
    with pytest.raises(LabelError, match='closed'): first.add((6, 6), 'grass')
    second.close()
    LabelSet(tmp_path/'labels.jsonl').add((6, 6), 'grass')


def test_a_file_changed_behind_the_back_is_noticed(tmp_path):
    labels = begun(tmp_path/'labels.jsonl')
    whole = labels.path.read_bytes()
    for act in (lambda: labels.path.write_bytes(whole + b'x'), labels.path.unlink):
        act()
        with pytest.raises((LabelError, WriteError)): labels.add((5, 5), 'grass')
        with pytest.raises((LabelError, WriteError)): labels.compact()
        assert len(labels) == 3 and not [*tmp_path.glob('*.parquet')]
    with pytest.raises(LabelError, match='readable file'): LabelSet(labels.path, read_only=True)


def test_threads_get_numbers_of_their_own(tmp_path):
    labels = begun(tmp_path/'labels.jsonl', 0)
    def click(): [labels.add((1, 1), 'maize') for _ in range(20)]
    threads = [threading.Thread(target=click) for _ in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    for one in threads: one.start()
    for one in threads: one.join()
    sys.setswitchinterval(interval)
    labels.close()
    with LabelSet(tmp_path/'labels.jsonl') as again:
        assert [one.id for one in again.labels] == list(range(1, 81))


def change_again_and_again(labels:LabelSet, rounds:int) -> None:
    "Add, take back, merge and delete; what another thread has deleted meanwhile is left out."
    steps = (lambda: labels.add((1, 1), 'grass'), labels.undo, labels.redo, labels.undo,
             lambda: labels.merge_classes('grass', 'maize'), labels.undo,
             lambda: labels.delete_class('maize'), labels.undo)
    for _ in range(rounds):
        for step in steps:
            with contextlib.suppress(LabelError): step()


def test_what_is_read_while_others_write_is_of_one_instant():
    "Counts add up to the labels, and every label has its class, in each snapshot; nothing read fails."
    labels = begun(None, 150)
    for number in range(50): labels.add((number, 2), 'grass')
    writers = [threading.Thread(target=change_again_and_again, args=(labels, 400)) for _ in range(2)]
    wrong, versions, interval = [], [], sys.getswitchinterval()

    def read() -> None:
        while any(one.is_alive() for one in writers):
            try:
                held = labels.snapshot()
                versions.append(held.version)
                said = {one.class_id for one in held.labels} - {one.id for one in held.classes}
                counts = held.counts()
                if said or sum(counts.values()) != len(held.labels): wrong.append((said, counts))
                labels.labels, labels.classes, labels.counts(), repr(labels), labels._repr_html_()
            except Exception as error: wrong.append(error)

    sys.setswitchinterval(1e-6)
    try:
        readers = [threading.Thread(target=read) for _ in range(2)]
        for one in (*writers, *readers): one.start()
        for one in (*writers, *readers): one.join()
    finally: sys.setswitchinterval(interval)
    assert not wrong, wrong[:3]
    assert len(set(versions)) > 10 and sum(labels.counts().values()) == len(labels)


def test_a_failing_observer_hurts_nobody(tmp_path):
    labels, heard = begun(tmp_path/'labels.jsonl'), []
    labels.observe(lambda _: 1/0)
    labels.observe(lambda changed: heard.append(changed.version))
    with pytest.warns(UserWarning, match='ZeroDivisionError'): labels.add((5, 5), 'grass')
    assert heard == [6] and len(labels) == 4


# ---- tables

def test_tables_carry_everything_there_and_back(tmp_path):
    labels = begun(tmp_path/'labels.jsonl')
    labels.add(OUTLINE, 'grass', value=.1)
    labels.add({'type': 'MultiPolygon', 'coordinates': [OUTLINE['coordinates']]}, value=-3)
    labels.to_geoparquet(tmp_path/'out.parquet')
    labels.to_geojson(tmp_path/'out.geojson')
    labels.compact()
    before = content(labels)
    labels.close()
    with LabelSet(tmp_path/'labels.jsonl') as again: assert content(again) == before
    for table in (gpd.read_parquet(tmp_path/'out.parquet'), gpd.read_file(tmp_path/'out.geojson')):
        assert list(table.columns)[:4] == ['label', 'class_id', 'class_name', 'value'] and table.crs == 4326
        back = LabelSet.from_geodataframe(table)

        def said(which): return [replace(one, id=0) for one in which.labels]

        assert said(back) == said(labels) and back.counts() == labels.counts()
    with pytest.raises(FileExists): labels.to_geojson(tmp_path/'out.geojson')
    assert json.loads((tmp_path/'out.geojson').read_text())['classes'][0]['name'] == 'maize'


@given(st.floats(-180, 180), st.floats(-90, 90), st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_come_back_bit_for_bit(lon, lat, value):
    labels = LabelSet()
    labels.add((lon, lat), value=value)
    assert parse_line(journal_line(1, {'it': [lon, lat, value]})) == (1, {'it': [lon, lat, value]})
    one, = LabelSet.from_geodataframe(labels.to_geodataframe()).labels
    assert (one.shape['coordinates'], one.value) == ([lon, lat], value)


@pytest.mark.parametrize('place', [None, 'here', (1,), (1, 2, 3), ('a', 'b'), (181, 0), (0, 91), 7,
                                   (float('inf'), 0),
                                   {'type': 'LineString', 'coordinates': [[0, 0], [1, 1]]},
                                   {'type': 'Nothing'}, {},
                                   {'type': 'Polygon', 'coordinates': []},
                                   {'type': 'Polygon', 'coordinates': [[0]]}])
def test_odd_places_are_refused_in_words(place):
    labels = LabelSet()
    labels.add_class('maize')
    with pytest.raises(LabelError, match='place is'): labels.add(place, 'maize')
    assert labels.version == 1


def test_more_classes_than_colours_and_keys():
    labels = LabelSet()
    for number in range(60): labels.add_class(f'class {number}')
    assert [one.key for one in labels.classes[:11]] == [*'123456789', '', '']
    assert len({one.colour for one in labels.classes}) == 48


# ---- names are data

ODD = [
    '<script>alert(1)</script>', '</script><script>alert(1)</script>', '<img src=x onerror=alert(1)>',
    '<svg/onload=alert(1)>', '"><script>alert(1)</script>', "'><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)', "' onfocus='alert(1)' autofocus='", '<iframe src=javascript:alert(1)>',
    '<a href="javascript:alert(1)">x</a>', '<body onload=alert(1)>', '<b>bold', '--><script>1</script>',
    '<!--', ']]><script>1</script>', '<style>*{display:none}</style>', '</style><script>1</script>',
    '</td></tr></table><script>1</script>', '</textarea><script>1</script>', '</title><script>1</script>',
    '<script src=//evil.example/x.js></script>', '<link rel=stylesheet href=//e>',
    '<meta http-equiv=refresh content=0>', '<object data=x>', '<embed src=x>',
    '<form action=x><input autofocus onfocus=alert(1)>', '<details open ontoggle=alert(1)>',
    '<video><source onerror=alert(1)>', '<math><mi xlink:href=javascript:alert(1)>', '&lt;script&gt;',
    '&#60;script&#62;alert(1)&#60;/script&#62;', '\\u003cscript\\u003ealert(1)', '\\x3cscript\\x3e',
    '%3Cscript%3Ealert(1)%3C/script%3E', '{{constructor.constructor("alert(1)")()}}', '${alert(1)}',
    '`${alert(1)}`', '<ScRiPt>alert(1)</sCrIpT>', '<script\n>alert(1)</script\n>',
    '<<script>script>alert(1)<</script>', '\u2028alert(1)\u2029', 'a\nb\r\nc\td', '\x00<script>',
    '\x1b[31mred', '🌾🌽👩🏽‍🌾', 'مزرعة\u202egrass', 'x'*100_000, '<script>'*5000, ' ',
    "Robert'); DROP TABLE labels;--", '=HYPERLINK("http://evil.example")', '../../etc/passwd', '$(reboot)']


class Tags(HTMLParser):
    "What a browser would make of a page: tags, attributes, text."
    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.text = set(), set(), ''
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs): self.tags.add(tag); self.attributes |= {name for name, _ in attrs}
    def handle_data(self, data): self.text += data
    def handle_comment(self, data): self.tags.add('!--')
    def handle_decl(self, data): self.tags.add('!')
    def unknown_decl(self, data): self.tags.add('![')


def test_script_in_names_runs_nowhere_and_is_kept(tmp_path):
    "In the picture of a set and in all that is written: only our own tags, and the names as they were."
    assert len(ODD) > 50
    labels = LabelSet(tmp_path/'labels.jsonl', by=ODD[0], field=ODD[1], model=ODD[4])
    for number, name in enumerate(ODD): labels.add((number, 0), labels.add_class(name))
    names = [one.name for one in labels.classes]
    assert names == ODD
    page = Tags(labels._repr_html_())
    assert page.tags == {'table', 'caption', 'tr', 'th', 'td', 'span'} and page.attributes == {'style'}
    assert ODD[7] in page.text and ODD[29] in page.text and len(labels._repr_html_()) < 50_000
    assert '<' not in repr(labels)
    labels.to_geojson(tmp_path/'out.geojson')
    labels.to_geoparquet(tmp_path/'out.parquet')
    assert b'<' not in labels.path.read_bytes() and '<' not in (tmp_path/'out.geojson').read_text()
    for table in (gpd.read_parquet(tmp_path/'out.parquet'), labels.to_geodataframe()):
        assert table.class_name.tolist() == ODD and not table.provenance.str.contains('<').any()
    said = json.loads((tmp_path/'out.geojson').read_text())
    assert [one['properties']['class_name'] for one in said['features']] == ODD
    labels.compact()
    labels.close()
    with LabelSet(tmp_path/'labels.jsonl') as again: assert [one.name for one in again.classes] == ODD


@pytest.mark.parametrize('name', ODD[:6])
def test_script_in_file_names_and_colours_runs_nowhere(tmp_path, name):
    safe = name.replace('/', '_')
    with LabelSet(tmp_path/f'{safe}.jsonl') as labels:
        assert Tags(labels._repr_html_()).tags <= {'table', 'caption', 'tr', 'th'}
    with pytest.raises(ValueError): LabelSet().add_class('maize', colour=name)
    with pytest.raises(LabelError): LabelSet().add_class('maize', key=name)
