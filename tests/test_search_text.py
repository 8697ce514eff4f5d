"""Words among the examples of a search: the same scores as the words alone, and refusals."""
import numpy as np
import pytest
from test_text_queries import asked  # noqa: F401  (a fixture)

from alphaearth_nb.core import AlphaEarthError
from alphaearth_nb.queries import find
from alphaearth_nb.labels import LabelSet
from alphaearth_nb.search_map import SearchMap
from alphaearth_nb.searching import search


def test_a_search_for_a_text_is_what_find_scores(asked):  # noqa: F811
    model, field, classes = asked
    found = search(field, 'a field of maize', model=model, count=5, apart_m=30)
    np.testing.assert_allclose(found.scores.values, find(model, field, 'a field of maize').values, atol=1e-5)
    assert (classes[found.places.row, found.places.column] == 1).all() and len(found.places) == 5


def test_words_and_counter_words_and_places_mix(asked):  # noqa: F811
    model, field, classes = asked
    spot = np.argwhere(classes == 1)[100]
    like = ['a field of maize', field.aef.vectors()[tuple(spot)]]
    found = search(field, like, 'forest, in summer', model=model)
    assert found.scores.values[classes == 1].min() > np.nanmax(found.scores.values[classes == 3])


def test_texts_need_the_model_that_made_the_field(asked):  # noqa: F811
    model, field, _ = asked
    with pytest.raises(AlphaEarthError, match='Pass model='): search(field, 'maize')
    with pytest.raises(AlphaEarthError): search(field.assign_attrs(model='another'), 'maize', model=model)


def test_the_map_searches_for_words_as_search_does(asked):  # noqa: F811
    "Words alone, then with a place; words that cannot be read change nothing; the code says them."
    model, field, classes = asked
    shown = SearchMap(field, LabelSet(), model=model, count=5, apart_m=30)
    assert shown.panel.reads and 'describe it in words' in shown.wait(None).message
    hear = shown.panel._hear
    hear(None, dict(type='text', text=' a field of maize '), [])
    alone = search(field, 'a field of maize', model=model, count=5, apart_m=30)
    assert shown.wait(None).texts == ['a field of maize'] and shown.places.equals(alone.places)
    shown.mark(*(float(one) for one in shown.places.geometry.iloc[0].coords[0]))
    assert shown.search.ours.size == 2 and "['a field of maize']" in shown.code()
    hear(None, dict(type='text', text='…'), [])
    assert shown.wait(None).panel.line.kind == 'problem' and shown.texts == ['a field of maize']
    hear(None, dict(type='text', text='a field of maize', gone=True), [])
    assert shown.wait(None).texts == [] and shown.search.ours.size == 1
    with pytest.raises(AlphaEarthError, match='a list of texts'): shown.texts = 'maize'
    other = field.assign_attrs(model='another')
    with pytest.raises(AlphaEarthError): SearchMap(other, LabelSet(), model=model)
    shown.close()
