// SearchMap: examples by click and key, a threshold that is answered here, places to visit and to tick.
import {make, fill} from './dom.js';
import {paletteOf} from './map_layers.js';
import {widgetOf, actions, undoButtons} from './controller.js';
import {PointController} from './points.js';
import {LEVELS, LIKE, UNLIKE, SIGNS, CutPart, coloursOf} from './search_cut.js';
import {PICTURES, SAVED, topPart, wordsPart, kindsPart, placesPart, legendOf} from './search_parts.js';

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

class SearchWidget extends PointController {
  constructor(model) {
    super(model, {label: 'Search', look: 'aenb-search', keys: KEYS});
    [this.moves, this.level] = [0, 0];
    this.layers.palette = (id, version) => this.palette(id, version);
    model.on('change:facts', () => this.take());
    model.on('change:marks', () => this.settled());
    model.on('change:marks change:facts change:shown change:kinds', () => this.dress());
    const fresh = ['shown', 'says', 'counts', 'texts', 'places', 'facts', 'kinds', 'split', 'code', 'reads'];
    model.on(fresh.map((one) => `change:${one}`).join(' '), () => this.soon());
    this.take();
  }

  hear(message) {
    if (message.type === 'refused') this.settle(message.serial);
    else super.hear(message);
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
    this.join(map, {
      legend: make('div', {class: 'aenb-legend aenb-search-legend', hidden: true}),
      signs: make('div', {class: 'aenb-signs', 'aria-hidden': 'true'}),
    });
    this.dress();
  }

  mark(part, latlng) {
    const serial = ++this.serial,
      kind = this.model.get('says');
    this.say('mark', {lon: latlng.lng, lat: latlng.lat, serial, kind});
    const ring = make('div', {class: 'aenb-ring', 'data-kind': kind}, SIGNS[kind]);
    this.pend(part, serial, latlng, ring, this.version || 0);
    return serial;
  }

  /** Rings that Python has drawn take the place of those that stand there for them. */
  settled() {
    const marks = this.model.get('marks');
    for (const {pending} of this.parts)
      for (const [serial, {at}] of pending)
        if (marks.some(([lon, lat]) => Math.abs(lat - at[0]) < 1e-9 && Math.abs(lon - at[1]) < 1e-9))
          this.settle(serial);
  }

  standing({shown}) {
    return shown || [];
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

  key(key) {
    const get = (name) => this.model.get(name),
      places = get('places');
    if (key === 'p' || key === 'n') this.set('says', key === 'p' ? LIKE : UNLIKE);
    else if (key === 'Enter') this.markMiddle();
    else if (key === 'u' || key === 'r') this.say(key === 'u' ? 'undo' : 'redo');
    else if (key === 'g' && places.length) this.visit(this.next(places));
    else if ((key === 'y' || key === 'x') && this.at) this.tick(this.at, key === 'y' ? LIKE : UNLIKE);
    else if ('[]'.includes(key) && get('facts').counts) this.cut(this.level + (key === ']' ? 2 : -2));
    else if (key === 'v') this.set('shown', PICTURES[(PICTURES.indexOf(get('shown')) + 1) % 3]);
    else return super.key(key);
    return true;
  }

  // ---- the panel

  furnish(element) {
    const cut = new CutPart(this),
      [above, below] = [make('div', {}), make('div', {class: 'aenb-below'})];
    element.append(above, cut.element, below);
    return {above, cut, below};
  }

  renew({above, cut, below}) {
    fill(above, topPart(this), this.helpPart(), wordsPart(this));
    cut.update();
    fill(below, kindsPart(this), placesPart(this), actions(this, SAVED, undoButtons(this)));
  }
}

export default widgetOf(SearchWidget);
