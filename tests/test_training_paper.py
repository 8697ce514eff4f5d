"""The paper's training as a configuration, field by field; and what earlier versions wrote still opens."""
import dataclasses
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from pages import ROOT
from safetensors import safe_open
from small_model import SMALL, TRAINING, loud_model

from alphaearth_nb.batches import DROP_FRAMES, DROP_SOURCE, draw_batch, drop
from alphaearth_nb.core import CheckpointError
from alphaearth_nb.gaps import GAP_SOURCES, GAP_WIDTH_PX
from alphaearth_nb.model import AlphaEarth, write_tensors
from alphaearth_nb.settings import PAPER_TRAINING, ModelConfig, TrainingConfig, from_json, to_json
from alphaearth_nb.sources import SOURCES
from alphaearth_nb.standardized import prepare
from alphaearth_nb.synthetic import synthetic_place
from alphaearth_nb.training import learning_rate, train

SPECIFICATION = ROOT.parent/'shared'/'reference'/'aef_specification.md'
SAID = {  # settings that the paper gives, and the words of the specification that give them
    'steps': (100_000, '100k steps, batch 256'),
    'windows': (256, '100k steps, batch 256'),
    'window_px': (128, '128 × 128 px at 10 m'),
    'frames': (103, '103 frames = 65 S2 + 17 S1 + 21 Landsat'),
    'frames_share': ((65, 17, 21), '103 frames = 65 S2 + 17 S1 + 21 Landsat'),
    'lend': (False, 'Absent / perturbed frames are replaced by **masks'),
    'inputs_share': (1., '**that frame is removed from the input sequence**'),
    'targets': (1, 'one frame per source per row'),
    'pixel_share': (1., 'applied at every pixel of the L×L grid'),
    'patch_px': (128, 'applied at every pixel of the L×L grid'),
    'tolerant': (True, '*Shift-invariant loss*'),
    'gaps': (True, 'blanked in **all** S1 frames of a sequence'),
    'support_days': ((365, 365), '~1-year period'),
    'period_days': ((4, 365), 'length > 4 days'),
    'rate': (1e-4, 'LR 0→1e-4 over [0,1k), then linear 1e-4→0 over [1k,100k]'),
    'warmup': (1000, 'LR 0→1e-4 over [0,1k), then linear 1e-4→0 over [1k,100k]'),
    'encoder_rate': (1., 'LR 0→1e-4 over [0,1k)'),
    'weight_decay': (0., 'Adam, LR'),
    'reconstruction': (1., '**a = 1.0, b = 0.05, c = 0.02, d = 0.001**'),
    'uniformity': (.05, '**a = 1.0, b = 0.05, c = 0.02, d = 0.001**'),
    'consistency': (.02, '**a = 1.0, b = 0.05, c = 0.02, d = 0.001**'),
    'text': (.001, '**a = 1.0, b = 0.05, c = 0.02, d = 0.001**'),
    'window_texts': (1, 'One random text point per row if any'),
    'student_every': (1, 'two forward passes'),
    'teacher_dropout': (True, 'Frame-dropout on the teacher too'),
    'drop_sentinel2': (0., 'drop whole source: Landsat p=0.3, S1 p=0.3, S2 never')}
OURS = {'seed', 'clip', 'whiten', 'precision', 'checkpoint_every', 'log_every', 'distill', 'classes',
        'window_classes', 'recompute'}  # it does not say


@pytest.mark.parametrize('name', SAID)
def test_settings_are_those_of_the_paper(name):
    value, words = SAID[name]
    assert getattr(PAPER_TRAINING, name) == value
    if not SPECIFICATION.exists(): pytest.skip('the specification is not at hand')
    assert words in SPECIFICATION.read_text()


def test_no_setting_is_forgotten():
    assert set(SAID) | OURS == {field.name for field in dataclasses.fields(TrainingConfig)}
    assert not set(SAID) & OURS


def test_what_is_no_setting_is_the_papers_too():
    "The student's chances, the line's width, and the weights of classes in version 2.1."
    assert DROP_SOURCE == {'landsat': .3, 'sentinel1': .3, 'sentinel2': 0.}
    assert DROP_FRAMES == {'landsat': .3, 'sentinel1': .3, 'sentinel2': .5}
    assert GAP_SOURCES == ('sentinel1',) and GAP_WIDTH_PX == (.5, 2.)
    assert (SOURCES['nlcd'].weight, SOURCES['cdl'].weight, SOURCES['grace'].weight) == (.25, .25, .5)
    rates = [learning_rate(step, PAPER_TRAINING) for step in (0, 999, 1000, 50_500, 99_999)]
    assert rates == pytest.approx([0, 1e-4, 1e-4, 5e-5, 0], abs=2e-7)


