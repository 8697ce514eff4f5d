// Parts of the panel of ProbeMap: the list of classes, the score card, and what can be saved.
import {make, number, area} from './dom.js';
import {undoButtons} from './controller.js';

const [RIGHT, WRONG] = ['#0072b2', '#d55e00'];

export function classList(probe) {
  const get = (name) => probe.model.get(name),
    numeric = get('says') === 'number';
  const row = (one) => {
    const chosen = !numeric && get('current') === one.id,
      editing = probe.editing === one.id;
    const edit = (more) => probe.say('edit_class', {id: one.id, ...more});
    const stop = () => {
      probe.editing = null;
      probe.refresh();
    };
    return make(
      'li',
      {class: 'aenb-class', 'data-class': one.id},
      make(
        'div',
        {class: 'aenb-row'},
        make(
          'button',
          {
            class: 'aenb-grow aenb-cut',
            'aria-pressed': String(chosen),
            'data-focus': `class ${one.id}`,
            title: one.name,
            onclick: () => {
              probe.set('says', 'class');
              probe.set('current', one.id);
            },
          },
          make('span', {class: 'aenb-dot', style: {background: one.colour}}),
          ` ${one.name} `,
        ),
        one.key ? make('kbd', {title: 'key'}, one.key) : null,
        make('span', {class: 'aenb-count', title: 'labels'}, String(one.count)),
        one.hectares === null || one.hectares === undefined
          ? null
          : make('small', {title: 'area predicted'}, `${area(one.hectares)}`),
        make(
          'button',
          {
            'aria-label': `Change ${one.name}`,
            'aria-expanded': String(editing),
            'data-focus': `edit ${one.id}`,
            onclick: () => {
              probe.editing = editing ? null : one.id;
              probe.refresh();
            },
          },
          '…',
        ),
      ),
      editing
        ? make(
            'div',
            {class: 'aenb-row'},
            make('input', {
              type: 'text',
              value: one.name,
              'aria-label': 'Name',
              style: {width: '112px'},
              'data-focus': `name ${one.id}`,
              onchange: (event) => {
                edit({name: event.target.value});
                stop();
              },
            }),
            make('input', {
              type: 'color',
              value: one.colour,
              'aria-label': 'Colour',
              onchange: (event) => edit({colour: event.target.value}),
            }),
            make(
              'select',
              {
                'aria-label': 'Merge into',
                onchange: (event) => {
                  edit({into: +event.target.value});
                  stop();
                },
              },
              make('option', {value: ''}, 'merge into…'),
              ...get('classes')
                .filter((other) => other.id !== one.id)
                .map((other) => make('option', {value: other.id}, other.name)),
            ),
            make(
              'button',
              {
                onclick: () => {
                  edit({gone: true});
                  stop();
                },
              },
              'delete',
            ),
          )
        : null,
    );
  };
  const add = (event) => {
    const name = event.target.value.trim();
    if (event.key !== 'Enter' || !name) return;
    probe.say('add_class', {name});
    event.target.value = '';
  };
  return make(
    'div',
    {},
    make('h4', {}, 'Classes'),
    make('ul', {class: 'aenb-list'}, ...get('classes').map(row)),
    make(
      'div',
      {class: 'aenb-row'},
      make('input', {
        type: 'text',
        placeholder: 'new class, then Enter',
        'aria-label': 'New class',
        class: 'aenb-grow aenb-new',
        'data-focus': 'new class',
        onkeydown: add,
      }),
      make(
        'label',
        {title: 'Labels that are numbers, for regression'},
        make('input', {
          type: 'checkbox',
          checked: numeric,
          'data-focus': 'number',
          onchange: (event) => probe.set('says', event.target.checked ? 'number' : 'class'),
        }),
        'number',
      ),
      numeric
        ? make('input', {
            type: 'number',
            step: 'any',
            value: get('value'),
            'aria-label': 'Value of the next label',
            style: {width: '76px'},
            'data-focus': 'value',
            onchange: (event) => probe.set('value', +event.target.value),
          })
        : null,
    ),
  );
}

export function scoreCard(probe) {
  const card = probe.model.get('card');
  if (!card.rows?.length) return null;
  return make(
    'div',
    {class: 'aenb-card'},
    make('h4', {}, 'How well it does'),
    make(
      'table',
      {},
      ...card.rows.map((one) =>
        make(
          'tr',
          {title: one.tip},
          make('td', {}, one.words),
          make('td', {class: 'aenb-number'}, number(one.value, one.half)),
        ),
      ),
    ),
    make('p', {class: 'aenb-quiet'}, card.sentence),
    card.confusion ? confusion(card.confusion) : null,
  );
}

function confusion({names, colours, counts}) {
  const most = Math.max(1, ...counts.flat());
  const cell = (count, row, column) =>
    make(
      'td',
      {
        title: `${names[row]}, taken for ${names[column]}: ${count}`,
        style: {
          background: count
            ? `color-mix(in srgb, ${row === column ? RIGHT : WRONG} ${20 + (70 * count) / most}%, #0000)`
            : '',
        },
      },
      count ? String(count) : '·',
    );
  return make(
    'table',
    {
      class: 'aenb-heat',
      'aria-label': 'Labels (rows) and what they were taken for (columns), blocks left out',
    },
    make(
      'tr',
      {},
      make('td', {}),
      ...names.map((name, at) =>
        make('td', {title: name}, make('span', {class: 'aenb-dot', style: {background: colours[at]}})),
      ),
    ),
    ...counts.map((row, at) =>
      make(
        'tr',
        {},
        make(
          'td',
          {
            class: 'aenb-cut',
            title: names[at],
            style: {textAlign: 'left', maxWidth: '110px', width: 'auto'},
          },
          names[at],
        ),
        ...row.map((count, column) => cell(count, at, column)),
      ),
    ),
  );
}

export const SAVES = [
  ['geojson', 'labels, GeoJSON'],
  ['geoparquet', 'labels, GeoParquet'],
  ['cog', 'prediction, GeoTIFF'],
  ['polygons', 'prediction, polygons'],
  ['probe', 'probe, JSON'],
];

/** Undo, redo, and where the probe is one of those that take long, the button that trains it. */
export function probeButtons(probe) {
  const trains = probe.model.get('trains');
  return [
    undoButtons(probe),
    trains
      ? make('button', {'data-focus': 'train', onclick: () => probe.say('train'), title: trains}, 'train')
      : null,
  ];
}
