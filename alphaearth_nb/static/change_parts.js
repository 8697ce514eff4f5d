// Parts of the panel of ChangeMap: which years, how many false alarms, patches, classes, files.
import {make, area, opacitySlider, keysButton} from './dom.js';

const LEAST = [1, 2, 4, 9, 16, 25, 50, 100]; // pixels of the smallest patch

const option = (value, chosen, words = value) =>
  make('option', {value, selected: String(value) === String(chosen)}, String(words));

/** Between which two years, how much the map under it is to be seen, and what the keys do. */
export function yearsPart(change) {
  const get = (name) => change.model.get(name),
    years = get('years'),
    [from, to] = get('between').map((one) => years.indexOf(one));
  const choice = (name, offered, chosen, take) =>
    make(
      'select',
      {
        'aria-label': name,
        'data-focus': name,
        class: 'aenb-year',
        onchange: (event) => change.set('between', take(event.target.value)),
      },
      ...offered.map((one) => option(one, chosen)),
    );
  return make(
    'div',
    {},
    make(
      'div',
      {class: 'aenb-row'},
      make('span', {}, 'Changed from'),
      choice('From', years.slice(0, to), years[from], (one) => [one, years[to]]),
      make('span', {}, 'to'),
      choice('To', years.slice(from + 1), years[to], (one) => [years[from], one]),
      make('span', {class: 'aenb-grow'}),
      keysButton(change),
    ),
    make(
      'div',
      {class: 'aenb-row'},
      opacitySlider(change.model, (name, value) => change.set(name, value)),
      make(
        'button',
        {'data-focus': 'swap', title: 'The other of the two years (s)', onclick: () => change.swap()},
        `show ${change.otherYear()}`,
      ),
    ),
  );
}

/** What the slider of false alarms says where it is. */
export function saidPart(change) {
  const {sentence, hectares} = change.model.get('stops')[change.stop()];
  return make('p', {}, sentence, hectares ? make('small', {}, ` ${area(hectares)} in all.`) : null);
}

/** The slider of the share of false alarms; all that it may say is here already, so it asks nobody. */
export function ratePart(change) {
  const stops = change.model.get('stops');
  if (!stops.length) return null;
  const at = change.stop();
  return make(
    'div',
    {class: 'aenb-rate'},
    make('h4', {}, 'False alarms among what is shown'),
    make('input', {
      type: 'range',
      class: 'aenb-wide',
      min: 0,
      max: stops.length - 1,
      step: 1,
      value: at,
      'aria-label': 'False alarms',
      'aria-valuetext': stops[at].words,
      'data-focus': 'rate',
      oninput: (event) => change.set('rate', stops[+event.target.value].rate),
    }),
    make(
      'div',
      {class: 'aenb-ends aenb-quiet'},
      make('span', {}, `${stops[0].short}: more is shown`),
      make('span', {}, `${stops.at(-1).short}: what is shown is sure`),
    ),
    make('div', {class: 'aenb-said'}, saidPart(change)),
    make(
      'label',
      {class: 'aenb-row'},
      'leave out patches smaller than',
      make(
        'select',
        {
          'aria-label': 'Smallest patch',
          'data-focus': 'least',
          onchange: (event) => change.set('least_px', +event.target.value),
        },
        ...[...new Set([...LEAST, change.model.get('least_px')])]
          .sort((one, other) => one - other)
          .map((one) => option(one, change.model.get('least_px'), `${one} px`)),
      ),
    ),
    ...change.model.get('notes').map((note) => make('p', {class: 'aenb-quiet'}, note)),
  );
}

export function patchesPart(change) {
  const patches = change.model.get('patches');
  if (!patches.length) return null;
  return make(
    'div',
    {},
    make('h4', {}, 'Largest patches: area, rate of false alarms'),
    make(
      'ol',
      {class: 'aenb-list aenb-patches'},
      ...patches.map((one, index) =>
        make(
          'li',
          {},
          make(
            'button',
            {
              'data-focus': `patch ${index}`,
              title:
                `${one.lat.toFixed(4)}, ${one.lon.toFixed(4)}; ${one.pixels} px; ` +
                `mean distance ${one.distance.toFixed(2)}; ` +
                `false alarms among what lies that far apart: ${one.short}`,
              onclick: () => change.visit(one),
            },
            make('span', {}, `${index + 1}`),
            make(
              'span',
              {class: 'aenb-grow aenb-cut'},
              one.before === undefined
                ? `${one.lat.toFixed(4)}, ${one.lon.toFixed(4)}`
                : `${one.before} → ${one.after}`,
            ),
            make('span', {}, area(one.hectares)),
            make('small', {}, one.short),
          ),
        ),
      ),
    ),
  );
}

/** Hectares from the class of the row to that of the column, and the largest of them with their intervals. */
export function tablePart(change) {
  const {names, colours, hectares, low, high, rows, changed} = change.model.get('table');
  if (!names) return null;
  const most = Math.max(1e-9, ...hectares.flat()),
    dot = (at) => make('span', {class: 'aenb-dot', style: {background: colours[at]}});
  const cell = (value, row, column) =>
    make(
      'td',
      {
        title: `${names[row]} → ${names[column]}: ${area(value)} (${area(low[row][column])} to ${area(
          high[row][column],
        )})`,
        style: {background: value ? `color-mix(in srgb, #e31a1c ${12 + (60 * value) / most}%, #0000)` : ''},
      },
      value ? (value < 10 ? value.toFixed(1) : value.toFixed(0)) : '·',
    );
  return make(
    'div',
    {class: 'aenb-became'},
    make('h4', {}, 'From (rows) to (columns), hectares'),
    make(
      'table',
      {class: 'aenb-heat'},
      make('tr', {}, make('td', {}), ...names.map((name, at) => make('td', {title: name}, dot(at)))),
      ...hectares.map((row, at) =>
        make(
          'tr',
          {},
          make('td', {class: 'aenb-cut aenb-name', title: names[at]}, dot(at), ` ${names[at]}`),
          ...row.map((value, column) => cell(value, at, column)),
        ),
      ),
    ),
    make(
      'table',
      {},
      ...rows.map((one) =>
        make(
          'tr',
          {title: `${area(one.hectares)}, between ${area(one.low)} and ${area(one.high)}`},
          make('td', {}, `${one.before} → ${one.after}`),
          make('td', {class: 'aenb-number'}, area(one.hectares)),
          make('td', {class: 'aenb-number'}, make('small', {}, `${area(one.low)} to ${area(one.high)}`)),
        ),
      ),
    ),
    make(
      'p',
      {class: 'aenb-quiet'},
      `${area(changed.hectares)} in all, ${area(changed.low)} to ${area(changed.high)}`,
      ` (${(100 * changed.level).toFixed(0)} % intervals); false alarms are among them.`,
    ),
  );
}

export const SAVES = [
  ['geotiff', 'what is called, GeoTIFF'],
  ['geojson', 'patches, GeoJSON'],
];
