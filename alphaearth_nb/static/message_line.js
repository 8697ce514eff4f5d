// One line that says what goes on, what to do next, and what went wrong; also where no kernel can say it.
import {make} from './dom.js';

const ENDED = ['dead', 'terminating', 'restarting', 'autorestarting'];
const SAYS = {
  stopped: 'The kernel behind this map has stopped: run the cells again.',
  away: 'The kernel cannot be reached: wait until it answers; what you click now may be lost.',
};

/** Tell what becomes of the kernel: 'stopped' is for good, 'away' and '' come and go. Nothing where a front
 *  end does not say. */
function watchKernel(manager, tell) {
  const source = manager?.context?.sessionContext ?? manager?.kernel;
  const heard = {
    statusChanged: (_, status) => ENDED.includes(status) && tell('stopped'),
    connectionStatusChanged: (_, status) => tell(status === 'connected' ? '' : 'away'),
    kernelChanged: (_, {oldValue, newValue}) => oldValue && oldValue.id !== newValue?.id && tell('stopped'),
  };
  const signals = Object.entries(heard).filter(([name]) => source?.[name]?.connect);
  for (const [name, hear] of signals) source[name].connect(hear);
  return () => signals.forEach(([name, hear]) => source[name].disconnect(hear));
}

export default () => {
  let kernel = '';
  const views = new Set();
  return {
    initialize({model}) {
      return watchKernel(model.widget_manager, (state) => {
        if (kernel !== 'stopped') kernel = state;
        for (const show of views) show();
      });
    },
    render({model, el}) {
      const line = make('div', {class: 'aenb aenb-line', role: 'status', 'aria-live': 'polite'});
      const show = () => {
        // The front end marks what comes from a saved notebook, or was there before a restart.
        const state = el.classList.contains('jupyter-widgets-disconnected') ? 'stopped' : kernel;
        const kept = state === 'stopped' ? ` ${model.get('kept')}`.trimEnd() : '';
        line.textContent = state ? SAYS[state] + kept : model.get('text');
        line.dataset.kind = state ? 'problem' : model.get('kind');
        line.dataset.kernel = state;
      };
      model.on('change:text change:kind comm_live_update', show);
      views.add(show);
      show();
      el.append(line);
      return () => views.delete(show);
    },
  };
};
