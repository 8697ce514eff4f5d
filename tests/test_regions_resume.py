"""Regions that are stopped, killed, altered, continued, and shared by processes are the same to the byte."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import region_worker
import torch
from region_worker import CORES, ZONE, embedded, ground, small_model

from alphaearth_nb.core import ConfigError, FieldError
from alphaearth_nb.regions import open_region


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    "The region, made in one go."
    return embedded(tmp_path_factory.mktemp('whole')).files[0]


def start(out, **order):
    "A process that embeds the region."
    text = json.dumps({'out': str(out), **order})
    return subprocess.Popen([sys.executable, region_worker.__file__, text], text=True, stdout=subprocess.PIPE,
                            env={**os.environ, 'OMP_NUM_THREADS': '1'}, cwd=Path(__file__).parent.parent)


@pytest.mark.parametrize(('stop', 'at', 'parts'), [('part', 1, 0), ('part', 8, 7), ('sheet', 1, CORES),
                                                   ('whole', 1, CORES)])
def test_killed_and_continued_it_is_the_same_to_the_byte(whole, tmp_path, stop, at, parts):
    out = tmp_path/'field.tif'
    child = start(out, stop=stop, at=at)
    try: assert child.stdout.readline() == 'stopped\n'
    finally: child.kill(), child.wait()    # SIGKILL
    assert len(list((tmp_path/'field.tif.parts').glob('r*.part'))) == parts and not out.exists()
    with pytest.raises(FieldError, match=f'not finished: {parts} tiles'): open_region(out)
    asked, area = [], []
    embedded(tmp_path, lambda window: asked.append(window) or ground(window),
             report=lambda done, total: area.append(done/total))
    assert len(area) == CORES and area == sorted(area) and area[-1] == pytest.approx(1)
    assert len(asked) == CORES - parts and out.read_bytes() == whole.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ['field.tif']


def test_two_workers_make_the_same_and_one_may_die(whole, tmp_path):
    out, children = tmp_path/'field.tif', []
    try:
        children.append(start(out, worker=2, stop='part', at=3))
        assert children[0].stdout.readline() == 'stopped\n'
        children += [start(out, worker=1), start(out)]
        children[0].kill()
        assert [child.communicate(timeout=100)[0] for child in children[1:]][1] == 'done\n'
    finally:
        for child in children: child.kill(), child.wait()
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize('damage', ['cut', 'bit', 'renamed', 'other'])
def test_a_part_that_was_altered_is_refused_by_name(tmp_path, damage):
    def broken(window):
        if len(list((tmp_path/'field.tif.parts').glob('*.part'))) == 6: raise OSError('the line is dead')
        return ground(window)
    with pytest.raises(OSError, match='the line is dead'): embedded(tmp_path, broken)
    part = tmp_path/'field.tif.parts'/'r0000_c0002.part'
    data = bytearray(part.read_bytes())
    if damage == 'cut': part.write_bytes(data[:len(data)//2])
    if damage == 'bit':
        data[-1000] ^= 4
        part.write_bytes(data)
    if damage == 'renamed': part.write_bytes((part.parent/'r0000_c0001.part').read_bytes())
    if damage == 'other': part.write_bytes(part.read_bytes().replace(b'"region": "', b'"region": "0'))
    with pytest.raises(FieldError, match='r0000_c0002.part was altered'): embedded(tmp_path)
    part.unlink()
    embedded(tmp_path)


def test_another_region_does_not_go_on_with_these_parts(tmp_path):
    def broken(window): raise OSError('the line is dead')
    with pytest.raises(OSError): embedded(tmp_path, broken, attrs={'catalogue': 'one'})
    louder = small_model()
    with torch.no_grad(): louder.direction.bias.add_(.01)
    for changed, match in (({'model': louder}, 'weights'), ({'attrs': {'catalogue': 'two'}}, 'catalogue'),
                           ({'grid': ZONE[1:]}, 'grid'), ({'precision': 'bf16'}, 'precision'),
                           ({'support': '2018'}, 'support_period'), ({'tile_px': 48}, 'tile_px')):
        with pytest.raises(ConfigError, match=match):
            embedded(tmp_path, **{'attrs': {'catalogue': 'one'}, **changed})


def test_frames_in_memory_belong_to_the_region(tmp_path):
    place = ground(ZONE)
    part = place['sentinel2'].values
    def stop(done, total):
        if done > total/2: raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt): embedded(tmp_path, place, None, report=stop)
    kept = part[0, 0, 0, 0]
    part[0, 0, 0, 0] += 1
    with pytest.raises(ConfigError, match='frames of this region'): embedded(tmp_path, place, None)
    part[0, 0, 0, 0] = kept
    assert embedded(tmp_path, place, None)
