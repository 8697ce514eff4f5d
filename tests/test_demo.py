"""The main job from end to end: `aenb demo` in a process of its own, and what it leaves."""
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from pages import ROOT

FILES = {'field.tif', 'metrics.json', 'model.safetensors', 'report.html'}
STEPS = '3'  # what is tested is the walk, not how much it learns
LACKING = {'the 10 m bands': 'S2_L2A_10m_*', 'Sentinel-1': 'S1_GRD-*', 'Landsat': 'L8_SR_*'}


def aenb(*words:object) -> subprocess.CompletedProcess:
    "Run the command line in a process of its own, on one thread."
    code = 'import sys; from alphaearth_nb.cli import main; sys.exit(main())'
    return subprocess.run([sys.executable, '-c', code, *map(str, words)], cwd=ROOT, capture_output=True,
                          text=True, env=os.environ | {'OMP_NUM_THREADS': '1'})


def walked(data:object, out:Path) -> tuple[Path, str]:
    "The folder that a short demo wrote, and what it said."
    done = aenb('demo', '--data', data, '--out', out, '--steps', STEPS)
    assert done.returncode == 0, done.stderr[-3000:]
    return out, done.stdout


@pytest.fixture(scope='module')
def demo(tmp_path_factory) -> tuple[Path, str]:
    return walked('synthetic', tmp_path_factory.mktemp('demo')/'out')


@pytest.fixture(scope='module')
def real_demo(flanders, tmp_path_factory) -> tuple[Path, str]:
    return walked(flanders, tmp_path_factory.mktemp('real')/'out')


