// What a pixel looks like on a date: a source, a slider over the valid period, a number a band, charts.
import {make, draw} from './dom.js';

const WIDTH = 288,
  LEFT = 30,
  RIGHT = 6;

/** Bytes of Python's float32 as numbers, rows of `count`. */
function rows(view, count) {
  const bytes = view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength),
    numbers = new Float32Array(bytes);
  return Array.from({length: numbers.length / count}, (_, at) =>
    numbers.subarray(at * count, (at + 1) * count),
  );
}

/** A moment as text: the day, and the hour where moments lie closer than a day. */
const dated = (time, step) => new Date(time).toISOString().slice(0, step < 864e5 ? 16 : 10).replace('T', ' ');

const told = (value, {digits, unit}) =>
  `${value.toFixed(digits)}${unit === 'reflectance' || unit === '1' ? '' : ` ${unit}`}`;

/** What was decoded, ready to be drawn; kept until Python sends another. */
function read(panel) {
  const sent = panel.model.get('decoded');
  if (panel.unpacked?.sent === sent) return panel.unpacked;
  const count = sent.bands.length,
    values = rows(sent.values, count),
    spans = sent.bands.map((_, band) => {
      const all = values.map((row) => row[band]);
      return Math.max(...all) - Math.min(...all);
    });
  const liveliest = spans.indexOf(Math.max(...spans));
  panel.unpacked = {...sent, sent, values, seen: rows(sent.seen, count), liveliest};
  return panel.unpacked;
}

/** The moment that the trait `date` names, or the middle of the period. */
function moment(panel, times) {
  const wanted = Date.parse(panel.model.get('date') + (panel.model.get('date').length > 10 ? 'Z' : ''));
  if (Number.isNaN(wanted)) return times.length >> 1;
  const apart = times.map((time) => Math.abs(time - wanted));
  return apart.indexOf(Math.min(...apart));
}

/** Where the scale begins and ends: all of the curve, and all dots but a twentieth at either end. */
function ends(line, dots) {
  const sorted = dots.toSorted((one, other) => one - other),
    some = sorted.slice(Math.floor(dots.length / 20), Math.ceil((19 * dots.length) / 20)),
    low = Math.min(...line, ...some);
  return [low, Math.max(...line, ...some, low + 1e-6)];
}

const text = (x, y, anchor, words) =>
  draw('text', {x, y, 'text-anchor': anchor, class: 'aenb-tick'}, words);

/** The band over the period: a line decoded, dots seen, and a line that follows the slider. */
function overTime(found, band, pick) {
  const height = 74,
    {digits, unit, name, title} = found.bands[band],
    said = title.length > 22 ? name : title,
    line = found.values.map((row) => row[band]),
    dots = found.seen_times
      .map((time, at) => [time, found.seen[at][band]])
      .filter(([, value]) => Number.isFinite(value)),
    [low, high] = ends(line, dots.map(([, value]) => value)),
    first = found.times[0],
    last = found.times.at(-1),
    x = (time) => LEFT + ((time - first) / Math.max(1, last - first)) * (WIDTH - LEFT - RIGHT),
    inside = (value) => Math.min(high, Math.max(low, value)),
    y = (value) => 5 + (1 - (inside(value) - low) / (high - low)) * (height - 20),
    points = line.map((value, at) => `${x(found.times[at])},${y(value)}`).join(' '),
    cursor = draw('line', {y1: 2, y2: height - 13, class: 'aenb-cursor'}),
    dot = draw('circle', {r: 3, class: 'aenb-now'}),
    words = `${title} from ${dated(first, 864e5)} to ${dated(last, 864e5)}: ${low.toFixed(digits)} to ` +
      `${high.toFixed(digits)} ${unit}, ${dots.length} clear looks`;
  const chart = draw(
    'svg',
    {viewBox: `0 0 ${WIDTH} ${height}`, class: 'aenb-series', role: 'img', 'aria-label': words},
    ...dots.map(([time, value]) => draw('circle', {cx: x(time), cy: y(value), r: 1.9, class: 'aenb-seen'})),
    draw('polyline', {points, class: 'aenb-curve'}),
    cursor,
    dot,
    text(LEFT - 3, 10, 'end', high.toFixed(digits)),
    text(LEFT - 3, height - 14, 'end', low.toFixed(digits)),
    text(LEFT, height - 2, 'start', dated(first, 864e5).slice(0, 7)),
    text(WIDTH - RIGHT, height - 2, 'end', dated(last, 864e5).slice(0, 7)),
    text((LEFT + WIDTH) / 2, height - 2, 'middle', unit === '1' ? said : `${said}, ${unit}`),
  );
  chart.addEventListener('click', (event) => {
    const box = chart.getBoundingClientRect(),
      share = (((event.clientX - box.left) / box.width) * WIDTH - LEFT) / (WIDTH - LEFT - RIGHT);
    pick(Math.round(Math.min(1, Math.max(0, share)) * (found.times.length - 1)));
  });
  const turn = (at) => {
    for (const end of ['x1', 'x2']) cursor.setAttribute(end, x(found.times[at]));
    dot.setAttribute('cx', x(found.times[at]));
    dot.setAttribute('cy', y(line[at]));
  };
  return {chart, turn};
}

