"""Texts at places by the rules of the paper, on small files of the true form."""
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alphaearth_nb.core import AlphaEarthError
from alphaearth_nb.points import (
    COLUMNS,
    EARTH,
    INATURALIST,
    gbif_points,
    wikidata_coordinates,
    wikipedia_points,
)

GOOD = {'gbifID': '1', 'datasetKey': INATURALIST, 'kingdom': 'Plantae', 'class': 'Magnoliopsida',
        'family': 'Fagaceae', 'genus': 'Quercus', 'species': 'Quercus robur', 'decimalLatitude': '50.9',
        'decimalLongitude': '3.1', 'coordinateUncertaintyInMeters': '30', 'eventDate': '2020-05-01',
        'year': '2020', 'license': 'CC_BY_4_0'}


def gbif(path, rows):
    "A simple GBIF download."
    lines = ['\t'.join(COLUMNS), *('\t'.join(row[name] for name in COLUMNS) for row in rows)]
    path.write_text('\n'.join(lines) + '\n', encoding='utf-8')
    return path


RULES = {  # what may stand there, and what may not
    'year': (('2017', '2023'), ('2016', '2024', '', 'x')),
    'coordinateUncertaintyInMeters': (('0', '240'), ('240.5', '1000', '', 'far')),
    'kingdom': (('Plantae', 'Animalia', 'Fungi'), ('Bacteria', '')),
    'license': (('CC0_1_0', 'CC_BY_4_0'), ('CC_BY_NC_4_0', '')),
    'decimalLatitude': (('90', '-12.5'), ('-90.1', '91', '', '50,9')),
    'decimalLongitude': (('-180', '180'), ('180.1', '400', '')),
    'species': (('Quercus rubra',), ('',)), 'genus': (('Fagus',), ('',)), 'family': (('Rosaceae',), ('',)),
    'datasetKey': ((INATURALIST,), ('another', ''))}
CHANGES = st.lists(st.sampled_from(sorted(RULES)).flatmap(
    lambda name: st.tuples(st.just(name), st.sampled_from([one for kind in RULES[name] for one in kind]))),
    max_size=2)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(CHANGES, min_size=1, max_size=30), at_once=st.sampled_from([1, 7, 1000]))
def test_an_observation_is_kept_if_no_rule_is_broken(tmp_path, rows, at_once):
    table = [GOOD | {'gbifID': str(index)} | dict(changes) for index, changes in enumerate(rows)]
    wanted = [row['gbifID'] for row in table
              if not any(row[name] in bad for name, (_, bad) in RULES.items())]
    found = gbif_points(gbif(tmp_path/'occurrence.csv', table), rows_at_once=at_once)
    assert sorted(found['gbifID']) == sorted(wanted) and found.crs.to_epsg() == 4326


def test_a_thousand_of_a_species_whatever_the_order(tmp_path):
    table = [GOOD | {'gbifID': str(index), 'species': f'Quercus {"robur" if index % 3 else "rubra"}'}
             for index in range(2500)]
    found = gbif_points(gbif(tmp_path/'a.csv', table), rows_at_once=300)
    mixed = [table[index] for index in np.random.default_rng(0).permutation(len(table))]
    again = gbif_points(gbif(tmp_path/'b.csv', mixed), rows_at_once=701)
    assert dict(found['species'].value_counts()) == {'Quercus robur': 1000, 'Quercus rubra': 834}
    assert [*found['gbifID']] == [*again['gbifID']]


@pytest.mark.parametrize('harm', ['no column', 'empty', 'bytes', 'absent'])
def test_a_table_that_is_none_is_named(tmp_path, harm):
    path = gbif(tmp_path/'occurrence.csv', [GOOD]*3)
    text = path.read_text()
    if harm == 'no column': path.write_text(text.replace('species', 'sort'))
    if harm == 'empty': path.write_text('')
    if harm == 'bytes': path.write_bytes(text.encode() + b'\xff\xfe\n')
    if harm == 'absent': path.unlink()
    with pytest.raises(AlphaEarthError) as error: gbif_points(path)
    assert 'occurrence.csv' in str(error.value) and '\n' not in str(error.value)


def dump(path, pages):
    "A dump of articles: {title: wikitext}."
    text = ''.join(f'<page><title>{title}</title><ns>0</ns><id>1</id><revision><id>2</id>'
                   f'<text>{source}</text>'
                   '</revision></page>' for title, source in pages.items())
    path.write_text(f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/">{text}</mediawiki>')
    return path


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plain=st.integers(0, 160), listed=st.integers(0, 80))
def test_a_hundred_words_and_a_quarter_in_lists(tmp_path, plain, listed):
    text = ' '.join(['word']*plain) + '\n' + ''.join('*word\n' for _ in range(listed))
    found = wikipedia_points(dump(tmp_path/'wiki.xml', {'A': text}), {'A': (3.1, 50.9)})
    total = plain + listed
    assert len(found) == (total >= 100 and listed <= .25*total)


def test_only_articles_with_a_place_on_earth(tmp_path):
    words = ' '.join(['word']*120)
    def entity(title, globe, lat=50.9):
        value = {'latitude': lat, 'longitude': 3.1, 'globe': globe}
        return {'sitelinks': {'enwiki': {'title': title}},
                'claims': {'P625': [{'mainsnak': {'datavalue': {'value': value}}}]}}
    rows = [entity('Here', EARTH), entity('Moon', EARTH + '405'), {'claims': {'P31': []}, 'note': 'P625'}]
    (tmp_path/'wikidata.json').write_text('[\n' + ',\n'.join(map(json.dumps, rows)) + '\n]\n')
    places = wikidata_coordinates(tmp_path/'wikidata.json')
    pages = dump(tmp_path/'wiki.xml', dict.fromkeys(('Here', 'Moon', 'Nowhere'), words))
    found = wikipedia_points(pages, places)
    assert [*found['title']] == ['Here'] and found.geometry[0].coords[0] == (3.1, 50.9)


def test_a_broken_dump_is_named(tmp_path):
    path = dump(tmp_path/'wiki.xml', {'A': 'word'})
    path.write_text(path.read_text()[:-30])
    with pytest.raises(AlphaEarthError, match='wiki.xml.*whole dump'): wikipedia_points(path, {})
