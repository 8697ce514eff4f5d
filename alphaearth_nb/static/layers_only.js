// The channel of layers that `add_field` puts on a map: it draws, and shows nothing itself.
import {MapLayers} from './map_layers.js';

export default {
  initialize({model}) {
    const layers = new MapLayers(model);
    return () => layers.close();
  },
  render({el}) {
    el.style.display = 'none';
  },
};
