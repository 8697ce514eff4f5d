"""Text encoders that are never trained, and the head.

The same on every machine, finite, and no part of other models.
"""
import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alphaearth_nb.core import ConfigError
from alphaearth_nb.model import AlphaEarth, read_tensors, write_tensors
from alphaearth_nb.settings import preset
from alphaearth_nb.text import HASHED_WIDTH, HashedWords, Remembering, TextHead, text_encoder, words_of

SENTENCES = st.lists(st.text(min_size=1).filter(words_of), min_size=1, max_size=6)
VOCABULARY = [f'word{number}' for number in range(4000)]
SPEAKS = replace(preset('tiny'), text_encoder='words', text_width=HASHED_WIDTH)


# ---- hashed words

@given(SENTENCES)
def test_hashed_words_are_unit_vectors_of_each_text_alone(texts):
    vectors = HashedWords()(texts)
    assert vectors.dtype == np.float32 and vectors.shape == (len(texts), HASHED_WIDTH)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    for text, vector in zip(texts, vectors): np.testing.assert_array_equal(HashedWords()([text])[0], vector)


@given(st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=8),
       st.sampled_from([' ', ', ', ' – ', '\n']))
def test_case_and_punctuation_say_nothing(words, between):
    plain, loud = ' '.join(words), between.join(words).upper() + '!'
    np.testing.assert_array_equal(*HashedWords()([plain, loud]))


def test_products_estimate_what_texts_share():
    "Two texts of 12 words share 6 words and 5 pairs of 23 parts; collisions cancel in the mean."
    rng, products = np.random.default_rng(0), []
    for _ in range(600):
        words = rng.choice(VOCABULARY, 18, replace=False)
        first, second = HashedWords()([' '.join(words[:12]), ' '.join(words[6:])])
        products.append(first @ second)
    assert abs(np.mean(products) - 11/23) < 4*np.std(products)/np.sqrt(600)
    assert np.std(products) < 2/np.sqrt(HASHED_WIDTH)


def test_a_text_is_read_to_its_end():
    long = ' '.join(VOCABULARY[:2000])
    assert not np.array_equal(*HashedWords()([f'{long} maize', f'{long} wheat']))


def test_other_processes_make_the_same_vectors():
    "Python's own hash would differ with its seed."
    texts = ['Ein Feld mit Mais', 'maize, in July', '玉米 田']
    code = (f'import sys; from alphaearth_nb.text import HashedWords\n'
            f'sys.stdout.buffer.write(HashedWords()({texts!r}).tobytes())')
    found = subprocess.run([sys.executable, '-c', code], check=True, capture_output=True,
                           env={**os.environ, 'PYTHONHASHSEED': '7'}).stdout
    assert found == HashedWords()(texts).tobytes()


@pytest.mark.parametrize('texts', [[''], ['maize', ' \t'], ['?!'], [None], 'maize', [3]])
def test_what_says_nothing_is_refused(texts):
    for encoder in (HashedWords(), text_encoder('words')):
        with pytest.raises(ConfigError, match='texts? '): encoder(texts)


# ---- remembering

@given(st.lists(st.lists(st.sampled_from('abcdef'), max_size=7), max_size=6), st.integers(1, 9))
def test_what_is_remembered_is_what_would_be_encoded(batches, most):
    asked = []
    class Counting(HashedWords):
        def __call__(self, texts):
            asked.extend(texts)
            return super().__call__(texts)
    encoder = Remembering(Counting(), most)
    for texts in batches:
        before, known = len(asked), set(encoder.known)
        vectors = encoder(texts)
        wanted = HashedWords()(texts) if texts else np.zeros((0, HASHED_WIDTH))
        np.testing.assert_array_equal(vectors, wanted)
        assert sorted(asked[before:]) == sorted(set(texts) - known)
        assert len(encoder.known) <= most
        vectors[:] = 7                          # what the caller does with its array is its own affair
    if most >= 6: assert len(asked) == len(set(asked))    # there is room for all six


# ---- the head

def head_of(seed:int=0) -> TextHead:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return TextHead(HASHED_WIDTH, width=32)


@settings(max_examples=25)
@given(st.floats(-60_000, 60_000), st.floats(1e-3, 4000), st.integers(1, 4))
def test_directions_are_finite_units_for_any_period(start, length, count):
    "1806 to 2134, from a minute to eleven years."
    vectors = torch.from_numpy(HashedWords()(VOCABULARY[:count]))[None]
    periods = torch.tensor([start, start + length], dtype=torch.float64).expand(1, count, 2)
    placed = head_of()(vectors, periods)
    assert placed.shape == (1, count, 64) and placed.dtype == torch.float32
    torch.testing.assert_close(placed.norm(dim=-1), torch.ones(1, count))


def test_bfloat16_turns_directions_by_little():
    vectors = torch.from_numpy(HashedWords()(VOCABULARY[:64]))[None]
    periods = torch.tensor([17_600., 17_700], dtype=torch.float64).expand(1, 64, 2)
    exact = head_of()(vectors, periods)
    with torch.autocast('cpu', torch.bfloat16): rounded = head_of()(vectors, periods)
    assert rounded.dtype == torch.float32 and (exact*rounded).sum(-1).min() > .999


@given(st.floats(-20, 20))
def test_the_scale_stays_below_100_and_can_always_come_back(log_scale):
    head = head_of()
    head.log_scale.data.fill_(log_scale)
    assert 0 < head.scale.item() <= 100.001
    head.scale.backward()
    assert head.log_scale.grad > 0              # descent on the scale itself lowers it, even from above


# ---- models with and without

def test_models_without_text_have_the_weights_they_had(tmp_path):
    "A file of a time when there was no text head opens, and one without text holds nothing of it."
    torch.manual_seed(0)
    model = AlphaEarth.preset('tiny')
    model.save(tmp_path/'new.safetensors')
    tensors, about = read_tensors(tmp_path/'new.safetensors')
    assert not [name for name in tensors if 'text' in name]
    config = json.loads(about['config'])
    for name in ('text_encoder', 'text_width'): config.pop(name, None)
    write_tensors(tmp_path/'old.safetensors', tensors, {**about, 'config': json.dumps(config)})
    old = AlphaEarth.load(tmp_path/'old.safetensors')
    assert old.text is None and old.config == model.config
    for name, tensor in model.state_dict().items(): assert torch.equal(old.state_dict()[name], tensor)


def test_a_text_head_is_saved_counted_and_loaded(tmp_path):
    model = AlphaEarth(SPEAKS)
    model.text.log_scale.data.fill_(3.)
    model.save(tmp_path/'model.safetensors')
    again = AlphaEarth.load(tmp_path/'model.safetensors')
    assert again.config == SPEAKS and again.text.log_scale.item() == 3
    assert model.count()['text'] == sum(part.numel() for part in model.text.parameters())
    vectors = torch.from_numpy(HashedWords()(['maize']))[None]
    periods = torch.tensor([[[17_600., 17_700]]], dtype=torch.float64)
    assert torch.equal(again.text(vectors, periods), model.text(vectors, periods))
