// Parts of the panel of ProbeMap: what is shown, and what to label next.
import {make, ramp, opacitySlider, keysButton} from './dom.js';

const SURE = [
  [235, 235, 235],
  [40, 40, 40],
]; // as map_layers.js paints how sure

export function picturesPart(probe) {
  const get = (name) => probe.model.get(name),
    fields = get('names');
  const press = (name, value, words) =>
    make(
      'button',
      {
        'aria-pressed': String(get(name) === value),
        'data-focus': `${name} ${value}`,
        'data-value': value,
        onclick: () => probe.set(name, value),
      },
      words,
    );
  return make(
    'div',
    {},
    make(
      'div',
      {class: 'aenb-row'},
      make(
        'div',
        {class: 'aenb-switch', role: 'group', 'aria-label': 'Picture'},
        ...get('pictures').map((one) => press('shown', one, one)),
      ),
    ),
    make(
      'div',
      {class: 'aenb-row'},
      fields.length < 2
        ? null
        : make(
            'select',
            {
              'aria-label': 'Field',
              'data-focus': 'field',
              class: 'aenb-grow',
              onchange: (event) => probe.set('field', event.target.value),
            },
            ...fields.map((one) => make('option', {value: one, selected: one === get('field')}, one)),
          ),
      opacitySlider(probe.model, (name, value) => probe.set(name, value)),
      keysButton(probe),
    ),
  );
}

/** What the colours of a picture mean, where they are not those of the classes; null where they are. */
export function legendOf(shown, legend) {
  if (shown === 'disagreement')
    return legend?.colours?.map((one, at) =>
      make('div', {}, make('i', {style: {background: `rgb(${one})`}}), ['same', 'different'][at]),
    );
  if (shown === 'how sure' && legend?.only) return rampLegend({colours: SURE, range: ['unsure', 'sure']});
  return shown === 'prediction' && legend?.range ? rampLegend(legend) : null;
}

/** Colours from the smallest number that was labelled to the largest, or between two words. */
function rampLegend({colours, range}) {
  const few = [0, 0.25, 0.5, 0.75, 1].map((share) => colours[Math.round(share * (colours.length - 1))]);
  const shades = colours.length < few.length ? colours : few;
  const end = (value) => (value.length ? value : Number(value.toPrecision(3)).toLocaleString('en'));
  return ramp(
    shades.map((one) => `rgb(${one})`),
    range.map(end),
  );
}

export function nextPart(probe) {
  const next = probe.model.get('suggestion');
  if (next.lon === undefined) return null;
  return make(
    'div',
    {class: 'aenb-next'},
    make('h4', {}, 'Label next'),
    make(
      'div',
      {class: 'aenb-row'},
      make('span', {class: 'aenb-grow'}, next.reason),
      make('button', {'data-focus': 'next', onclick: () => probe.visit()}, 'go there'),
    ),
  );
}
