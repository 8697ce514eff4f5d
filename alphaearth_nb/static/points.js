// Points that are set by clicking a map: seen at once, taken back by a double click, removed with Shift.
import {make} from './dom.js';
import {Controller, pin} from './controller.js';

const DOUBLE_MS = 350,
  DOUBLE_PX = 6, // two clicks this close together are a double click, which zooms
  REACH_PX = 12,
  WAIT_MS = 4000; // until a sign that nobody answers for is taken away

/** A controller whose clicks set points: `mark(part, latlng)` sets one and gives its serial number;
 *  `standing` lists what else stands on the ground as {element, at}. */
export class PointController extends Controller {
  constructor(model, about) {
    super(model, about);
    this.serial = 0;
    this.layers.onPainted = (version) => this.painted(version);
  }

  join(map, elements) {
    const cross = make('div', {class: 'aenb-cross', 'aria-hidden': 'true'}),
      part = super.join(map, {...elements, cross}, {pending: new Map()});
    map.on('click', (event) => this.click(part, event));
    map.on('draw:drawstart pm:drawstart', () => (part.drawing = true)); // its clicks are corners
    map.on('draw:drawstop pm:drawend', () => setTimeout(() => (part.drawing = false), DOUBLE_MS));
    map.on('dblclick', () => this.retract());
    map.on('move zoom zoomend viewreset', () => this.place(part));
    return part;
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

  markMiddle() {
    const part = this.parts.at(-1);
    if (part) this.mark(part, part.map.getCenter());
  }

  /** A sign appears at once; Python answers, and then with the new picture, one after `version`. */
  pend(part, serial, {lat, lng}, element, version) {
    this.asked = {time: performance.now(), version};
    part.map.getContainer().append(element);
    part.pending.set(serial, {element, at: [lat, lng]});
    this.place(part);
    setTimeout(() => this.settle(serial), WAIT_MS);
  }

  settle(serial) {
    for (const {pending} of this.parts) {
      pending.get(serial)?.element.remove();
      pending.delete(serial);
    }
  }

  /** The first of two quick clicks set a point; it is taken back, for together they are a double click. */
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
    const all = [...part.pending.values(), ...this.standing(part)];
    for (const {element, at} of all) pin(part.map, element, at);
  }
}
