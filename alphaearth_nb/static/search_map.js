// SearchMap: examples by click and key, a threshold that is answered here, places to visit and to tick.
import {make, fill, listen, keyList} from './dom.js';
import {MapLayers, paletteOf} from './map_layers.js';
import {actions} from './probe_parts.js';
import {LEVELS, LIKE, UNLIKE, SIGNS, CutPart, coloursOf} from './search_cut.js';
import {PICTURES, SAVED, topPart, wordsPart, kindsPart, placesPart, legendOf} from './search_parts.js';

const DOUBLE_MS = 350,
  DOUBLE_PX = 6, // two clicks this close together are a double click, which zooms
  REACH_PX = 12,
  WAIT_MS = 4000; // until a ring that nobody answers for is taken away
const KEYS = [
  ['p', 'clicks say: like this'],
  ['n', 'clicks say: unlike this'],
  ['Enter', 'mark the middle'],
  ['u', 'undo'],
  ['r', 'redo'],
  ['g', 'go to the next place'],
  ['y', 'that place is right'],
  ['x', 'that place is wrong'],
  ['[ ]', 'move the threshold'],
  ['v', 'next picture'],
  ['h', 'hide overlay'],
  ['Shift+click', 'remove an example'],
  ['?', 'this list'],
];
const controllers = new Map();

class SearchWidget {
  constructor(model) {
    this.model = model;
    [this.panels, this.parts] = [[], []];
    [this.serial, this.moves, this.level] = [0, 0, 0];
    this.layers = new MapLayers(model);
    this.layers.palette = (id, version) => this.palette(id, version);
    this.layers.onMap.push((map) => this.meet(map));
    this.layers.onPainted = (version) => this.painted(version);
    model.on('change:facts', () => this.take());
    model.on('change:marks', () => this.settled());
    model.on('change:marks change:facts change:shown change:kinds', () => this.dress());
    const fresh = ['shown', 'says', 'counts', 'texts', 'places', 'facts', 'kinds', 'split', 'code', 'reads'];
    model.on(fresh.map((one) => `change:${one}`).join(' '), () => this.soon());
    model.on('msg:custom', (message) => {
      if (message.type === 'fly') this.fly(message);
      if (message.type === 'refused') this.settle(message.serial);
    });
    this.take();
  }

  set(name, value) {
    this.model.set(name, value);
    this.model.save_changes();
  }

  say(type, more = {}) {
    this.model.send({type, ...more});
  }

  // ---- the threshold

  /** Take what Python says, unless the threshold has been moved since it was asked. */
  take() {
    const facts = this.model.get('facts');
    if (facts.version === this.version && facts.serial < this.moves) return;
    this.version = facts.version;
    this.moves = facts.serial || 0;
    this.moved = false;
    this.level = facts.level ?? 0;
    this.recolour();
  }

  /** Move the threshold: the picture and the numbers follow here, Python hears of it behind them. */
  cut(level) {
    this.level = Math.max(0, Math.min(LEVELS - 1, level));
    this.moved = true;
    this.moves += 1;
    this.recolour();
    for (const {cut} of this.panels) cut.update();
    this.tell ??= requestAnimationFrame(() => {
      this.tell = null;
      this.say('cut', {level: this.level, version: this.version, serial: this.moves});
    });
  }

  /** Colours of a picture: of the version that the numbers are about, else as they were. */
  palette(id, version) {
    if (id !== 'similarity') return undefined;
    if (version === this.version || !this.colours) this.colours = paletteOf({colours: coloursOf(this.level)});
    return this.colours;
  }

  recolour() {
    const layer = this.layers.layers.get('similarity');
    if (layer && layer.version === this.version) layer.use(layer.spec);
  }

  // ---- the map

  meet(map) {
    const box = map.getContainer();
    listen(box, (key) => this.key(key));
    const part = {
      map,
      legend: make('div', {class: 'aenb-legend aenb-search-legend', hidden: true}),
      signs: make('div', {class: 'aenb-signs', 'aria-hidden': 'true'}),
      cross: make('div', {class: 'aenb-cross', 'aria-hidden': 'true'}),
      pending: new Map(),
    };
    box.append(part.legend, part.signs, part.cross);
    this.parts = [...this.parts.filter((one) => one.map.getContainer().isConnected), part];
    map.on('click', (event) => this.click(part, event));
    map.on('draw:drawstart pm:drawstart', () => (part.drawing = true)); // its clicks are corners
    map.on('draw:drawstop pm:drawend', () => setTimeout(() => (part.drawing = false), DOUBLE_MS));
    map.on('dblclick', () => this.retract());
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
    this.last = {time: now, point, serial: this.mark(part, latlng)};
  }

  /** A ring appears at once; Python answers with the picture, and then with a ring that stays. */
  mark(part, latlng) {
    const serial = ++this.serial,
      kind = this.model.get('says');
    this.say('mark', {lon: latlng.lng, lat: latlng.lat, serial, kind});
    this.asked = {time: performance.now(), version: this.version || 0};
    const ring = make('div', {class: 'aenb-ring', 'data-kind': kind}, SIGNS[kind]);
    part.map.getContainer().append(ring);
    part.pending.set(serial, {element: ring, at: [latlng.lat, latlng.lng]});
    this.place(part);
    setTimeout(() => this.settle(serial), WAIT_MS);
    return serial;
  }

