// Pixels that Python computes, on a Leaflet map that somebody else owns (ipyleaflet, leafmap, geemap).
//
// Python puts an ordinary tile layer on the map, so that it sits in the layer control and obeys opacity and
// order. Here its tiles become canvases that are filled over the widget's own channel: no server, no port.
// A layer of kind 'foreign' (tiles of Earth Engine) is only known, so that it can be swiped.

const SIDE = 256; // pixels of a tile
const [KNOWN, GIVEN] = [0, 1]; // what lies where in a tile: as before, as follows; else one byte each pixel
const OUTSIDE = 65535; // of the field
const HEARD = ['click', 'dblclick', 'contextmenu']; // what a quiet map tells Python of the mouse
const LOOK_EVERY_MS = 200; // a map shown a second time is found without being announced

export const modelOf = (model, reference) =>
  model.widget_manager.get_model(reference.replace('IPY_MODEL_', ''));

const CLIENT = Math.random().toString(36).slice(2); // tells pages apart that show the same widget

/** Numbers (65536,) of two bytes each, from wherever they lie in a message. */
const wholeNumbers = ({buffer, byteOffset, byteLength}) =>
  new Uint16Array(buffer.slice(byteOffset, byteOffset + byteLength));

/** Colours (256,) of the bytes of a class tile: class · levels + how sure; 255 is no data. What is below
 *  `from` is see-through. */
export function paletteOf(legend, from = 0) {
  const palette = new Uint32Array(256),
    rgba = new Uint8ClampedArray(palette.buffer);
  const levels = legend.levels || 1;
  legend.colours.forEach(([red, green, blue], index) => {
    for (let level = 0; level < levels; level++) {
      const sure = levels > 1 ? level / (levels - 1) : 1,
        at = 4 * (index * levels + level);
      if (at >= 4 * 255) return;
      const share = legend.fade ? 0.3 + 0.7 * sure : 1; // towards grey, never towards another hue
      const mixed =
        legend.only === 'sure'
          ? [sure, sure, sure].map((one) => 235 - 195 * one)
          : [red, green, blue].map((one) => one * share + 200 * (1 - share));
      rgba.set([...mixed, 255], at);
    }
  });
  palette.fill(0, 0, from);
  return palette;
}

/** A map of ipyleaflet tells Python of every move of the mouse, and a click has to wait behind them. */
function silence(view) {
  const send = view.send.bind(view);
  view.send = (content, ...more) => {
    if (content?.event !== 'interaction' || HEARD.includes(content.type)) return send(content, ...more);
  };
}

/** One layer: which tiles are on the screen, and what Python said they look like. */
class Layer {
  constructor(spec, ask, own) {
    this.spec = spec;
    this.ask = ask;
    this.own = own; // (version) → colours (256,) of a widget that mixes them itself, or nothing
    this.tiles = new Map(); // 'z/x/y' → {bytes, version, shown: Set of {canvas, done}}
    this.version = 0;
    this.adopted = new WeakSet();
    this.leaflet = new Set();
    this.from = 0; // bytes below are see-through
    this.use(spec);
  }

  /** Move the byte from which something is shown: what is here already is painted anew, nobody is asked. */
  cut(from) {
    if (from === this.from) return;
    this.from = from;
    this.use(this.spec);
  }

  use(spec) {
    this.spec = spec;
    if (spec.kind === 'classes') this.palette = this.own(this.version) ?? paletteOf(spec.legend, this.from);
    for (const tile of this.tiles.values()) this.paint(tile);
  }

  adopt(view) {
    if (!view.obj || this.adopted.has(view)) return false;
    this.adopted.add(view);
    const leaflet = view.obj;
    leaflet.on('remove', () => this.leaflet.delete(leaflet));
    leaflet.on('add', () => this.leaflet.add(leaflet));
    this.leaflet.add(leaflet);
    if (this.spec.kind === 'foreign') return true;
    leaflet.createTile = (coords, done) => this.create(coords, done);
    leaflet.on('tileunload', ({tile}) => this.unload(tile));
    leaflet.redraw();
    return true;
  }

  create(coords, done) {
    const canvas = document.createElement('canvas'),
      key = `${coords.z}/${coords.x}/${coords.y}`;
    canvas.width = canvas.height = SIDE;
    canvas.className = 'aenb-tile';
    canvas.complete = true; // or Leaflet takes it for a picture that is still loading, and drops it on zoom
    canvas.dataset.key = key;
    canvas.dataset.layer = this.spec.id;
    const tile = this.tiles.get(key) || {bytes: null, version: -1, shown: new Set()};
    this.tiles.set(key, tile);
    tile.shown.add({canvas, done});
    if (tile.bytes) queueMicrotask(() => this.paint(tile));
    else this.ask(this);
    return canvas;
  }

  unload(canvas) {
    const tile = this.tiles.get(canvas.dataset.key);
    if (!tile) return;
    for (const one of tile.shown) if (one.canvas === canvas) tile.shown.delete(one);
    if (!tile.shown.size) this.tiles.delete(canvas.dataset.key);
    this.ask(this);
  }

