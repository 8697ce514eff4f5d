// Years of ChangeMap: the slider on the map, and a pixel's path through them in the panel.
import {make, fill} from './dom.js';

const EACH_PX = 64,
  MINE = ['click', 'dblclick', 'mousedown', 'pointerdown', 'touchstart', 'wheel']; // not for the map

export class Years {
  /** `model` holds years, year and between; `choose(year)` is told which one is to be drawn. */
  constructor(map, model, choose) {
    Object.assign(this, {model, choose});
    this.slider = make('input', {
      type: 'range',
      min: 0,
      step: 1,
      'aria-label': 'Year',
      oninput: () => choose(model.get('years')[+this.slider.value]),
    });
    this.ticks = make('div', {class: 'aenb-ticks'});
    this.box = make('div', {class: 'aenb-years'}, this.slider, this.ticks);
    for (const name of MINE) this.box.addEventListener(name, (event) => event.stopPropagation());
    map.getContainer().append(this.box);
    this.refresh();
  }

  refresh() {
    const years = this.model.get('years'),
      shown = years.indexOf(this.model.get('year')),
      pair = this.model.get('between').map((one) => years.indexOf(one)),
      share = (at) => `${(100 * at) / Math.max(1, years.length - 1)}%`;
    this.box.style.width = `${Math.max(180, EACH_PX * years.length)}px`;
    this.slider.max = years.length - 1;
    this.slider.value = shown;
    this.slider.setAttribute('aria-valuetext', years[shown]);
    fill(
      this.ticks,
      make('span', {
        class: 'aenb-span',
        title: `Compared: ${this.model.get('between').join(' and ')}`,
        style: {left: share(pair[0]), right: `calc(100% - ${share(pair[1])})`},
      }),
      ...years.map((year, at) =>
        make(
          'button',
          {
            class: 'aenb-tick-year',
            title: pair.includes(at) ? `${year}, one of the two that are compared` : year,
            'aria-pressed': String(at === shown),
            'data-end': pair.includes(at),
            'data-focus': `year ${year}`,
            'data-year': year,
            style: {left: share(at)},
            onclick: () => this.choose(year),
          },
          year,
        ),
      ),
    );
  }
}

/** Clicked pixel: a tile a year in the colour of its embedding, how far from the first, and its class. */
export function pathPart(change) {
  const {lon, lat, steps, note} = change.model.get('inspected'),
    shown = change.model.get('year');
  if (lon === undefined) return null;
  const tip = ({year, distance, p, class_name}) =>
    [
      year,
      distance === null ? 'no data' : `distance to the first year ${distance.toFixed(3)}`,
      p === null
        ? ''
        : `${p < 0.001 ? 'less than 0.1' : (100 * p).toFixed(1)} % of stable pixels lie farther`,
      class_name,
    ]
      .filter(Boolean)
      .join(', ');
  const tile = (step, at) =>
    make(
      'button',
      {
        class: 'aenb-step',
        title: tip(step),
        'aria-pressed': String(step.year === shown),
        'data-focus': `step ${step.year}`,
        'data-end': change.model.get('between').includes(step.year),
        onclick: () => change.set('year', step.year),
      },
      make('i', {
        class: step.colour ? '' : 'aenb-empty',
        style: {background: step.colour ? `rgb(${step.colour})` : ''},
      }),
      make('span', {}, step.year),
      make('small', {}, step.distance === null ? 'no data' : at ? step.distance.toFixed(2) : 'start'),
      step.class_name
        ? make('span', {class: 'aenb-class-of', style: {borderColor: step.class_colour}}, step.class_name)
        : null,
    );
  return make(
    'div',
    {class: 'aenb-path'},
    make('h4', {}, `Through the years at ${lat.toFixed(5)}, ${lon.toFixed(5)}`),
    steps?.length
      ? make('div', {class: 'aenb-steps', role: 'group', 'aria-label': 'Years'}, ...steps.map(tile))
      : null,
    note ? make('p', {class: 'aenb-quiet'}, note) : null,
  );
}