  settle(serial) {
    for (const {pending} of this.parts) {
      pending.get(serial)?.element.remove();
      pending.delete(serial);
    }
  }

  /** Rings that Python has drawn take the place of those that stand there for them. */
  settled() {
    const marks = this.model.get('marks');
    for (const {pending} of this.parts)
      for (const [serial, {at}] of pending)
        if (marks.some(([lon, lat]) => Math.abs(lat - at[0]) < 1e-9 && Math.abs(lon - at[1]) < 1e-9))
          this.settle(serial);
  }

  /** The first of two quick clicks set an example; it is taken back, for together they are a double click. */
  retract() {
    if (!this.last || this.last.serial === this.retracted) return;
    this.retracted = this.last.serial;
    this.settle(this.last.serial);
    this.say('retract', {serial: this.last.serial});
  }

  /** How long it took from a click to the new picture, for whoever measures it. */
  painted(version) {
    if (!this.asked || version <= this.asked.version) return;
    const {time} = this.asked;
    this.asked = null;
    requestAnimationFrame(() =>
      setTimeout(() => {
        this.taken = [...(this.taken || []), performance.now() - time];
        for (const {element} of this.panels)
          element.dataset.takenMs = this.taken.map((one) => one.toFixed(1)).join(' ');
      }, 0),
    );
  }

  place(part) {
    for (const {element, at} of [...part.pending.values(), ...(part.shown || [])]) {
      const {x, y} = part.map.latLngToContainerPoint(at);
      Object.assign(element.style, {left: `${x}px`, top: `${y}px`});
    }
  }

  dress() {
    const marks = this.model.get('marks');
    for (const part of this.parts) {
      part.legend.hidden = !marks.length;
      fill(part.legend, ...legendOf((name) => this.model.get(name)));
      part.shown = marks.map(([lon, lat, kind]) => ({
        at: [lat, lon],
        element: make('span', {'data-kind': kind}, SIGNS[kind]),
      }));
      part.signs.replaceChildren(...part.shown.map((one) => one.element));
      this.place(part);
    }
  }

  // ---- places and keys

  tick({lon, lat}, kind) {
    this.say('tick', {lon, lat, kind});
    this.visited = 0; // the list will be another one
  }

  /** The next place that nobody has judged. */
  next(places) {
    const open = places.filter(({judged}) => !judged);
    return open.find(({rank}) => rank > (this.visited || 0)) || open[0] || places[0];
  }

  visit(place) {
    this.visited = place.rank;
    this.at = place;
    this.fly(place);
    this.soon();
  }

  fly({lon, lat}) {
    for (const {map} of this.parts)
      map.setView([lat, lon], Math.max(map.getZoom(), this.model.get('near')), {animate: false});
  }

  key(key) {
    const get = (name) => this.model.get(name),
      places = get('places');
    if (key === 'p' || key === 'n') this.set('says', key === 'p' ? LIKE : UNLIKE);
    else if (key === 'Enter' && this.parts.length)
      this.mark(this.parts.at(-1), this.parts.at(-1).map.getCenter());
    else if (key === 'u' || key === 'r') this.say(key === 'u' ? 'undo' : 'redo');
    else if (key === 'g' && places.length) this.visit(this.next(places));
    else if ((key === 'y' || key === 'x') && this.at) this.tick(this.at, key === 'y' ? LIKE : UNLIKE);
    else if ('[]'.includes(key) && get('facts').counts) this.cut(this.level + (key === ']' ? 2 : -2));
    else if (key === 'v') this.set('shown', PICTURES[(PICTURES.indexOf(get('shown')) + 1) % 3]);
    else if (key === 'h') this.set('opacity', get('opacity') > 0 ? 0 : 1);
    else if (key === '?') {
      this.help = !this.help;
      this.refresh();
    } else return false;
    return true;
  }

  // ---- the panel

  show(el) {
    const cut = new CutPart(this),
      [above, below] = [make('div', {}), make('div', {class: 'aenb-below'})];
    const about = {class: 'aenb aenb-panel aenb-search', 'aria-label': 'Search'},
      element = make('div', about, above, cut.element, below);
    listen(element, (key) => key !== 'Enter' && this.key(key)); // Enter presses the button that has the focus
    this.panels = [...this.panels.filter((one) => one.element.isConnected), {element, above, cut, below}];
    el.append(element);
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
    for (const {above, cut, below} of this.panels) {
      fill(above, topPart(this), this.help ? keyList(KEYS) : null, wordsPart(this));
      cut.update();
      fill(below, kindsPart(this), placesPart(this), actions(this, SAVED));
    }
  }
}

export default {
  initialize({model}) {
    const controller = new SearchWidget(model);
    controllers.set(model.get('key'), controller);
    return () => controller.layers.close();
  },
  render({model, el}) {
    controllers.get(model.get('key')).show(el);
  },
};
