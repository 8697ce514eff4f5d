// The threshold of SearchMap: colours, counts and the histogram, answered in the browser without asking.
import {make, draw, area} from './dom.js';

export const LEVELS = 254; // of scores in a byte
export const [LIKE, UNLIKE] = ['like this', 'unlike this'];
export const SIGNS = {[LIKE]: '+', [UNLIKE]: '−'};
const BELOW = [
    [238, 238, 238],
    [150, 150, 150],
  ],
  ABOVE = [
    [125, 184, 224],
    [8, 69, 148],
  ]; // grey up to the threshold, blue from there
const mix = ([low, high], share) => low.map((one, at) => Math.round(one + (high[at] - one) * share));

/** Colours of all levels for a threshold. */
export const coloursOf = (level) =>
  Array.from({length: LEVELS}, (_, at) =>
    at < level
      ? mix(BELOW, at / Math.max(1, level))
      : mix(ABOVE, (at - level) / Math.max(1, LEVELS - 1 - level)),
  );

/** What a threshold lets through, counted as Python counts it. */
export function countsOf({counts, like, unlike, pixel_ha: hectares}, level) {
  const add = (list) => list.reduce((sum, one) => sum + one, 0);
  const hits = add(counts.slice(level)),
    reach = (list) => list.filter((one) => one >= level).length;
  return {
    share: hits / Math.max(1, add(counts)),
    hectares: hits * hectares,
    like: like.length ? [reach(like), like.length] : null,
    unlike: unlike.length ? [reach(unlike), unlike.length] : null,
  };
}

const [WIDE, HIGH, FOOT, BARS] = [292, 44, 9, 127]; // of the histogram, in its own units

/** The threshold; it stays where it is while the rest of the panel is made anew, so that it can be moved. */
export class CutPart {
  constructor(search) {
    this.search = search;
    this.chart = draw('svg', {viewBox: `0 0 ${WIDE} ${HIGH + FOOT}`, class: 'aenb-histogram', role: 'img'});
    this.slider = make('input', {
      type: 'range',
      min: 0,
      max: LEVELS - 1,
      step: 1,
      'data-focus': 'threshold',
      'aria-label': 'Threshold',
      class: 'aenb-threshold',
      oninput: (event) => search.cut(+event.target.value),
    });
    this.score = make('span', {class: 'aenb-score'});
    this.choose = make(
      'button',
      {
        'data-focus': 'choose',
        title: 'Choose the threshold by the examples',
        onclick: () => search.say('choose'),
      },
      'auto',
    );
    this.said = make('p', {class: 'aenb-quiet aenb-said'});
    this.element = make(
      'div',
      {class: 'aenb-threshold-part', hidden: true},
      make('div', {class: 'aenb-row'}, make('h4', {}, 'Threshold'), this.score, this.choose),
      this.chart,
      this.slider,
      this.said,
    );
  }

  update() {
    const facts = this.search.model.get('facts'),
      level = this.search.level;
    this.element.hidden = !facts.counts;
    if (!facts.counts) return;
    if (this.drawn !== facts.counts) this.bars(facts);
    this.drawn = facts.counts;
    this.slider.value = level;
    [...this.chart.querySelectorAll('rect')].forEach((bar, at) =>
      bar.classList.toggle('aenb-hit', 2 * at + 1 >= level),
    );
    const x = (level / LEVELS) * WIDE;
    this.chart.querySelector('.aenb-cutline').setAttribute('d', `M${x} 0V${HIGH}`);
    const score = facts.low + level * facts.step,
      found = countsOf(facts, level);
    this.score.textContent = score.toFixed(3);
    const moved = this.search.moved || facts.rule === 'given';
    this.choose.disabled = !moved;
    this.score.title = moved ? 'set by hand' : facts.rule;
    const percent = (found.share * 100).toFixed(found.share < 0.1 ? 2 : 1);
    const held = [
      found.like && `${found.like[0]} of ${found.like[1]} examples`,
      found.unlike && `${found.unlike[0]} of ${found.unlike[1]} counter-examples`,
    ].filter(Boolean);
    this.said.textContent =
      `${percent} % of the area, ${area(found.hectares)}` +
      (held.length ? `; of those held out, ${held.join(' and ')}.` : '. Too few examples to hold any out.');
    this.chart.setAttribute('aria-label', `Scores of all pixels; ${percent} % reach the threshold`);
  }

  /** Bars of two levels each, by the square root, or the few that are hits would not be seen. */
  bars({counts, like, unlike}) {
    const sums = Array.from({length: BARS}, (_, at) => counts[2 * at] + counts[2 * at + 1]),
      most = Math.sqrt(Math.max(1, ...sums)),
      step = WIDE / BARS;
    const tick = (kind) => (level) => {
      const x = ((Math.max(0, level) + 0.5) / LEVELS) * WIDE;
      return draw('path', {
        class: 'aenb-example',
        'data-kind': kind,
        d: kind === LIKE ? `M${x} ${HIGH + 1}v7m-3 -3.5h6` : `M${x - 3} ${HIGH + 4.5}h6`,
      });
    };
    this.chart.replaceChildren(
      ...sums.map((sum, at) => {
        const height = sum ? Math.max(1, (Math.sqrt(sum) / most) * HIGH) : 0;
        return draw('rect', {x: at * step, width: step - 0.3, y: HIGH - height, height});
      }),
      draw('path', {class: 'aenb-floor', d: `M0 ${HIGH}H${WIDE}`}),
      draw('path', {class: 'aenb-cutline', d: ''}),
      ...like.map(tick(LIKE)),
      ...unlike.map(tick(UNLIKE)),
    );
  }
}
