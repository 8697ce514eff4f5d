"""The paper's filters of articles and observations, one by one: each alone decides over one row."""
import gzip
import json

import pytest

from alphaearth_nb.core import FrameError, PlaceNotFound
from alphaearth_nb.points import (
    COLUMNS, EARTH, INATURALIST, LAT, LIST_SHARE, LON, OF_A_SPECIES, OFF, WORDS, gbif_points, plain_text,
    title_coordinate, wikidata_coordinates, wikipedia_points,
)

COORD = '{{coord|50.9|3.1|display=title}}'
GOOD = dict(zip(COLUMNS, ['1', INATURALIST, 'Plantae', 'Magnoliopsida', 'Rosaceae', 'Rosa', 'Rosa canina',
                          '50.9', '3.1', '30', '2020-05-01', '2020', 'CC_BY_4_0']))


def observed(path, *rows:dict, **options) -> list[str]:
    "Numbers of the observations that are kept of rows that differ from a good one."
    whole = [GOOD | {'gbifID': str(number)} | row for number, row in enumerate(rows)]
    path = path/'occurrence.csv'
    path.write_text('\n'.join('\t'.join(line) for line in [COLUMNS, *(row.values() for row in whole)]))
    return [*gbif_points(path, **options).gbifID]


def articles(path, *texts:str, ns:int=0, more:str='', **options) -> list[str]:
    "Titles of the articles that are kept of a dump; the first is called 0."
    pages = (f'<page><title>{title}</title><ns>{ns}</ns>{more}<revision><text>{text}</text></revision></page>'
             for title, text in enumerate(texts))
    (path/'wiki.xml').write_text(f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/">'
                                 f'{"".join(pages)}</mediawiki>')
    return [*wikipedia_points(path/'wiki.xml', **options).title]


# ---- observations

@pytest.mark.parametrize('row', [
    {'kingdom': 'Plantae'}, {'kingdom': 'Animalia'}, {'kingdom': 'Fungi'}, {'year': '2017'}, {'year': '2023'},
    {'license': 'CC0_1_0'}, {OFF: '240'}, {OFF: '240.0'}, {OFF: '0'}, {LAT: '-90'}, {LON: '180'},
    {LON: '-180'}], ids=str)
def test_what_lies_on_the_border_of_a_rule_is_kept(tmp_path, row): assert observed(tmp_path, row) == ['0']


@pytest.mark.parametrize('row', [
    {'kingdom': 'Bacteria'}, {'kingdom': ''}, {'year': '2016'}, {'year': '2024'}, {'year': ''},
    {'license': 'CC_BY_NC_4_0'}, {'license': ''}, {OFF: '240.1'}, {OFF: ''}, {OFF: 'far'}, {LAT: '90.1'},
    {LAT: ''}, {LON: '-180.1'}, {LON: '180.1'}, {LON: ''}, {'family': ''}, {'genus': ''}, {'species': ''},
    {'datasetKey': 'another'}], ids=str)
def test_each_rule_alone_leaves_an_observation_out(tmp_path, row):
    assert observed(tmp_path, {}, row, {}) == ['0', '2']


def test_another_data_set_is_kept_where_it_is_asked_for(tmp_path):
    rows = {}, {'datasetKey': 'another'}
    assert observed(tmp_path, *rows, dataset='another') == ['1']
    assert observed(tmp_path, *rows, dataset=None) == ['0', '1']


def test_of_each_species_at_most_a_thousand(tmp_path):
    "Counted by family, genus and species, over pieces of the file; others keep theirs."
    many = [{'gbifID': str(number)} for number in range(100, 100 + OF_A_SPECIES + 30)]
    rows = [*many, {'gbifID': '5', 'species': 'Rosa rugosa'}, {'gbifID': '6', 'genus': 'Another'}]
    found = observed(tmp_path, *rows, rows_at_once=211)
    assert len(found) == OF_A_SPECIES + 2 and {'5', '6'} <= set(found)
    assert found == observed(tmp_path, *rows[::-1]) == sorted(found)


def test_places_are_longitude_and_latitude(tmp_path):
    observed(tmp_path, {LAT: '-33.5', LON: '151.25', 'eventDate': '2020-05-01T08:00', 'class': 'Aves'})
    row = gbif_points(tmp_path/'occurrence.csv').iloc[0]
    assert (row.geometry.x, row.geometry.y) == (151.25, -33.5)
    assert (row['date'], row['class'], row['species']) == ('2020-05-01T08:00', 'Aves', 'Rosa canina')


def test_quotes_and_the_word_na_are_text(tmp_path):
    "GBIF does not quote: a lone quotation mark ends no column, and a genus may be called NA."
    assert observed(tmp_path, {'class': '"Aves'}, {'genus': 'NA'}, {}) == ['0', '1', '2']


def test_no_observations_are_told(tmp_path):
    with pytest.raises(PlaceNotFound, match='an existing file'): gbif_points(tmp_path/'nowhere.csv')
    (tmp_path/'empty.csv').write_text('\t'.join(COLUMNS))
    assert not len(gbif_points(tmp_path/'empty.csv'))
    for text in ('', 'one\ttwo\n1\t2\n'):
        (tmp_path/'empty.csv').write_text(text)
        with pytest.raises(FrameError, match='a simple GBIF download'): gbif_points(tmp_path/'empty.csv')


# ---- articles

