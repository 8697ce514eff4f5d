// The panel of ProbeMap: classes, labels by click and key, how well the probe does, and what to label next.
import {make, fill} from './dom.js';
import {widgetOf, actions} from './controller.js';
import {PointController} from './points.js';
import {SAVES, classList, scoreCard, probeButtons} from './probe_parts.js';
import {picturesPart, nextPart, legendOf} from './probe_bar.js';

const KEYS = [
  ['1–9, 0', 'choose a class'],
  ['Enter', 'label the middle'],
  ['u', 'undo'],
  ['r', 'redo'],
  ['n', 'next suggestion'],
  ['p', 'next picture'],
  ['s', 'next field'],
  ['h', 'hide overlay'],
  ['Shift+click', 'remove a label'],
  ['?', 'this list'],
];

class Probe extends PointController {
  constructor(model) {
    super(model, {label: 'Probe', keys: KEYS});
    model.on('change', () => this.soon());
    model.on('change:classes change:current change:suggestion change:layers change:shown', () =>
      this.dress(),
    );
    model.on('change:suggestion', () => this.onward && this.visit());
  }

  meet(map) {
    this.join(map, {
      legend: make('div', {class: 'aenb-legend', hidden: true}),
      ghost: make('div', {class: 'aenb-ghost', hidden: true}),
    });
    this.dress();
  }

  mark(part, latlng) {
    const one = this.model.get('classes').find(({id}) => id === this.model.get('current'));
    const numeric = this.model.get('says') === 'number';
    const serial = ++this.serial;
    this.say('label', {
      lon: latlng.lng,
      lat: latlng.lat,
      serial,
      class_id: numeric ? 0 : one?.id || 0,
      value: numeric ? this.model.get('value') : null,
    });
    if (!one && !numeric) return serial;
    const dot = make('div', {class: 'aenb-pending', style: {background: numeric ? '#fff' : one.colour}});
    this.pend(part, serial, latlng, dot, this.layers.newest());
    return serial;
  }

  standing({ghost}) {
    const {lon, lat} = this.model.get('suggestion');
    return lon === undefined ? [] : [{element: ghost, at: [lat, lon]}];
  }

  dress() {
    const classes = this.model.get('classes'),
      settled = this.model.get('settled'),
      shown = this.model.get('shown'),
      next = this.model.get('suggestion'),
      id = shown === 'disagreement' ? shown : 'prediction',
      own = legendOf(shown, (this.model.get('layers') || []).find((one) => one.id === id)?.legend);
    const row = ({name, colour, count}) =>
      make(
        'div',
        {class: 'aenb-cut'},
        make('i', {style: {background: colour}}),
        `${name} `,
        make('span', {style: {opacity: 0.7}}, `${count}`),
      );
    for (const part of this.parts) {
      for (const serial of part.pending.keys()) if (serial <= settled) this.settle(serial);
      part.legend.hidden = !classes.length && !own;
      fill(part.legend, ...(own ? [own].flat() : classes.map(row)));
      part.ghost.hidden = next.lon === undefined;
      part.ghost.title = next.reason ?? '';
      this.place(part);
    }
  }

  key(key) {
    const classes = this.model.get('classes'),
      shown = this.model.get('pictures'),
      fields = this.model.get('names');
    const next = (list, one) => list[(list.indexOf(one) + 1) % list.length];
    const chosen = classes.find((one) => one.key === key);
    if (chosen) this.set('current', chosen.id);
    else if (key === 'Enter') this.markMiddle();
    else if (key === 'u' || key === 'r') this.say(key === 'u' ? 'undo' : 'redo');
    else if (key === 'n') this.visit();
    else if (key === 'p') this.set('shown', next(shown, this.model.get('shown')));
    else if (key === 's') this.set('field', next(fields, this.model.get('field')));
    else return super.key(key);
    return true;
  }

  /** Go to the suggestion; from there, ask for another one and go to that. */
  visit() {
    const next = this.model.get('suggestion'),
      place = `${next.lon} ${next.lat}`;
    if (next.lon === undefined) return;
    this.onward = this.visited === place;
    this.visited = place;
    if (this.onward) this.say('next');
    else this.fly(next);
  }

  contents() {
    return [
      picturesPart(this),
      this.helpPart(),
      classList(this),
      nextPart(this),
      scoreCard(this),
      actions(this, SAVES, probeButtons(this)),
    ];
  }
}

export default widgetOf(Probe);