/** All bands at one moment, the first below: the layers of a forest, as a laser sees them. */
function profile(found) {
  const height = 84,
    count = found.bands.length,
    all = found.values.flatMap((row) => [row[0], row[count - 1]]),
    low = Math.min(0, ...all),
    high = Math.max(...all, low + 1),
    x = (band) => LEFT + (band / (count - 1)) * (WIDTH - LEFT - RIGHT),
    y = (value) => 5 + (1 - (value - low) / (high - low)) * (height - 20),
    curve = draw('polyline', {class: 'aenb-curve'}),
    {name, unit} = found.bands[0],
    chart = draw(
      'svg',
      {viewBox: `0 0 ${WIDTH} ${height}`, class: 'aenb-series', role: 'img'},
      draw('line', {x1: LEFT, x2: WIDTH - RIGHT, y1: y(0), y2: y(0), class: 'aenb-axis'}),
      curve,
      text(LEFT - 3, 10, 'end', high.toFixed(0)),
      text(LEFT - 3, height - 14, 'end', low.toFixed(0)),
      text(LEFT, height - 2, 'start', name),
      text(WIDTH - RIGHT, height - 2, 'end', found.bands[count - 1].name),
      text((LEFT + WIDTH) / 2, height - 2, 'middle', `all bands on this day, ${unit}`),
    );
  const turn = (at) => {
    const row = found.values[at];
    curve.setAttribute('points', Array.from(row, (value, band) => `${x(band)},${y(value)}`).join(' '));
    const words = `Profile: ${row[0].toFixed(1)} to ${row[count - 1].toFixed(1)} ${unit}`;
    chart.setAttribute('aria-label', words);
  };
  return {chart, turn};
}

/** A button a band, with its value; the one that is pressed is the one in the chart. */
function table(panel, found, shown) {
  const cells = found.listed.map((band) => ({band, value: make('span', {class: 'aenb-number'})})),
    list = make(
      'div',
      {class: 'aenb-values', role: 'group', 'aria-label': 'Values; the pressed one is drawn'},
      ...cells.map(({band, value}) =>
        make(
          'button',
          {
            title: `Draw ${found.bands[band].title}`,
            'aria-pressed': String(band === shown),
            'data-focus': `band ${found.bands[band].name}`,
            onclick: () => panel.set('band', found.bands[band].name),
          },
          make('span', {class: 'aenb-cut'}, found.bands[band].name),
          value,
        ),
      ),
    );
  const turn = (at) => {
    for (const {band, value} of cells) value.textContent = told(found.values[at][band], found.bands[band]);
  };
  return {list, turn};
}

function chooser(panel) {
  const options = panel.model.get('decodable').map(({key, words}) =>
    make('option', {value: key, selected: key === panel.model.get('decoding')}, words),
  );
  return make(
    'select',
    {
      'aria-label': 'Source to decode',
      'data-focus': 'source',
      onchange: (event) => panel.set('decoding', event.target.value),
    },
    ...options,
  );
}

/** The slider and all that it moves. What is dragged is drawn here; Python is told where it came to rest. */
export function decodedPart(panel) {
  if (!panel.model.get('decodable').length || panel.model.get('inspected').lon === undefined) return null;
  const sent = panel.model.get('decoded'),
    head = make('h4', {}, 'Decoded'),
    row = make('div', {class: 'aenb-row'}, chooser(panel));
  if (!sent.values) {
    const words = sent.note ? make('p', {class: 'aenb-quiet'}, sent.note) : null;
    return make('div', {class: 'aenb-decoded'}, head, row, words);
  }
  const found = read(panel),
    step = found.times[1] - found.times[0],
    named = found.bands.findIndex(({name}) => name === panel.model.get('band')),
    liveliest = found.listed.includes(found.liveliest) ? found.liveliest : found.listed.at(-1),
    shown = named >= 0 ? named : liveliest;
  const slider = make('input', {
    type: 'range',
    class: 'aenb-date',
    min: 0,
    max: found.times.length - 1,
    step: 1,
    'aria-label': 'Date',
    'data-focus': 'date',
    oninput: () => turn(+slider.value),
    onchange: () => panel.set('date', dated(found.times[+slider.value], step).replace(' ', 'T')),
  });
  const pick = (at) => {
      slider.value = at;
      slider.dispatchEvent(new Event('change'));
    },
    day = make('output', {class: 'aenb-day'}),
    values = table(panel, found, shown),
    line = overTime(found, shown, pick),
    layers = found.profile ? profile(found) : null;
  const turn = (at) => {
    day.textContent = dated(found.times[at], step);
    slider.setAttribute('aria-valuetext', day.textContent);
    for (const part of [values, line, layers]) part?.turn(at);
  };
  slider.value = moment(panel, found.times);
  turn(+slider.value);
  row.append(day);
  return make('div', {class: 'aenb-decoded'}, head, row, slider, line.chart, values.list, layers?.chart);
}
