// A handle across a Leaflet map: on its left the layers of one side, on its right those of the other.
import {make} from './dom.js';

export class Swipe {
  /** `sides()` gives {left: [leaflet layers], right: [...]}; `moved(share)` is told where the handle is. */
  constructor(map, sides, moved) {
    Object.assign(this, {map, sides, moved, share: 0.5, shown: false});
    this.handle = make(
      'div',
      {
        class: 'aenb-swipe',
        role: 'slider',
        tabindex: 0,
        'aria-label': 'Swipe between the two fields',
        'aria-valuemin': 0,
        'aria-valuemax': 100,
        'data-lm-suppress-shortcuts': 'true',
      },
      make('span', {'aria-hidden': 'true'}, '⇔'),
    );
    for (const name of ['click', 'dblclick', 'mousedown', 'touchstart', 'wheel'])
      this.handle.addEventListener(name, (event) => event.stopPropagation());
    this.handle.addEventListener('pointerdown', (event) => this.drag(event));
    this.handle.addEventListener('keydown', (event) => {
      const step = {ArrowLeft: -0.02, ArrowRight: 0.02, Home: -1, End: 1}[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      this.put(this.share + step, true);
    });
    map.getContainer().append(this.handle);
    map.on('move zoomend resize layeradd layerremove', () => this.clip());
  }

  show(shown) {
    this.shown = shown;
    this.handle.hidden = !shown;
    this.clip();
  }

  put(share, tell = false) {
    this.share = Math.min(1, Math.max(0, share));
    if (tell) this.moved(this.share);
    this.clip();
  }

  drag(down) {
    down.preventDefault();
    down.stopPropagation();
    this.handle.focus();
    this.handle.setPointerCapture(down.pointerId);
    const box = this.map.getContainer().getBoundingClientRect();
    const move = (event) => this.put((event.clientX - box.left) / box.width);
    this.handle.addEventListener('pointermove', move);
    this.handle.addEventListener(
      'pointerup',
      () => {
        this.handle.removeEventListener('pointermove', move);
        this.moved(this.share);
      },
      {once: true},
    );
  }

  clip() {
    const size = this.map.getSize(),
      at = Math.round(size.x * this.share);
    this.handle.style.left = `${at}px`;
    this.handle.setAttribute('aria-valuenow', Math.round(this.share * 100));
    const corner = this.map.containerPointToLayerPoint([0, 0]),
      end = this.map.containerPointToLayerPoint(size);
    const top = `${corner.y}px`;
    const line = corner.x + at,
      {left, right} = this.sides();
    const cut = (layer, from, to) => {
      const pane = layer.getContainer?.();
      if (pane)
        pane.style.clipPath = this.shown
          ? `polygon(${from}px ${top}, ${to}px ${top}, ${to}px ${end.y}px, ${from}px ${end.y}px)`
          : '';
    };
    for (const layer of left) cut(layer, corner.x, line);
    for (const layer of right) cut(layer, line, end.x);
  }
}
