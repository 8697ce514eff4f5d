// Parts of the panel of CompareMap: numbers, classes, the places that differ, and what lies under the cursor.
import {make, bars, series, number} from './dom.js';
import {decodedPart} from './pixel_values.js';

export function numbersPart(compare) {
  const {sentence, numbers, notes} = compare.model.get('facts');
  return make(
    'div',
    {class: 'aenb-facts'},
    sentence ? make('p', {}, sentence) : null,
    numbers
      ? make(
          'table',
          {},
          ...numbers.map((one) =>
            make(
              'tr',
              {title: one.tip},
              make('td', {}, one.words),
              make('td', {class: 'aenb-number'}, number(one.value, one.half)),
            ),
          ),
        )
      : null,
    ...(notes || []).map((note) => make('p', {class: 'aenb-quiet'}, note)),
  );
}

export function classesPart(compare) {
  const {classes} = compare.model.get('facts');
  if (!classes?.length) return null;
  return make(
    'div',
    {},
    make('h4', {}, 'Agreement by class'),
    make(
      'table',
      {},
      ...classes.map(({name, value}) =>
        make(
          'tr',
          {},
          make('td', {class: 'aenb-cut', title: name, style: {maxWidth: '120px'}}, name),
          make(
            'td',
            {},
            make(
              'div',
              {class: 'aenb-meter'},
              make('span', {style: {width: `${100 * Math.max(0, value)}%`}}),
            ),
          ),
          make('td', {class: 'aenb-number'}, number(value)),
        ),
      ),
    ),
  );
}

export function worstPart(compare) {
  const {worst} = compare.model.get('facts');
  if (!worst?.length) return null;
  return make(
    'div',
    {},
    make('h4', {}, 'Where they differ most'),
    make(
      'ol',
      {class: 'aenb-list aenb-worst'},
      ...worst.map((place, index) =>
        make(
          'li',
          {},
          make(
            'button',
            {'data-focus': `worst ${index}`, onclick: () => compare.visit(place)},
            make('span', {}, `${index + 1}`),
            make('span', {class: 'aenb-grow'}, `${place.lat.toFixed(4)}, ${place.lon.toFixed(4)}`),
            make('span', {}, number(place.agreement)),
          ),
        ),
      ),
    ),
  );
}

export function inspectorPart(compare) {
  const found = compare.model.get('inspected');
  if (found.lon === undefined)
    return make(
      'div',
      {},
      make('h4', {}, 'Under the cursor'),
      make('p', {class: 'aenb-quiet'}, 'Click the map to read both embeddings there.'),
    );
  const names = compare.model.get('names');
  return make(
    'div',
    {class: 'aenb-inspected'},
    make('h4', {}, `At ${found.lat.toFixed(5)}, ${found.lon.toFixed(5)}`),
    found.note ? make('p', {}, found.note) : null,
    found.cosine === null || found.cosine === undefined
      ? null
      : make('p', {}, 'cosine after alignment ', number(found.cosine)),
    found.a ? bars(found.a, `embedding of ${names[0]}`, 'var(--aenb-a)') : null,
    found.b ? bars(found.b, `embedding of ${names[1]}`, 'var(--aenb-b)') : null,
    found.shared === undefined || found.shared === null
      ? null
      : make(
          'p',
          {class: 'aenb-quiet'},
          `Dots: the five most similar pixels in each field; ${found.shared} of five are the same.`,
        ),
    decodedPart(compare),
    found.series?.length ? make('h4', {}, 'Seen by the satellites') : null,
    ...(found.series || []).map((one) => series(one, 'var(--aenb-mark)')),
  );
}
