// What the panels of all maps do alike: messages, maps that come and go, keys, what is saved.
import {make, fill, listen, keyList} from './dom.js';
import {MapLayers} from './map_layers.js';

/** A panel beside maps. A widget says what stands on a map (`meet`), what in the panel (`contents`), and what
 *  its own keys do (`key`); `about` is {label, look, keys}. */
export class Controller {
  constructor(model, about) {
    Object.assign(this, {model, about, panels: [], parts: []});
    this.layers = new MapLayers(model);
    this.layers.onMap.push((map, index) => this.meet(map, index));
    model.on('msg:custom', (message) => this.hear(message));
  }

  set(name, value) {
    this.model.set(name, value);
    this.model.save_changes();
  }

  say(type, more = {}) {
    this.model.send({type, ...more});
  }

  hear(message) {
    if (message.type === 'fly') this.fly(message);
  }

  // ---- maps

  /** Begin with a map: `elements` stand on it, and its keys are heard. */
  join(map, elements, more = {}) {
    const box = map.getContainer(),
      part = {map, ...elements, ...more};
    listen(box, (key) => this.keyOnMap(key));
    box.append(...Object.values(elements));
    this.parts = [...this.parts.filter((one) => one.map.getContainer().isConnected), part];
    return part;
  }

  look(lon, lat) {
    this.say('click', {lon, lat});
  }

  visit(place) {
    this.fly(place);
    this.look(place.lon, place.lat);
  }

  fly({lon, lat}) {
    for (const {map} of this.parts)
      map.setView([lat, lon], Math.max(map.getZoom(), this.model.get('near')), {animate: false});
  }

  // ---- keys

  keyOnMap(key) {
    return this.key(key);
  }

  /** Keys that mean the same everywhere; true where the key was one of them. */
  key(key) {
    if (key === 'h') this.set('opacity', this.model.get('opacity') > 0 ? 0 : 1);
    else if (key === '?') {
      this.help = !this.help;
      this.refresh();
    } else return false;
    return true;
  }

  helpPart() {
    return this.help ? keyList(this.about.keys) : null;
  }

  // ---- the panel

  show(el) {
    const {label, look = ''} = this.about,
      element = make('div', {class: `aenb aenb-panel ${look}`, 'aria-label': label}),
      panel = {element, ...this.furnish(element)};
    listen(element, (key) => this.key(key));
    this.panels = [...this.panels.filter((one) => one.element.isConnected), panel];
    el.append(element);
    el.style.height = '100%';
    this.refresh();
  }

  /** What stays in a panel while the rest is made anew. */
  furnish() {
    return {};
  }

  /** Make the panel anew once for all that changes in one go. */
  soon() {
    this.waiting ??= requestAnimationFrame(() => this.refresh());
  }

  refresh() {
    cancelAnimationFrame(this.waiting);
    this.waiting = null;
    for (const panel of this.panels) this.renew(panel);
  }

  renew({element}) {
    fill(element, ...this.contents());
  }
}

/** The module of a widget: one controller for each model, however often it is shown. */
export function widgetOf(Kind) {
  const controllers = new Map();
  return {
    initialize({model}) {
      const controller = new Kind(model);
      controllers.set(model.get('key'), controller);
      return () => controller.layers.close();
    },
    render({model, el}) {
      controllers.get(model.get('key')).show(el);
    },
  };
}

/** Put something where a point of the ground is on the screen. */
export function pin(map, element, at) {
  const {x, y} = map.latLngToContainerPoint(at);
  Object.assign(element.style, {left: `${x}px`, top: `${y}px`});
}

/** Buttons that take back, and take back the taking back. */
export const undoButtons = (widget) => [
  make('button', {'data-focus': 'undo', title: 'Undo (u)', onclick: () => widget.say('undo')}, '↶ undo'),
  make('button', {'data-focus': 'redo', title: 'Redo (r)', onclick: () => widget.say('redo')}, '↷ redo'),
];

/** What a widget's own buttons do, what can be saved, and the code that repeats what was clicked. */
export function actions(widget, saves, buttons = []) {
  const code = widget.model.get('code'),
    save = make(
      'select',
      {'aria-label': 'Save', 'data-focus': 'save', class: 'aenb-save'},
      make('option', {value: ''}, 'save…'),
      ...saves.map(([value, words]) => make('option', {value}, words)),
    );
  save.addEventListener('change', () => {
    if (save.value) widget.say('save', {what: save.value});
    save.value = '';
  });
  const about = {readonly: true, rows: 8, class: 'aenb-code', 'aria-label': 'Code that repeats this'},
    toggle = () => (code ? widget.set('code', '') : widget.say('code'));
  return make(
    'div',
    {class: 'aenb-actions'},
    make(
      'div',
      {class: 'aenb-row'},
      ...buttons.flat(),
      save,
      make('button', {'data-focus': 'code', onclick: toggle}, code ? 'hide code' : 'as code'),
    ),
    code ? make('textarea', {...about, onfocus: ({target}) => target.select()}, code) : null,
  );
}
