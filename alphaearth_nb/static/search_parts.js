// Parts of the panel of SearchMap: what a click says, words, kinds, places, the legend, what can be saved.
import {make, keysButton, opacitySlider, area} from './dom.js';
import {LEVELS, LIKE, UNLIKE, SIGNS, coloursOf} from './search_cut.js';

export const PICTURES = ['similarity', 'kinds', 'embedding'];

export function topPart(search) {
  const get = (name) => search.model.get(name);
  const [like, unlike] = get('counts');
  const press = (name, value, ...words) => {
    const about = {'aria-pressed': String(get(name) === value), 'data-focus': `${name} ${value}`};
    return make('button', {...about, 'data-value': value, onclick: () => search.set(name, value)}, ...words);
  };
  const mode = (kind, count, key) =>
    press(
      'says',
      kind,
      make('span', {class: 'aenb-sign', 'data-kind': kind}, SIGNS[kind]),
      kind,
      make('span', {class: 'aenb-count', title: 'examples'}, String(count)),
      make('kbd', {title: 'key'}, key),
    );
  return [
    make(
      'div',
      {class: 'aenb-row'},
      make(
        'div',
        {class: 'aenb-switch', role: 'group', 'aria-label': 'Picture'},
        ...PICTURES.map((one) => press('shown', one, one)),
      ),
      opacitySlider(search.model, (name, value) => search.set(name, value)),
      keysButton(search),
    ),
    make(
      'div',
      {class: 'aenb-row aenb-modes', role: 'group', 'aria-label': 'What a click says'},
      mode(LIKE, like, 'p'),
      mode(UNLIKE, unlike, 'n'),
    ),
  ];
}

export function wordsPart(search) {
  if (!search.model.get('reads')) return null;
  const add = (event) => {
    const text = event.target.value.trim();
    if (event.key !== 'Enter' || !text) return;
    search.say('text', {text});
    event.target.value = '';
  };
  return make(
    'div',
    {class: 'aenb-row aenb-words'},
    make('input', {
      type: 'text',
      placeholder: 'or describe it, then Enter',
      'aria-label': 'Words to search for',
      class: 'aenb-grow aenb-ask',
      'data-focus': 'words',
      onkeydown: add,
    }),
    ...search.model.get('texts').map((text) =>
      make(
        'button',
        {
          class: 'aenb-cut aenb-text',
          title: `Search without “${text}”`,
          onclick: () => search.say('text', {text, gone: true}),
        },
        `${text} ✕`,
      ),
    ),
  );
}

export function kindsPart(search) {
  const get = (name) => search.model.get(name);
  if (get('shown') !== 'kinds') return null;
  return make(
    'div',
    {class: 'aenb-row aenb-kinds'},
    make(
      'label',
      {},
      'kinds',
      make(
        'select',
        {
          'aria-label': 'How many kinds',
          'data-focus': 'split',
          onchange: (event) => search.set('split', +event.target.value),
        },
        ...[2, 3, 4, 5, 6, 7, 8].map((one) =>
          make('option', {value: one, selected: one === get('split')}, String(one)),
        ),
      ),
    ),
    ...get('kinds').map(({colour, hectares}) =>
      make('span', {class: 'aenb-kind'}, make('i', {style: {background: colour}}), area(hectares)),
    ),
  );
}

const TEACH =
  'Click the map where it looks like what you search for. Then rule out what is wrong, and tick the places ' +
  'that are listed here as right or wrong.';

export function placesPart(search) {
  const places = search.model.get('places');
  if (!search.model.get('facts').counts) return make('p', {class: 'aenb-quiet aenb-teach'}, TEACH);
  const tick = (one, kind, words) =>
    make(
      'button',
      {
        class: 'aenb-tick-button',
        'data-kind': kind,
        'aria-pressed': String(one.judged === kind),
        'aria-label': `Place ${one.rank} is ${words}`,
        title: kind === LIKE ? 'right: look for more like it' : 'wrong: look for less like it',
        'data-focus': `${kind} ${one.rank}`,
        onclick: () => search.tick(one, kind),
      },
      kind === LIKE ? '✓' : '✗',
    );
  const row = (one) =>
    make(
      'li',
      {class: 'aenb-place', 'data-rank': one.rank, 'data-judged': one.judged},
      make(
        'button',
        {
          class: 'aenb-grow',
          'data-focus': `place ${one.rank}`,
          'aria-pressed': String(search.visited === one.rank),
          title: 'Go there: highest score, mean score and area of the patch',
          onclick: () => search.visit(one),
        },
        ...[one.rank, one.score.toFixed(3), one.mean.toFixed(3), area(one.hectares)].map((words) =>
          make('span', {}, String(words)),
        ),
      ),
      tick(one, LIKE, 'right'),
      tick(one, UNLIKE, 'wrong'),
    );
  return make(
    'div',
    {},
    make(
      'h4',
      {class: 'aenb-placehead'},
      ...['Places', 'score', 'mean', 'area'].map((one) => make('span', {}, one)),
    ),
    places.length
      ? make('ul', {class: 'aenb-list aenb-places'}, ...places.map(row))
      : make('p', {class: 'aenb-quiet'}, 'No pixel reaches the threshold: move it to the left.'),
  );
}

export const SAVED = [
  ['hits', 'hits, GeoTIFF'],
  ['polygons', 'hits, polygons (GeoJSON)'],
  ['places', 'places, GeoJSON'],
  ['scores', 'scores, GeoTIFF'],
  ['examples', 'examples, GeoJSON'],
];

/** What rings and colours of the map mean. */
export function legendOf(get) {
  const line = (before, words) => make('div', {}, before, ` ${words}`),
    sign = (kind) => make('span', {class: 'aenb-sign', 'data-kind': kind}, SIGNS[kind]),
    box = (colour) => make('i', {style: {background: colour}}),
    shade = (share) => box(`rgb(${coloursOf(LEVELS / 2)[Math.round(share * (LEVELS - 1))]})`);
  const kinds = get('shown') === 'kinds' ? get('kinds') : [],
    scored = get('shown') === 'similarity' && get('facts').counts;
  return [
    line(sign(LIKE), LIKE),
    get('marks').some((one) => one[2] === UNLIKE) ? line(sign(UNLIKE), UNLIKE) : null,
    scored ? line([shade(0.55), shade(1)], 'reaches the threshold') : null,
    scored ? line([shade(0), shade(0.45)], 'below the threshold') : null,
    ...kinds.map(({colour}, at) => line(box(colour), `kind ${at + 1}`)),
    kinds.length ? line(box('#b8b8b8'), 'below the threshold') : null,
  ];
}
