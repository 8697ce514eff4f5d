// The panel of ChangeMap: two years, how many false alarms, what changed, and a pixel's path.
import {make, fill, ramp} from './dom.js';
import {Controller, widgetOf, actions, pin} from './controller.js';
import {Years, pathPart} from './change_years.js';
import {yearsPart, ratePart, saidPart, patchesPart, tablePart, SAVES} from './change_parts.js';

const KEYS = [
  ['← →', 'year before, after'],
  ['s', 'other of the two years'],
  ['− +', 'fewer, more false alarms'],
  ['h', 'hide the change'],
  ['1–9, 0', 'a patch'],
  ['Enter', 'path of the middle'],
  ['Shift+← →', 'move the map'],
  ['?', 'this list'],
];
const STEPS = {ArrowLeft: -1, ArrowRight: 1},
  LOOSER = {'-': 1, '+': -1};

class Change extends Controller {
  constructor(model) {
    super(model, {label: 'What changed between years', keys: KEYS});
    this.layers.onLayers.push(() => this.dress());
    model.on('change:rate change:stops change:opacity', () => this.dress());
    model.on('change:year change:between change:years', () =>
      this.parts.forEach(({years}) => years.refresh()),
    );
    model.on('change:inspected', () => this.parts.forEach((part) => this.place(part)));
    model.on('change', () => this.soon());
  }

  /** Number of the stop that the slider of false alarms is at. */
  stop() {
    const rate = this.model.get('rate'),
      away = this.model.get('stops').map((one) => Math.abs(Math.log(one.rate / rate)));
    return away.indexOf(Math.min(...away));
  }

  meet(map) {
    const box = map.getContainer();
    // Before Leaflet hears of it, which would move the map; with Shift it does.
    box.addEventListener(
      'keydown',
      (event) => {
        if (event.target !== box || event.shiftKey || event.ctrlKey || event.metaKey || event.altKey) return;
        if (!(event.key in STEPS || event.key in LOOSER)) return;
        this.key(event.key);
        event.preventDefault();
        event.stopImmediatePropagation();
      },
      true,
    );
    const part = this.join(
      map,
      {
        legend: make('div', {class: 'aenb-legend', hidden: true}),
        ring: make('div', {class: 'aenb-ghost aenb-here', hidden: true}),
        cross: make('div', {class: 'aenb-cross', 'aria-hidden': 'true'}),
      },
      {years: new Years(map, this.model, (year) => this.set('year', year))},
    );
    map.on('click', ({latlng}) => this.look(latlng.lng, latlng.lat));
    map.on('move zoom zoomend viewreset', () => this.place(part));
    this.dress();
    this.place(part);
  }

  place({map, ring}) {
    const {lon, lat} = this.model.get('inspected');
    ring.hidden = lon === undefined;
    if (!ring.hidden) pin(map, ring, [lat, lon]);
  }

  /** What is called at this stop is the bytes from its cut on: painted anew from what is here already. */
  dress() {
    const stops = this.model.get('stops'),
      shown = stops.length && this.model.get('opacity') > 0;
    if (stops.length) {
      this.layers.layers.get('change')?.cut(stops[this.stop()].cut);
      for (const {element} of this.panels) {
        const said = element.querySelector('.aenb-said');
        if (said) fill(said, saidPart(this));
      }
    }
    for (const {legend} of this.parts) {
      legend.hidden = !shown;
      if (!shown) continue;
      fill(
        legend,
        make('div', {}, `changed, ${this.model.get('between').join(' to ')}`),
        ramp(this.model.get('ramp'), ['a little', 'altogether']),
      );
    }
  }

  /** The one of the two years that is not shown; the later one where neither is. */
  otherYear() {
    const [from, to] = this.model.get('between');
    return this.model.get('year') === to ? from : to;
  }

  swap() {
    this.set('year', this.otherYear());
  }

  key(key) {
    const years = this.model.get('years'),
      stops = this.model.get('stops'),
      patches = this.model.get('patches');
    const moved = document.activeElement?.type === 'range'; // which takes its arrows itself
    if (key in STEPS && moved) return false;
    if (key in STEPS) {
      const year = years[years.indexOf(this.model.get('year')) + STEPS[key]];
      if (year !== undefined) this.set('year', year);
    } else if (key in LOOSER) {
      const next = stops[this.stop() + LOOSER[key]];
      if (next) this.set('rate', next.rate);
    } else if (key === 's') this.swap();
    else if (key === 'Enter' && document.activeElement === this.parts.at(-1)?.map.getContainer()) {
      const {lng, lat} = this.parts.at(-1).map.getCenter();
      this.look(lng, lat);
    } else if (/^\d$/.test(key) && patches[(+key + 9) % 10]) this.visit(patches[(+key + 9) % 10]);
    else return super.key(key);
    return true;
  }

  keyOnMap(key) {
    return !(key in STEPS) && this.key(key);
  }

  furnish(element) {
    element.addEventListener('pointerdown', ({target}) => (this.dragging = target.type === 'range'));
    for (const name of ['pointerup', 'pointercancel'])
      window.addEventListener(name, () => this.dragging && this.dropped());
    return {};
  }

  /** Not under a slider that is being dragged. */
  soon() {
    if (!this.dragging) super.soon();
  }

  dropped() {
    this.dragging = false;
    this.soon();
  }

  contents() {
    return [
      yearsPart(this),
      this.helpPart(),
      ratePart(this),
      pathPart(this),
      tablePart(this),
      patchesPart(this),
      actions(this, SAVES),
    ];
  }
}

export default widgetOf(Change);
