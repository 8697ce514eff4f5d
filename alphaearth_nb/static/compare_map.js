// The panel of CompareMap: how two fields agree, where they differ, and what lies under the cursor.
import {make, fill, listen, keyList, opacitySlider, keysButton} from './dom.js';
import {numbersPart, classesPart, worstPart, inspectorPart} from './compare_parts.js';
import {MapLayers} from './map_layers.js';
import {Swipe} from './swipe.js';

const VIEWS = {swipe: 'swipe', linked: 'side by side', agreement: 'agreement'};
const KEYS = [
  ['v', 'next view'],
  ['s', 'swap sides'],
  ['h', 'hide overlay'],
  ['← →', 'move the handle'],
  ['1–9, 0', 'a place that differs'],
  ['?', 'this list'],
];
const controllers = new Map();

class Compare {
  constructor(model) {
    this.model = model;
    this.panels = [];
    this.layers = new MapLayers(model);
    this.layers.onMap.push((map, index) => this.meet(map, index));
    this.layers.onLayers.push(() => this.arrange());
    model.on('change:view change:split change:swapped', () => this.arrange());
    model.on('change', () => this.refresh());
    model.on('change:inspected', () => requestAnimationFrame(() => this.reveal()));
    model.on('msg:custom', (message) => message.type === 'fly' && this.fly(message));
  }

  set(name, value) {
    this.model.set(name, value);
    this.model.save_changes();
  }

  meet(map, index) {
    const box = map.getContainer(),
      chip = (side) => make('div', {class: 'aenb-side', 'data-side': side, hidden: true});
    listen(box, (key) => this.key(key));
    map.on('click', ({latlng}) => this.model.send({type: 'click', lon: latlng.lng, lat: latlng.lat}));
    const chips = {left: chip('left'), right: chip('right')},
      legend = make('div', {class: 'aenb-legend', hidden: true});
    box.append(chips.left, chips.right, legend);
    const one = {map, index, chips, legend};
    if (index === 0)
      one.swipe = new Swipe(
        map,
        () => this.sides(),
        (share) => this.set('split', share),
      );
    this.parts = [...(this.parts || []).filter((part) => part.map.getContainer().isConnected), one];
    map.on('move', () => this.follow(one));
    this.arrange();
  }

  /** The second map goes where the first goes, and the other way round. */
  follow(leader) {
    if (this.following || this.model.get('view') !== 'linked') return;
    this.following = true;
    for (const part of this.parts)
      if (part.index !== leader.index)
        part.map.setView(leader.map.getCenter(), leader.map.getZoom(), {animate: false});
    this.following = false;
  }

  sides() {
    const all = [...this.layers.layers.values()],
      on = (side) => all.filter((layer) => layer.spec.side === side).flatMap((layer) => [...layer.leaflet]);
    return {
      left: on(this.model.get('swapped') ? 'b' : 'a'),
      right: on(this.model.get('swapped') ? 'a' : 'b'),
    };
  }

  arrange() {
    const view = this.model.get('view'),
      names = [...this.model.get('names')];
    if (this.model.get('swapped')) names.reverse();
    for (const {map, index, chips, legend, swipe} of this.parts || []) {
      const texts = view === 'linked' ? [names[index], ''] : view === 'swipe' ? names : ['', ''];
      [chips.left, chips.right].forEach((chip, side) => {
        chip.textContent = texts[side];
        chip.hidden = !texts[side];
      });
      legend.hidden = view !== 'agreement';
      fill(
        legend,
        make('div', {}, 'cosine after alignment'),
        make('div', {
          class: 'aenb-ramp',
          style: {
            background: `linear-gradient(to right, ${this.model.get('ramp').join(',')})`,
          },
        }),
        make(
          'div',
          {style: {display: 'flex', justifyContent: 'space-between'}},
          ...this.model
            .get('limits')
            .map((limit, at) => make('span', {}, `${limit.toFixed(2)} ${at ? 'same' : 'different'}`)),
        ),
      );
      if (swipe) {
        swipe.put(this.model.get('split'));
        swipe.show(view === 'swipe');
      }
      if (view === 'linked' && index === 0) this.follow({map, index});
    }
  }

  key(key) {
    const views = Object.keys(VIEWS),
      worst = this.model.get('facts').worst || [];
    if (key === 'v') this.set('view', views[(views.indexOf(this.model.get('view')) + 1) % views.length]);
    else if (key === 's') this.set('swapped', !this.model.get('swapped'));
    else if (key === 'h') this.set('opacity', this.model.get('opacity') > 0 ? 0 : 1);
    else if (key === '?') {
      this.help = !this.help;
      this.refresh();
    } else if (/^\d$/.test(key) && worst[(+key + 9) % 10]) this.visit(worst[(+key + 9) % 10]);
    else return false;
    return true;
  }

  visit(place) {
    this.fly(place);
    this.model.send({type: 'click', lon: place.lon, lat: place.lat});
  }

  fly({lon, lat}) {
    for (const {map} of this.parts || [])
      map.setView([lat, lon], Math.max(map.getZoom(), this.model.get('near')), {animate: false});
  }

  show(el) {
    const panel = make('div', {class: 'aenb aenb-panel', 'aria-label': 'Comparison of two fields'});
    listen(panel, (key) => this.key(key));
    this.panels = [...this.panels.filter((one) => one.isConnected), panel];
    el.append(panel);
    el.style.height = '100%';
    this.refresh(panel);
  }

  refresh(only) {
    for (const panel of only ? [only] : this.panels)
      fill(
        panel,
        this.controls(),
        this.help ? keyList(KEYS) : null,
        numbersPart(this),
        classesPart(this),
        worstPart(this),
        inspectorPart(this),
      );
  }

  /** What lies under the cursor stands below the places; a click brings it into the panel. */
  reveal() {
    for (const panel of this.panels) {
      const found = panel.querySelector('.aenb-inspected');
      if (found) panel.scrollTop += found.getBoundingClientRect().top - panel.getBoundingClientRect().top;
    }
  }

  controls() {
    const view = this.model.get('view');
    return make(
      'div',
      {},
      make(
        'div',
        {class: 'aenb-row'},
        make(
          'div',
          {class: 'aenb-switch', role: 'group', 'aria-label': 'View'},
          ...Object.entries(VIEWS).map(([name, words]) =>
            make(
              'button',
              {
                'aria-pressed': String(view === name),
                'data-focus': name,
                'data-view': name,
                onclick: () => this.set('view', name),
              },
              words,
            ),
          ),
        ),
        keysButton(this),
      ),
      make(
        'div',
        {class: 'aenb-row'},
        opacitySlider(this.model, (name, value) => this.set(name, value)),
        make(
          'button',
          {
            'data-focus': 'swap',
            'aria-pressed': String(this.model.get('swapped')),
            onclick: () => this.set('swapped', !this.model.get('swapped')),
          },
          'swap sides',
        ),
      ),
    );
  }
}

export default {
  initialize({model}) {
    const controller = new Compare(model);
    controllers.set(model.get('key'), controller);
    return () => controller.layers.close();
  },
  render({model, el}) {
    controllers.get(model.get('key')).show(el);
  },
};