  receive({version, keys, placed, legend}, buffers) {
    if (version < this.version) return; // a newer answer is here already
    this.version = version;
    if (legend) this.palette = this.own(version) ?? paletteOf(legend, this.from);
    let next = keys.length; // which byte lies where comes behind the bytes
    keys.forEach((key, index) => {
      const places = placed[index] === GIVEN ? wholeNumbers(buffers[next++]) : null,
        tile = this.tiles.get(key);
      if (!tile) return;
      if (placed[index] !== KNOWN) Object.assign(tile, {places, placed: true});
      if (!tile.placed) return; // meant for another page; this one has asked for itself
      tile.version = version;
      tile.bytes = buffers[index];
      this.paint(tile);
    });
  }

  async paint(tile) {
    if (!tile.bytes) return;
    const version = tile.version,
      picture =
        this.spec.kind === 'classes'
          ? this.coloured(tile)
          : await createImageBitmap(new Blob([tile.bytes], {type: 'image/png'}));
    if (version !== tile.version) return;
    for (const one of tile.shown) {
      const context = one.canvas.getContext('2d');
      if (this.spec.kind === 'classes') context.putImageData(picture, 0, 0);
      else {
        context.clearRect(0, 0, SIDE, SIDE);
        context.drawImage(picture, 0, 0);
      }
      one.canvas.dataset.version = version;
      if (one.done) {
        const done = one.done;
        one.done = null;
        done(null, one.canvas);
      }
    }
  }

  coloured({bytes, places}) {
    const picture = new ImageData(SIDE, SIDE),
      pixels = new Uint32Array(picture.data.buffer);
    const values = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength),
      palette = this.palette;
    for (let index = 0; index < pixels.length; index++) {
      const place = places ? places[index] : index;
      pixels[index] = place === OUTSIDE && places ? 0 : palette[values[place]];
    }
    return picture;
  }
}

/** All layers of one widget, on all views of its maps. */
export class MapLayers {
  constructor(model) {
    this.model = model;
    this.layers = new Map();
    this.asking = new Set();
    this.onMap = []; // called with (leaflet map, index of the host) once for each map
    this.onLayers = []; // called when a layer has come onto a map
    this.palette = null; // (id of a layer, version of its tiles) → colours (256,), where a widget mixes them
    this.seen = new WeakSet();
    model.on('change:layers', () => this.look());
    model.on('msg:custom', (message, buffers) => this.receive(message, buffers));
    this.timer = setInterval(() => this.look(), LOOK_EVERY_MS);
    this.look();
  }

  newest() {
    return Math.max(-1, ...[...this.layers.values()].map((layer) => layer.version));
  }

  close() {
    clearInterval(this.timer);
  }

  async look() {
    const specs = this.model.get('layers') || [];
    let fresh = false;
    for (const id of this.layers.keys()) if (!specs.some((spec) => spec.id === id)) this.layers.delete(id);
    for (const spec of specs) {
      const known = this.layers.get(spec.id);
      if (!known) {
        const own = (version) => this.palette?.(spec.id, version);
        this.layers.set(spec.id, new Layer(spec, (layer) => this.ask(layer), own));
      } else if (JSON.stringify(known.spec) !== JSON.stringify(spec)) known.use(spec);
      for (const view of await this.viewsOf(spec.handle))
        fresh = this.layers.get(spec.id)?.adopt(view) || fresh;
    }
    if (fresh) for (const call of this.onLayers) call();
    for (const [index, host] of (this.model.get('hosts') || []).entries()) {
      for (const view of await this.viewsOf(host)) {
        if (!view.obj || this.seen.has(view.obj)) continue;
        this.seen.add(view.obj);
        if (this.model.get('quiet')) silence(view);
        new ResizeObserver(() => view.obj._loaded && view.obj.invalidateSize({animate: false})).observe(
          view.obj.getContainer(),
        );
        for (const call of this.onMap) call(view.obj, index);
      }
    }
  }

  async viewsOf(reference) {
    try {
      const other = await modelOf(this.model, reference);
      return (await Promise.all(Object.values(other.views || {}))).filter((view) => view && view.obj);
    } catch {
      return [];
    } // not there yet, or gone: looked for again in a moment
  }

  /** Ask for what is missing, once for all tiles that Leaflet makes in one go. */
  ask(layer) {
    if (!this.asking.size) setTimeout(() => this.flush(), 0);
    this.asking.add(layer);
  }

  flush() {
    for (const layer of this.asking) {
      const all = [...layer.tiles.keys()];
      const missing = all.filter((key) => !layer.tiles.get(key).bytes && !layer.tiles.get(key).asked);
      for (const key of missing) layer.tiles.get(key).asked = true;
      this.model.send({type: 'tiles', layer: layer.spec.id, client: CLIENT, all, missing});
    }
    this.asking.clear();
  }

  receive(message, buffers) {
    if (message.type !== 'tiles') return;
    const layer = this.layers.get(message.layer),
      {version} = message;
    layer?.receive(message, buffers);
    this.onPainted?.(version);
    if (layer?.spec.kind === 'classes')
      requestAnimationFrame(() =>
        setTimeout(() => this.model.send({type: 'painted', layer: layer.spec.id, version}), 0),
      );
  }
}