def test_students_periods():
    "Random and over 4 days, or just the half that was taken away."
    rng, days, seen = np.random.default_rng(0), {'sentinel2': np.arange(0., 365)}, set()
    for _ in range(400):
        kept, period = drop(days, (0., 365.), PAPER_TRAINING.period_days, rng)
        halves = {(0., 182.5): 'first', (182.5, 365.): 'second'}
        seen.add(strategy := halves.get(period, 'frames'))
        left = days['sentinel2'][kept['sentinel2']]
        if strategy == 'frames': assert 4 < period[1] - period[0] <= 365 and period[0] < 365 and period[1] > 0
        else: assert len(left) in (182, 183) and not ((left >= period[0]) & (left < period[1])).any()
    assert seen == {'first', 'second', 'frames'}


def test_a_batch_of_the_papers_settings():
    "A small one: frames as shared out, one target a source, a student in each step, whole windows decoded."
    place = prepare(synthetic_place(size_px=32, days=400, start='2018-01-01'), SMALL)
    config = replace(PAPER_TRAINING, windows=2, window_px=16, patch_px=16, teacher_dropout=False)
    for step in (0, 1):
        batch = draw_batch([place], SMALL, config, step)
        counts = {name: part.present.sum(1).tolist() for name, part in batch.frames.items()}
        assert counts['sentinel2'][0] <= 65 and counts['sentinel1'] == [17, 17]
        assert batch.student is not None
        assert {target.times.shape[1] for target in batch.targets.values()} == {1}
        assert all((target.periods[..., 1] - target.periods[..., 0] > 4).all()
                   for target in batch.targets.values())


# ---- what earlier versions wrote

def test_earlier_configurations_open():
    "Text written before a setting was there gets its default; one that says more than is known is refused."
    later = {'lend', 'inputs_share', 'gaps', 'text', 'window_texts', 'distill', 'recompute', 'classes',
             'window_classes'}
    now = dataclasses.asdict(TrainingConfig(steps=7))
    early = {name: value for name, value in now.items() if name not in later}
    assert from_json(TrainingConfig, json.dumps(early)) == TrainingConfig(steps=7)
    now = dataclasses.asdict(SMALL)
    model = {name: value for name, value in now.items() if not name.startswith('text')}
    assert from_json(ModelConfig, json.dumps(model)) == SMALL


def test_earlier_models_open(tmp_path):
    "A file whose configuration knows of no texts gives the same weights."
    model = loud_model()
    model.save(tmp_path/'new.safetensors')
    with safe_open(tmp_path/'new.safetensors', 'pt') as file: about = dict(file.metadata())
    now = json.loads(about['config'])
    config = {name: value for name, value in now.items() if not name.startswith('text')}
    about = {name: value for name, value in about.items() if name != 'sha256'}
    about['config'] = json.dumps(config)
    write_tensors(tmp_path/'old.safetensors', dict(model.state_dict()), about)
    opened = AlphaEarth.load(tmp_path/'old.safetensors')
    assert opened.config == SMALL and opened.text is None
    assert not any(name.startswith('text') for name in opened.state_dict())
    for name, weight in model.state_dict().items(): assert torch.equal(opened.state_dict()[name], weight)


def test_a_run_of_an_earlier_version_goes_on(tmp_path):
    "Its checkpoint knows none of the new settings: it goes on where it is asked to do what was done then."
    frames = synthetic_place(size_px=32, days=200, start='2018-01-01')
    config = replace(TRAINING, steps=2, reconstruction=1., gaps=False, log_every=1, checkpoint_every=1,
                     precision='fp32')
    run = train(loud_model(), frames, config, out=tmp_path/'run', quiet=True)
    with safe_open(tmp_path/'run'/'checkpoint-0000002.safetensors', 'pt') as file: about = file.metadata()
    assert not {'gaps', 'window_texts', 'lend', 'distill', 'recompute'} & set(json.loads(about['training']))
    assert 'text_encoder' not in json.loads(about['model'])
    assert train(loud_model(), frames, config, out=tmp_path/'run', quiet=True).log == run.log
    with pytest.raises(CheckpointError, match='gaps was absent and is True now'):
        train(loud_model(), frames, config, out=tmp_path/'run', quiet=True, gaps=True)
    assert from_json(TrainingConfig, to_json(config)) == config