class Addresses(HTMLParser):
    "What a page would fetch or run, and its text."

    def __init__(self):
        super().__init__()
        self.tags, self.found, self.events, self.words = set(), [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.found += [value for name, value in attrs if name in ('src', 'href', 'srcset', 'data', 'action')]
        self.events += [name for name, _ in attrs if name.startswith('on')]

    def handle_data(self, data): self.words.append(data)


def opened(folder:Path) -> tuple[str, Addresses]:
    page, parser = (folder/'report.html').read_text(encoding='utf-8'), Addresses()
    parser.feed(page)
    return page, parser


def check_report(folder:Path) -> None:
    "One file, nothing from elsewhere, no script, not too large to be mailed."
    page, parser = opened(folder)
    assert not parser.tags & {'script', 'iframe', 'object', 'embed', 'link', 'base', 'form'}
    assert not parser.events
    assert parser.found and all(address.startswith('data:image/png;base64,') for address in parser.found)
    assert not re.search(r'https?://|url\(|@import|javascript:', page)
    assert len(page) < 1_000_000


def check_numbers(folder:Path) -> None:
    "Every score of the report stands in metrics.json, and the sentences quote its paired differences."
    numbers, page = json.loads((folder/'metrics.json').read_text()), opened(folder)[0]
    shown = re.findall(r'<td>(\d+) <small>± (\d+)</small>', page)
    rows = numbers['scores']['rows']
    cells = [rows[name][trial] for name in rows for trial in ('1', '10', 'max')]
    assert len(shown) == 15
    assert shown == [(f'{100*cell["mean"]:.0f}', f'{100*cell["sd"]:.0f}') for cell in cells]
    for cell in cells: assert cell['mean'] == pytest.approx(np.mean(cell['splits'][cell['probe']]))
    assert numbers['sha256']['field.tif'] in page and numbers['frames_sha256'] in page


def check_field(folder:Path) -> None:
    "The field reads back as codes; decoded they have length 1, and the place and period are those asked for."
    from alphaearth_nb.places import open_field
    field, numbers = open_field(folder/'field.tif'), json.loads((folder/'metrics.json').read_text())
    assert field.aef.state == 'codes' and field.dtype == np.int8 and field.shape == (64, 64, 64)
    assert np.abs(np.linalg.norm(field.aef.vectors(), axis=-1) - 1).max() < 1e-5
    assert str(field.aef.valid) == numbers['period'] == '2018-01-01/2019-01-01'


def test_demo_writes_its_files_and_says_so(demo):
    folder, said = demo
    assert {path.name for path in folder.iterdir()} == FILES
    assert all(f'wrote {folder/name}' in said for name in FILES)
    last = said.splitlines()[-1]
    assert 'report.html in a browser' in last and 'aenb embed' in last


def test_report_needs_nothing_but_itself(demo): check_report(demo[0])


def test_report_and_metrics_agree(demo): check_numbers(demo[0])


def test_field_reads_back(demo): check_field(demo[0])


def test_report_has_its_parts(demo):
    page, parser = opened(demo[0])
    words = ' '.join(parser.words)
    for part in ('True colour', 'Embedding', 'Labels', 'Map from 10 labels a class', 'Any period at once',
                 'What a few labels can tell', 'How it learned', 'How it was made', 'same model, zero steps',
                 'position alone', 'Training', 'Synthetic: drawn by alphaearth_nb', 'UTM zone 31N'):
        assert part in words
    assert page.count('<img') == 8


def test_model_embeds_the_same_field(demo, tmp_path):
    "The saved model makes the saved field again, byte for byte in its codes."
    from alphaearth_nb.places import open_field
    folder, _ = demo
    again = tmp_path/'again.tif'
    done = aenb('embed', folder/'model.safetensors', 'synthetic', '--period', '2018', '--out', again)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (open_field(again).values == open_field(folder/'field.tif').values).all()


def test_second_demo_refuses_to_overwrite(demo):
    folder, _ = demo
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    done = aenb('demo', '--out', folder, '--steps', STEPS)
    assert done.returncode == 2 and done.stderr.count('\n') == 1
    assert '--overwrite' in done.stderr and 'field.tif' in done.stderr
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


# ---- real frames

def test_real_demo(real_demo):
    folder, said = real_demo
    for check in (check_report, check_numbers, check_field): check(folder)
    assert 'surface temperature is left out' in said
    words = ' '.join(opened(folder)[1].words)
    assert 'Contains modified Copernicus Sentinel data 2017–2018' in words
    assert 'U.S. Geological Survey' in words


def test_plain_rows_agree_with_the_published_table(real_demo):
    "The rows that need no model are those of the project's table for this place: 69/86/92 and 91/97/98."
    rows = json.loads((real_demo[0]/'metrics.json').read_text())['scores']['rows']
    for name, known in (('median of the period', (69, 86, 92)), ('medians of its quarters', (91, 97, 98))):
        found = [100*rows[name][trial]['mean'] for trial in ('1', '10', 'max')]
        assert found == pytest.approx(known, abs=2)


@pytest.mark.parametrize('what', LACKING)
def test_demo_uses_what_is_there(flanders, tmp_path, what):
    "A place that lacks a sensor or bands is walked with the rest, and what is missing is said."
    place = tmp_path/'place'
    place.mkdir()
    gone = set(flanders.glob(LACKING[what]))
    assert gone
    for path in set(flanders.glob('*.nc')) - gone: (place/path.name).symlink_to(path)
    folder, said = walked(place, tmp_path/'out')
    note = {'the 10 m bands': 'lacks its 10 m bands'}.get(what, f'{what} is missing')
    assert note in said and note in ' '.join(opened(folder)[1].words)
    assert note in ' '.join(json.loads((folder/'metrics.json').read_text())['missing'])
    check_report(folder)
    check_field(folder)


def test_place_without_labels_is_walked(flanders, tmp_path):
    "No labels: no probes, no scores, and a sentence that says so; everything else is there."
    place = tmp_path/'place'
    place.mkdir()
    for path in flanders.glob('S1_GRD-*.nc'): (place/path.name).symlink_to(path)
    folder, said = walked(place, tmp_path/'out')
    words = ' '.join(opened(folder)[1].words)
    assert 'this place has no labels' in words and 'this place has no labels' in said
    assert 'Radar (no optical frame)' in words and 'What a few labels can tell' in words
    assert json.loads((folder/'metrics.json').read_text())['scores'] == {'rows': {}}
