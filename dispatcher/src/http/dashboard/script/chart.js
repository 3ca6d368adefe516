// Ready jobs by priority over time, stacked, and running ones as a line. Read by pointer, by arrow keys, and as a table.
const plot = byId('plot'), tip = byId('tip');
const SVG = 'http://www.w3.org/2000/svg';
const KEPT_MS = 3600000, POINT_MS = 5000, GAP_MS = 12500;
const EDGE = { left: 46, right: 12, top: 12, bottom: 26 };
let points = [];        // the history, the oldest first
let latest = null;      // the queue as it is, which becomes a point every few seconds
let span = 600000;      // what is shown, milliseconds
let chosen = null;      // the time under pointer or keyboard, or none
let shownPoints = [];

const drawing = document.createElementNS(SVG, 'svg');
mark(drawing, 'aria-hidden', 'true');
plot.prepend(drawing);
function part(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function pointOf(document) {
  const { at, high, normal, low, running, completed_per_s: rate, audio_hours_waiting: hours } = document;
  return { time: Date.parse(at), high, normal, low, running, rate, hours };
}

async function loadHistory() {
  const history = await read('/v1/queue/history');
  points = history.points.map(pointOf);
  drawChart();
}

function chartQueue(queue) {
  const { high, normal, low } = queue.depth;
  latest = {
    time: Date.parse(queue.at), high: high.ready, normal: normal.ready, low: low.ready, running: sumOf(queue, 'running'),
    rate: queue.rates.completed_per_s, hours: queue.audio_hours_waiting,
  };
  if (!points.length || latest.time - points[points.length - 1].time >= POINT_MS) points.push(latest);
  while (points.length && points[0].time < latest.time - KEPT_MS) points.shift();
  drawChart();
}

// Numbers too long for the margin in short: 125K, 1.125M.
const COMPACT_FROM = 100000;
const compact = new Intl.NumberFormat('en-US', { notation: 'compact', maximumFractionDigits: 3 });
function axisNumber(value) {
  return value < COMPACT_FROM ? number(value) : compact.format(value);
}

// A round number at or above, that four lines divide.
function roundUp(value) {
  const least = Math.max(4, value);
  const scale = 10 ** Math.floor(Math.log10(least / 4));
  const steps = [1, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10].map((factor) => factor * scale).filter(Number.isInteger);
  return 4 * steps.find((step) => step * 4 >= least);
}

function drawChart() {
  const wide = plot.clientWidth, high = plot.clientHeight;
  if (wide < 60 || high < 60) return;
  const end = latest ? latest.time : serverTime(), start = end - span;
  // Points less than a second apart have the same words, and an arrow key would seem to do nothing.
  const inside = points.filter((point) => point.time >= start && (!latest || latest.time - point.time >= 1000));
  shownPoints = latest ? [...inside, latest] : inside;
  const most = roundUp(Math.max(0, ...shownPoints.map((point) => Math.max(point.high + point.normal + point.low, point.running))));
  const x = (time) => EDGE.left + ((time - start) / span) * (wide - EDGE.left - EDGE.right);
  const y = (value) => high - EDGE.bottom - (value / most) * (high - EDGE.top - EDGE.bottom);
  mark(drawing, 'viewBox', `0 0 ${wide} ${high}`);
  const made = [];
  for (let line = 0; line <= 4; line += 1) {
    const value = (most / 4) * line, at = Math.round(y(value)) + 0.5;
    made.push(part('line', { class: 'grid', x1: EDGE.left, x2: wide - EDGE.right, y1: at, y2: at }));
    made.push(part('text', { x: EDGE.left - 8, y: at + 4, 'text-anchor': 'end' }, axisNumber(value)));
  }
  const step = span / (wide < 560 ? 2 : 5);
  for (let ago = step; ago < span; ago += step) {
    made.push(part('text', { x: x(end - ago), y: high - 7, 'text-anchor': 'middle' }, `−${age(ago / 1000)}`));
  }
  made.push(part('text', { x: wide - EDGE.right, y: high - 7, 'text-anchor': 'end' }, 'now'));
  const clip = (path, className) => made.push(part('path', { d: path, class: className }));
  for (const run of runs(shownPoints)) {
    let below = run.map(() => 0);
    for (const lane of LANES) {
      const above = run.map((point, index) => below[index] + point[lane]);
      const along = (values) => run.map((point, index) => `${x(point.time).toFixed(1)} ${y(values[index]).toFixed(1)}`);
      if (above.some((value, index) => value > below[index])) {
        clip(`M${along(above).join('L')}L${along(below).reverse().join('L')}Z`, `area ${lane}`);
      }
      below = above;
    }
    clip(`M${run.map((point) => `${x(point.time).toFixed(1)} ${y(point.running).toFixed(1)}`).join('L')}`, 'line running');
  }
  const point = chosen === null ? null : nearest(chosen);
  if (point) made.push(part('line', { class: 'cursor', x1: x(point.time), x2: x(point.time), y1: EDGE.top, y2: high - EDGE.bottom }));
  drawing.replaceChildren(...made);
  showTip(point, point ? x(point.time) : 0, wide);
  tellSlider(point || shownPoints[shownPoints.length - 1]);
}

// Points without a gap between them: where nothing was seen, nothing is drawn.
function runs(all) {
  const found = [];
  for (const point of all) {
    const last = found[found.length - 1];
    if (last && point.time - last[last.length - 1].time <= GAP_MS) last.push(point);
    else found.push([point]);
  }
  return found.filter((run) => run.length > 1);
}

function nearest(time) {
  return shownPoints.reduce((best, point) => (!best || Math.abs(point.time - time) < Math.abs(best.time - time) ? point : best), null);
}

function wordsOf(point) {
  return `${clock(point.time)}: ready high ${number(point.high)}, normal ${number(point.normal)}, low ${number(point.low)}; running ${number(point.running)}; completed ${number(point.rate)} a second; ${number(point.hours)} hours of audio waiting`;
}

function showTip(point, at, wide) {
  show(tip, Boolean(point));
  if (!point) return;
  write(tip, `${clock(point.time)}\nhigh ${number(point.high)} · normal ${number(point.normal)} · low ${number(point.low)}\nrunning ${number(point.running)} · completed ${number(point.rate)} /s\n${number(point.hours)} h of audio waiting`);
  const left = at > wide / 2 ? at - tip.offsetWidth - 12 : at + 12;
  tip.style.transform = `translate(${Math.max(0, Math.min(wide - tip.offsetWidth, left))}px, ${EDGE.top}px)`;
}

// The value changes for a screen reader only when somebody moves it: else it would be read out each second.
function tellSlider(point) {
  mark(plot, 'aria-valuemax', Math.max(0, shownPoints.length - 1));
  if (!point || (document.activeElement === plot && chosen === null)) return;
  mark(plot, 'aria-valuenow', shownPoints.indexOf(point));
  mark(plot, 'aria-valuetext', wordsOf(point));
}

plot.addEventListener('pointermove', (event) => {
  const box = plot.getBoundingClientRect(), end = latest ? latest.time : serverTime();
  chosen = end - span + ((event.clientX - box.left - EDGE.left) / (box.width - EDGE.left - EDGE.right)) * span;
  drawChart();
});
for (const leaving of ['pointerleave', 'blur']) {
  plot.addEventListener(leaving, () => { chosen = null; drawChart(); });
}
plot.addEventListener('keydown', (event) => {
  const last = shownPoints.length - 1;
  if (last < 0) return;
  const now = chosen === null ? last : shownPoints.indexOf(nearest(chosen));
  const moves = { ArrowLeft: now - 1, ArrowDown: now - 1, ArrowRight: now + 1, ArrowUp: now + 1, PageDown: now - 12, PageUp: now + 12, Home: 0, End: last };
  if (event.key === 'Escape') chosen = null;
  else if (event.key in moves) chosen = shownPoints[Math.max(0, Math.min(last, moves[event.key]))].time;
  else return;
  event.preventDefault();
  drawChart();
});

byId('chart').addEventListener('click', (event) => {
  const button = event.target.closest('[data-span]');
  if (!button) return;
  span = Number(button.dataset.span) * 1000;
  for (const one of byId('chart').querySelectorAll('[data-span]')) mark(one, 'aria-pressed', one === button);
  drawChart();
  drawChartTable();
});

// A row a minute, the newest first; drawn when asked for and not changed under the reader.
function drawChartTable() {
  const place = byId('chart-table').lastElementChild;
  if (!byId('chart-table').open) return place.replaceChildren();
  const table = element('table', {}, element('caption', { class: 'quiet' }, 'Queue over time, a row a minute'));
  const head = element('tr');
  for (const title of ['Time', 'high', 'normal', 'low', 'running', 'completed /s', 'audio h']) head.append(element('th', { scope: 'col', class: title === 'Time' ? null : 'n' }, title));
  const body = element('tbody');
  let minute = null;
  for (const point of [...shownPoints].reverse()) {
    if (Math.floor(point.time / 60000) === minute) continue;
    minute = Math.floor(point.time / 60000);
    const row = element('tr', {}, element('th', { scope: 'row' }, clock(point.time)));
    for (const value of [point.high, point.normal, point.low, point.running, point.rate, point.hours]) row.append(element('td', { class: 'n' }, number(value)));
    body.append(row);
  }
  table.append(element('thead', {}, head), body);
  place.replaceChildren(table);
}
byId('chart-table').addEventListener('toggle', drawChartTable);
new ResizeObserver(drawChart).observe(plot);