def words(count:int, mark:str='') -> str: return mark + 'word '*count


@pytest.mark.parametrize(('text', 'kept'), [
    (words(WORDS), True), (words(WORDS - 1), False),
    (words(75) + '\n' + words(25, '*'), True), (words(74) + '\n' + words(26, '*'), False),
    (words(74) + '\n' + words(26, '#'), False), (words(74) + '\n' + words(26, ';'), False),
    (words(74) + '\n' + words(26, ':'), False), (words(74) + '\n' + words(26, '- '), True),
    (words(99) + '&lt;ref&gt;a book&lt;/ref&gt;', False)],
    ids=['a hundred', 'one less', 'a quarter', 'more listed', 'numbered', 'terms', 'set in', 'no list',
         'notes'])
def test_articles_of_enough_running_text_are_kept(tmp_path, text, kept):
    "A hundred words, not more than a quarter of them in lists; a mark of a list is no word of its own."
    assert WORDS == 100 and LIST_SHARE == .25
    assert articles(tmp_path, COORD + text) == ['0']*kept


def test_each_rule_alone_leaves_an_article_out(tmp_path):
    good = COORD + words(120)
    assert articles(tmp_path, good, words(120), COORD) == ['0']
    assert not articles(tmp_path, good, ns=1) and not articles(tmp_path, good, ns=14)
    assert not articles(tmp_path, good, more='<redirect title="Elsewhere"/>')
    assert articles(tmp_path, good, words(120), coordinates={'1': (3.1, 50.9)}) == ['1']


@pytest.mark.parametrize(('wikitext', 'place'), [
    ('{{coord|50|54|30|N|3|6|E|display=title}}', (3.1, 50 + 54.5/60)),
    ('{{coord|50|54|S|3|6|W|display=t}}', (-3.1, -50.9)), ('{{coord|50.9|3.1|display=title}}', (3.1, 50.9)),
    ('{{Coord |50.9|3.1|display=inline,title}}', (3.1, 50.9)), ('{{coord|90|180|display=title}}', (180, 90)),
    ('{{coord|50.9|3.1|globe:earth|display=title}}', (3.1, 50.9)),
    ('{{coord|1|2|display=inline}} {{coord|50.9|3.1|display=title}}', (3.1, 50.9)),
    ('{{coord|50.9|3.1}}', None), ('{{coord|50.9|3.1|display=inline}}', None),
    ('{{coord|50.9|3.1|globe:mars|display=title}}', None), ('{{coord|90.1|3.1|display=title}}', None),
    ('{{coord|50.9|180.1|display=title}}', None), ('{{coord|50.9|display=title}}', None),
    ('{{coord|north|east|display=title}}', None), ('{{coord|display=title}}', None), ('', None)], ids=str)
def test_the_coordinate_beside_the_title(wikitext, place):
    found = title_coordinate(wikitext)
    assert found == (place and pytest.approx(place))


def test_places_of_wikidata_are_those_on_earth_of_english_articles(tmp_path):
    "Packed or not; an entity without an article, without a number, or on another globe gives none."
    def entity(title, *values, site='enwiki') -> str:
        claims = [{'mainsnak': {'datavalue': {'value': value}} if value else {}} for value in values]
        links = {site: {'title': title}} if title else {}
        return json.dumps({'sitelinks': links, 'claims': {'P625': claims}})
    def value(globe=EARTH) -> dict: return {'latitude': 50.9, 'longitude': 3.1, 'globe': globe}
    lines = [entity('Leie', value()), entity('Mare', value(EARTH + '405')), entity('', value()),
             entity('Fluss', value(), site='dewiki'), entity('Unknown', None),
             entity('Both', value('x'), value()),
             '{"sitelinks": {"enwiki": {"title": "P625"}}, "claims": {}}']
    text = '[\n' + ',\n'.join(lines) + '\n]'
    (tmp_path/'all.json').write_text(text)
    (tmp_path/'all.json.gz').write_bytes(gzip.compress(text.encode()))
    for name in ('all.json', 'all.json.gz'):
        assert wikidata_coordinates(tmp_path/name) == {'Leie': (3.1, 50.9), 'Both': (3.1, 50.9)}
    with pytest.raises(PlaceNotFound, match='an existing file'): wikidata_coordinates(tmp_path/'no.json')


@pytest.mark.parametrize(('wikitext', 'text'), [
    ('a <!-- b --> c', 'a c'), ('a<ref name="x"/> b<ref>c</ref>', 'a b'), ('a <math>b</math> c', 'a c'),
    ('a {{b|{{c}}}} d', 'a d'), ('a {|\n! b\n|}c', 'a c'), ('[[File:x.jpg|thumb|A [[b]] c]]d', 'd'),
    ('[[Category:Rivers]]a', 'a'), ('a [[b|c]] [[d]]', 'a c d'), ("'''a''' ''b''", 'a b'),
    ('== a ==\nb', 'b'), ('a\n== See also ==\n* b\n== c ==\nd', 'a\nd'), ('a https://b.org c', 'a c'),
    ('a [https://b.org c] d', 'a d'), ('a<br>b&nbsp;c', 'a b c'), ('* a\n# b', '* a\n# b'),
    ('a\n==References==\n* b', 'a'), ('a\n== Further reading ==\nb\n=== c ===\nd', 'a')])
def test_what_of_wikitext_is_running_text(wikitext, text): assert plain_text(wikitext) == text
