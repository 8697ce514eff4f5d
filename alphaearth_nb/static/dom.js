// Building the page from texts that are never markup.

/** An element; children are elements or texts, properties that begin with 'on' are listeners. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  // Notebook 7 takes keys before the page does, unless the very element that has the focus says not to.
  if (['button', 'input', 'select', 'textarea'].includes(tag)) element.dataset.lmSuppressShortcuts = 'true';
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'style') Object.assign(element.style, value);
    else if (name === 'value') element.value = value;
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

const SVG = 'http://www.w3.org/2000/svg';

export function draw(tag, properties = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(properties)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Replace what an element holds, and keep the focus where it was (by data-focus). */
export function fill(element, ...children) {
  const focus = element.contains(document.activeElement) && document.activeElement.dataset.focus;
  element.replaceChildren(...children.flat().filter(Boolean));
  if (focus) element.querySelector(`[data-focus="${CSS.escape(focus)}"]`)?.focus();
}

/** Vertical bars of signed numbers, drawn about the middle. */
export function bars(values, title, colour) {
  const width = 288,
    height = 34,
    step = width / values.length;
  const most = Math.max(0.25, ...values.map(Math.abs));
  return draw(
    'svg',
    {viewBox: `0 0 ${width} ${height}`, class: 'aenb-bars', role: 'img', 'aria-label': title},
    draw('line', {x1: 0, x2: width, y1: height / 2, y2: height / 2, class: 'aenb-axis'}),
    ...values.map((value, index) =>
      draw('rect', {
        x: index * step + 0.4,
        width: step - 0.8,
        fill: colour,
        y: height / 2 - ((Math.max(0, value) / most) * height) / 2,
        height: Math.max(0.5, ((Math.abs(value) / most) * height) / 2),
      }),
    ),
  );
}

/** Numbers over time; points that are not valid are grey. `series` is {name, unit, times, values, valid}. */
export function series({name, unit, times, values, valid}, colour) {
  const width = 288,
    height = 56,
    left = 26,
    good = values.filter((value, index) => valid[index]);
  if (!good.length) return make('p', {class: 'aenb-quiet'}, `${name}: no clear frame here.`);
  const low = Math.min(...good),
    high = Math.max(...good, low + 1e-6),
    first = times[0],
    last = times.at(-1);
  const x = (time) => left + ((time - first) / Math.max(1, last - first)) * (width - left - 4);
  const y = (value) => 5 + (1 - (value - low) / (high - low)) * (height - 18);
  const inside = (value) => Math.min(high, Math.max(low, value));
  const line = times
    .map((time, index) => (valid[index] ? `${x(time)},${y(values[index])}` : null))
    .filter(Boolean);
  const text = (at, row, words, anchor) =>
    draw('text', {x: at, y: row, 'text-anchor': anchor, class: 'aenb-tick'}, words);
  const day = (time) => new Date(time).toISOString().slice(0, 7);
  return draw(
    'svg',
    {
      viewBox: `0 0 ${width} ${height}`,
      class: 'aenb-series',
      role: 'img',
      'aria-label': `${name} over time, ${good.length} clear of ${values.length} frames`,
    },
    draw('polyline', {points: line.join(' '), fill: 'none', stroke: colour, 'stroke-width': 1}),
    ...times.map((time, index) =>
      draw('circle', {
        cx: x(time),
        cy: y(inside(values[index])),
        r: valid[index] ? 1.8 : 1.2,
        fill: valid[index] ? colour : 'var(--aenb-grey)',
      }),
    ),
    text(left - 3, 10, high.toFixed(unit ? 0 : 2), 'end'),
    text(left - 3, height - 12, low.toFixed(unit ? 0 : 2), 'end'),
    text(left, height - 1, day(first), 'start'),
    text(width - 4, height - 1, day(last), 'end'),
    text(width / 2, height - 1, unit ? `${name}, ${unit}` : name, 'middle'),
  );
}

/** A number as people read it, with its interval small and grey. */
export const number = (value, half, digits = 2) => [
  value === null ? '–' : value.toFixed(digits),
  half === null || half === undefined
    ? null
    : make(
        'small',
        {},
        ` ± ${half < 10 ** -digits / 2 ? '< ' : ''}${Math.max(half, 10 ** -digits)
          .toFixed(digits)
          .replace(/^0/, '')}`,
      ),
];

/** An area as people read it, with three digits that count. */
export const area = (hectares, digits = hectares < 10 ? 2 : hectares < 100 ? 1 : 0) =>
  hectares >= 1000 ? `${(hectares / 100).toFixed(1)} km²` : `${hectares.toFixed(digits)} ha`;

/** Colours from one end to the other, and what the ends mean. */
export const ramp = (colours, ends) =>
  make(
    'div',
    {},
    make('div', {class: 'aenb-ramp', style: {background: `linear-gradient(to right, ${colours.join(',')})`}}),
    make('div', {class: 'aenb-ends'}, ...ends.map((words) => make('span', {}, words))),
  );

/** Keys go to the widget, not to the notebook behind it; what is typed into a field stays there. */
export function listen(element, keys) {
  element.dataset.lmSuppressShortcuts = 'true';
  if (!element.hasAttribute('tabindex')) element.tabIndex = 0;
  element.addEventListener('click', () =>
    setTimeout(() => {
      // What was clicked has been made anew, or the notebook took the focus: its keys would cut cells.
      if (!element.contains(document.activeElement)) element.focus({preventScroll: true});
    }, 0),
  );
  element.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typed = 'input:not([type=range]):not([type=checkbox]):not([type=radio]), textarea, select';
    if (event.target.closest(typed)) return;
    if (event.key === 'Enter' && event.target.closest('button, a, summary')) return; // it is pressed
    if (!keys(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
  });
}

/** What the keys do, two columns. */
export const keyList = (keys) =>
  make(
    'ul',
    {class: 'aenb-keys'},
    ...keys.map(([key, words]) => make('li', {}, make('kbd', {}, key), ` ${words}`)),
  );

/** The slider of the trait `opacity`; `set` is told the name of the trait and its value. */
export const opacitySlider = (model, set) =>
  make(
    'label',
    {},
    'opacity',
    make('input', {
      type: 'range',
      min: 0,
      max: 1,
      step: 0.05,
      'data-focus': 'opacity',
      value: model.get('opacity'),
      oninput: (event) => set('opacity', +event.target.value),
    }),
  );

/** The button that shows and hides what the keys do. */
export const keysButton = (panel) =>
  make(
    'button',
    {
      'data-focus': 'keys',
      title: 'Keys',
      onclick: () => {
        panel.help = !panel.help;
        panel.refresh();
      },
    },
    '?',
  );
