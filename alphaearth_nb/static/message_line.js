// One line that says what goes on, what to do next, and what went wrong.
import {make} from './dom.js';

export default {
  render({model, el}) {
    const line = make('div', {class: 'aenb aenb-line', role: 'status', 'aria-live': 'polite'});
    const show = () => {
      line.textContent = model.get('text');
      line.dataset.kind = model.get('kind');
    };
    model.on('change:text change:kind', show);
    show();
    el.append(line);
  },
};
