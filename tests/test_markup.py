"""What a notebook shows of an object is the same markup whatever its texts are: names stay text."""
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

import alphaearth_nb as ae
from alphaearth_nb.codes import quantize
from alphaearth_nb.fields import make_field
from alphaearth_nb.grids import utm_grid
from alphaearth_nb.intervals import ScoreCard
from alphaearth_nb.labels import LabelSet
from alphaearth_nb.maps import tile_layer
from alphaearth_nb.mercator import FieldTiles
from alphaearth_nb.probes import fit_probe
from alphaearth_nb.synthetic import synthetic_place

PLAIN = 'x'
EVIL = ['<b>x', '<img src=x onerror=1>', '"><svg/onload=1>', "' onclick='1", '" onclick="1',
        '</td><script>1</script>', '<!--', '&lt;b&gt;<b>']


class Shape(HTMLParser):
    "Tags, names of attributes and comments of a page, without its texts."
    def __init__(self, page:str):
        super().__init__()
        self.found = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs): self.found.append((tag, *(name for name, _ in attrs)))
    def handle_endtag(self, tag): self.found.append(f'/{tag}')
    def handle_comment(self, data): self.found.append('comment')
    def handle_decl(self, decl): self.found.append('declaration')


def unit_field(name:str):
    vectors = np.random.default_rng(0).normal(size=(30, 30, 64))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    field = make_field(vectors, utm_grid((3, 51, 3.1, 51.1))[:30, :30], '2018', model=name)
    return field.assign_attrs(dataset=name, version=name, attribution=name, licence=name, origin=name)


def labelled(name:str) -> LabelSet:
    labels = LabelSet(by=name)
    labels.add_class(name)
    labels.add((3.001, 51.001), 1)
    return labels


def probed(name:str):
    classes = np.kron([[1, 2], [2, 1]], np.ones((15, 15), int))
    probe = fit_probe(unit_field('m'), classes, 'ridge', splits=0)
    return replace(probe, kind=name, notes=(name, 'y'), class_names={1: name, 2: 'z'})


def carded(name:str) -> ScoreCard:
    scores, words = {'max': {name: (.5, .6), 'ridge': (.4, .5)}}, dict(splits_id=name, rule=name, name=name)
    return ScoreCard(scores=scores, classes=(1, 2), ratio=1., distinct=2, notes=(name,), **words)


def framed(name:str):
    return replace(synthetic_place(size_px=16, days=60), name=name, notes=(name,), origin=name)


SHOWN = {'field': lambda name: unit_field(name).aef._repr_html_(),
         'frames': lambda name: framed(name)._repr_html_(),
         'labels': lambda name: labelled(name)._repr_html_(),
         'probe': lambda name: probed(name)._repr_html_(),
         'card': lambda name: carded(name)._repr_html_(),
         'comparison': lambda name: ae.compare(unit_field(name), unit_field('z'), draws=20)._repr_html_()}


@pytest.mark.parametrize('what', SHOWN)
def test_texts_are_never_markup(what):
    plain = SHOWN[what](PLAIN)
    shape = Shape(plain).found
    assert len(shape) > 5 and not any('script' in str(one) for one in shape)
    for text in EVIL:
        page = SHOWN[what](text)
        assert Shape(page).found == shape, text
        assert page != plain


@pytest.mark.parametrize('text', EVIL)
def test_names_of_layers_and_credits_are_never_markup(text):
    "Leaflet takes both for markup: what reaches it is escaped."
    codes = unit_field(text).aef.codes()
    assert codes.dtype == np.int8 == quantize(np.eye(64)).dtype
    layer = tile_layer(FieldTiles(codes), text, text)
    for value in (layer.name, layer.attribution): assert not Shape(value).found and value != text
