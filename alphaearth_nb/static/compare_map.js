// The panel of CompareMap: how two fields agree, where they differ, and what lies under the cursor.
import {make, fill, ramp, opacitySlider, keysButton} from './dom.js';
import {Controller, widgetOf} from './controller.js';
import {numbersPart, classesPart, worstPart, inspectorPart} from './compare_parts.js';
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

class Compare extends Controller {
  constructor(model) {
    super(model, {label: 'Comparison of two fields', keys: KEYS});
    this.layers.onLayers.push(() => this.arrange());
    model.on('change:view change:split change:swapped', () => this.arrange());
    model.on('change', () => this.soon());
    model.on('change:inspected', () => (this.revealing = true));
  }

  meet(map, index) {
    const chip = (side) => make('div', {class: 'aenb-side', 'data-side': side, hidden: true}),
      legend = make('div', {class: 'aenb-legend', hidden: true});
    const one = this.join(map, {left: chip('left'), right: chip('right'), legend}, {index});
    map.on('click', ({latlng}) => this.look(latlng.lng, latlng.lat));
    if (index === 0)
      one.swipe = new Swipe(
        map,
        () => this.sides(),
        (share) => this.set('split', share),
      );
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
    for (const {map, index, left, right, legend, swipe} of this.parts) {
      const texts = view === 'linked' ? [names[index], ''] : view === 'swipe' ? names : ['', ''];
      [left, right].forEach((chip, side) => {
        chip.textContent = texts[side];
        chip.hidden = !texts[side];
      });
      legend.hidden = view !== 'agreement';
      const ends = this.model.get('limits'),
        says = (limit, at) => `${limit.toFixed(2)} ${at ? 'same' : 'different'}`;
      fill(
        legend,
        make('div', {}, 'cosine after alignment'),
        ramp(this.model.get('ramp'), ends.map(says)),
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
    else if (/^\d$/.test(key) && worst[(+key + 9) % 10]) this.visit(worst[(+key + 9) % 10]);
    else return super.key(key);
    return true;
  }

  contents() {
    return [
      this.controls(),
      this.helpPart(),
      numbersPart(this),
      classesPart(this),
      worstPart(this),
      inspectorPart(this),
    ];
  }

  refresh() {
    super.refresh();
    if (this.revealing) this.reveal();
    this.revealing = false;
  }

  /** What lies under the cursor stands below the places; a click brings it into the panel. */
  reveal() {
    for (const {element} of this.panels) {
      const found = element.querySelector('.aenb-inspected');
      if (found) element.scrollTop += found.getBoundingClientRect().top - element.getBoundingClientRect().top;
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

export default widgetOf(Compare);
