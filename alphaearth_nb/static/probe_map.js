// The panel of ProbeMap: classes, labels by click and key, how well the probe does, and what to label next.
import {make, fill, listen, keyList} from './dom.js';
import {MapLayers} from './map_layers.js';
import {classList, scoreCard, actions} from './probe_parts.js';
import {picturesPart, nextPart, legendOf} from './probe_bar.js';

const DOUBLE_MS = 350,
  DOUBLE_PX = 6; // two clicks this close together are a double click, which zooms
const REACH_PX = 12;
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
const controllers = new Map();

class Probe {
  constructor(model) {
    this.model = model;
    this.panels = [];
    this.parts = [];
    this.layers = new MapLayers(model);
    this.layers.onMap.push((map) => this.meet(map));
    this.layers.onPainted = (version) => this.painted(version);
    model.on('change', () => this.soon());
    model.on('change:classes change:current change:suggestion change:layers change:shown', () =>
      this.dress(),
    );
    model.on('change:suggestion', () => this.onward && this.visit());
    model.on('msg:custom', (message) => message.type === 'fly' && this.fly(message));
    this.serial = 0;
  }

  set(name, value) {
    this.model.set(name, value);
    this.model.save_changes();
  }

  say(type, more = {}) {
    this.model.send({type, ...more});
  }

  meet(map) {
    const box = map.getContainer();
    listen(box, (key) => this.key(key));
    const part = {
      map,
      legend: make('div', {class: 'aenb-legend', hidden: true}),
      pending: new Map(),
      ghost: make('div', {class: 'aenb-ghost', hidden: true}),
      cross: make('div', {class: 'aenb-cross', 'aria-hidden': 'true'}),
    };
    box.append(part.legend, part.ghost, part.cross);
    this.parts = [...this.parts.filter((one) => one.map.getContainer().isConnected), part];
    map.on('click', (event) => this.click(part, event));
    map.on('draw:drawstart pm:drawstart', () => (part.drawing = true)); // its clicks are corners, not labels
    map.on('draw:drawstop pm:drawend', () => setTimeout(() => (part.drawing = false), DOUBLE_MS));
    map.on('dblclick', () => this.retract(part));
    map.on('move zoom zoomend viewreset', () => this.place(part));
    this.dress();
  }

  click(part, {latlng, originalEvent}) {
    if (part.drawing) return;
    const now = performance.now(),
      point = part.map.latLngToContainerPoint(latlng),
      last = this.last;
    if (originalEvent?.shiftKey) {
      const reach = Math.abs(part.map.containerPointToLatLng(point.add([REACH_PX, 0])).lng - latlng.lng);
      this.say('remove', {lon: latlng.lng, lat: latlng.lat, reach});
      return;
    }
    if (last && now - last.time < DOUBLE_MS && point.distanceTo(last.point) < DOUBLE_PX) return;
    this.last = {time: now, point, serial: this.label(part, latlng)};
  }

  /** A dot appears at once; Python answers with the label, and then with the new picture. */
  label(part, latlng) {
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
    this.asked = {time: performance.now(), version: this.layers.newest()};
    const dot = make('div', {class: 'aenb-pending', style: {background: numeric ? '#fff' : one.colour}});
    part.map.getContainer().append(dot);
    part.pending.set(serial, {dot, latlng});
    this.place(part);
    setTimeout(() => this.settle(part, serial), 4000);
    return serial;
  }

  settle(part, serial) {
    part.pending.get(serial)?.dot.remove();
    part.pending.delete(serial);
  }

  /** The first of two quick clicks set a label; it is taken back, for together they are a double click. */
  retract(part) {
    if (!this.last || this.last.serial === this.retracted) return;
    this.retracted = this.last.serial;
    this.settle(part, this.last.serial);
    this.say('retract', {serial: this.last.serial});
  }

  painted(version) {
    if (!this.asked || version <= this.asked.version) return;
    const {time} = this.asked;
    this.asked = null;
    requestAnimationFrame(() =>
      setTimeout(() => {
        const taken = performance.now() - time;
        this.taken = [...(this.taken || []), taken];
        for (const panel of this.panels)
          panel.dataset.takenMs = this.taken.map((one) => one.toFixed(1)).join(' ');
      }, 0),
    );
  }

  place(part) {
    const put = (element, {lat, lng, lon}) => {
      const {x, y} = part.map.latLngToContainerPoint([lat, lng ?? lon]);
      Object.assign(element.style, {left: `${x}px`, top: `${y}px`});
    };
    for (const {dot, latlng} of part.pending.values()) put(dot, latlng);
    const next = this.model.get('suggestion');
    part.ghost.hidden = next.lon === undefined;
    if (!part.ghost.hidden) {
      part.ghost.title = next.reason;
      put(part.ghost, next);
    }
  }

  dress() {
    const classes = this.model.get('classes'),
      settled = this.model.get('settled'),
      shown = this.model.get('shown'),
      id = shown === 'disagreement' ? shown : 'prediction',
      own = legendOf(shown, (this.model.get('layers') || []).find((one) => one.id === id)?.legend);
    for (const part of this.parts) {
      for (const serial of part.pending.keys()) if (serial <= settled) this.settle(part, serial);
      part.legend.hidden = !classes.length && !own;
      fill(
        part.legend,
        ...(own
          ? [own].flat()
          : classes.map(({name, colour, count}) =>
              make(
                'div',
                {class: 'aenb-cut'},
                make('i', {style: {background: colour}}),
                `${name} `,
                make('span', {style: {opacity: 0.7}}, `${count}`),
              ),
            )),
      );
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
    else if (key === 'Enter' && this.parts.length)
      this.label(this.parts.at(-1), this.parts.at(-1).map.getCenter());
    else if (key === 'u' || key === 'r') this.say(key === 'u' ? 'undo' : 'redo');
    else if (key === 'n') this.visit();
    else if (key === 'p') this.set('shown', next(shown, this.model.get('shown')));
    else if (key === 's') this.set('field', next(fields, this.model.get('field')));
    else if (key === 'h') this.set('opacity', this.model.get('opacity') > 0 ? 0 : 1);
    else if (key === '?') {
      this.help = !this.help;
      this.refresh();
    } else return false;
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

  fly({lon, lat}) {
    for (const {map} of this.parts)
      map.setView([lat, lon], Math.max(map.getZoom(), this.model.get('near')), {animate: false});
  }

  show(el) {
    const panel = make('div', {class: 'aenb aenb-panel', 'aria-label': 'Probe'});
    listen(panel, (key) => this.key(key));
    this.panels = [...this.panels.filter((one) => one.isConnected), panel];
    el.append(panel);
    el.style.height = '100%';
    this.refresh();
  }

  /** Make the panel anew once for all that changes in one go. */
  soon() {
    this.waiting ??= requestAnimationFrame(() => this.refresh());
  }

  refresh() {
    cancelAnimationFrame(this.waiting);
    this.waiting = null;
    for (const panel of this.panels)
      fill(
        panel,
        picturesPart(this),
        this.help ? keyList(KEYS) : null,
        classList(this),
        nextPart(this),
        scoreCard(this),
        actions(this),
      );
  }
}

export default {
  initialize({model}) {
    const controller = new Probe(model);
    controllers.set(model.get('key'), controller);
    return () => controller.layers.close();
  },
  render({model, el}) {
    controllers.get(model.get('key')).show(el);
  },
};
