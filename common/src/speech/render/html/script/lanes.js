// The timeline: a lane for each speaker on one canvas, an overview below it, and where both look.
const stage = byId('stage'), plot = byId('plot'), canvas = byId('lanes'), overview = byId('overview');
const playhead = byId('playhead'), tip = byId('tip');
const SPAN_MIN = Math.min(500, duration);
const view = { start: 0, end: duration };
let only = -1;          // the speaker shown alone, or -1
let chosen = -1;        // index of the turn under the keyboard, or -1
let width = 1, height = 1, sizes = { axis: 26, lane: 52, block: 28, top: 12 }, theme = {};
let drawAsked = false;
let movedByHand = -Infinity;

const toX = (time) => ((time - view.start) / (view.end - view.start)) * width;
const toTime = (x) => view.start + (x / width) * (view.end - view.start);

function look(start, span) {
  const bounded = Math.min(duration, Math.max(SPAN_MIN, span));
  view.start = Math.min(duration - bounded, Math.max(0, start));
  view.end = view.start + bounded;
  ask();
}

function zoom(factor, around = (view.start + view.end) / 2) {
  const span = Math.min(duration, Math.max(SPAN_MIN, (view.end - view.start) * factor));
  look(around - ((around - view.start) / (view.end - view.start)) * span, span);
}

// Moves the view so that a span can be seen, zooming out only when it must.
function reveal(start, end) {
  const span = view.end - view.start;
  if (start >= view.start && end <= view.end) return;
  const wanted = Math.max(span, (end - start) * 1.2);
  look((start + Math.min(end, start + wanted)) / 2 - wanted / 2, wanted);
}

function ask() {
  if (drawAsked) return;
  drawAsked = true;
  requestAnimationFrame(() => {
    drawAsked = false;
    draw();
    drawOverview();
    placePlayhead();
  });
}

function measure() {
  const style = getComputedStyle(plot), px = (name) => parseFloat(style.getPropertyValue(name));
  sizes = { axis: px('--axis'), lane: px('--lane'), block: px('--block'), top: px('--block-top') };
  const colour = (name) => style.getPropertyValue(name).trim();
  theme = { blocks: [], track: colour('--track'), line: colour('--line'), soft: colour('--soft'), ink: colour('--ink') };
  theme.card = colour('--card');
  theme.overlap = colour('--overlap');
  theme.hatch = hatch(colour('--hatch'));
  theme.focus = colour('--focus');
  for (let n = 0; n < COLOURS; n += 1) theme.blocks.push(colour(`--s${n}`));
  height = sizes.axis + sizes.lane * Math.max(1, speakers.length);
  stage.style.height = `${height}px`;
  width = Math.max(1, stage.clientWidth);
  ask();
}

// Sets a canvas to device pixels and gives its context in CSS pixels, cleared.
function prepared(target, wide, high) {
  const ratio = Math.min(3, window.devicePixelRatio || 1);
  if (target.width !== Math.round(wide * ratio) || target.height !== Math.round(high * ratio)) {
    target.width = Math.round(wide * ratio);
    target.height = Math.round(high * ratio);
  }
  const context = target.getContext('2d');
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, wide, high);
  return context;
}

// Diagonal stripes for what is said while somebody else speaks too.
function hatch(colour) {
  const tile = element('canvas');
  tile.width = tile.height = 6;
  const context = tile.getContext('2d');
  context.strokeStyle = colour;
  context.lineWidth = 1.6;
  for (const shift of [-6, 0, 6]) {
    context.beginPath();
    context.moveTo(shift - 1, 7);
    context.lineTo(shift + 7, -1);
    context.stroke();
  }
  return tile;
}

// Calls back with the pixel spans of the items in sight; spans closer than a pixel are drawn as one.
function spans(items, scale, from, to, each) {
  let index = Math.max(0, lastStarted(items, from));
  while (index > 0 && items[index - 1].end > from) index -= 1;
  let open = null;
  for (; index < items.length && items[index].start < to; index += 1) {
    const item = items[index];
    if (item.end <= from) continue;
    const left = scale(item.start), right = Math.max(left + 1, scale(item.end));
    if (open && left - open.right < 0.75 && (right - left < 3 || open.right - open.left < 3)) {
      open.right = Math.max(open.right, right);
      open.item = null;
      continue;
    }
    if (open) each(open.left, open.right, open.item);
    open = { left, right, item };
  }
  if (open) each(open.left, open.right, open.item);
}

const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200];

function drawAxis(context) {
  const perPixel = (view.end - view.start) / width;
  const step = 1000 * (STEPS.find((seconds) => (1000 * seconds) / perPixel >= 84) || 86400);
  context.font = '12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
  context.textBaseline = 'middle';
  for (let at = Math.ceil(view.start / step) * step; at <= view.end; at += step) {
    const x = Math.round(toX(at)) + 0.5;
    context.strokeStyle = theme.line;
    context.beginPath();
    context.moveTo(x, sizes.axis - 6);
    context.lineTo(x, height);
    context.stroke();
    context.fillStyle = theme.soft;
    const label = clock(at, step < 1000 ? 1 : 0), wide = context.measureText(label).width;
    if (x + wide / 2 > width) context.fillText(label, width - wide - 2, sizes.axis / 2 - 2);
    else context.fillText(label, Math.max(1, x - wide / 2), sizes.axis / 2 - 2);
  }
}

function block(context, left, right, top, high) {
  const wide = right - left;
  if (wide < 5) {
    context.fillRect(left, top, Math.max(1, wide), high);
    return;
  }
  context.beginPath();
  context.roundRect(left, top, wide, high, Math.min(4, wide / 3));
  context.fill();
}

function laneTop(lane) {
  return sizes.axis + lane * sizes.lane + sizes.top;
}

// Joins the lanes that speak at once, where there is room to see it.
function drawLinks(context) {
  context.fillStyle = theme.overlap;
  let index = Math.max(0, lastStarted(overlaps, view.start));
  for (; index < overlaps.length && overlaps[index].start < view.end; index += 1) {
    const { start, end, from, to } = overlaps[index], left = toX(start), right = toX(end);
    if (right - left < 0.7) continue;
    const top = laneTop(from) + sizes.block;
    context.fillRect(left, top, right - left, laneTop(to) - top);
  }
}

function draw() {
  const context = prepared(canvas, width, height);
  context.fillStyle = theme.track;
  speakers.forEach((_, lane) => {
    context.beginPath();
    context.roundRect(0, laneTop(lane), width, sizes.block, 5);
    context.fill();
  });
  drawAxis(context);
  if (only < 0) drawLinks(context);
  const stripes = context.createPattern(theme.hatch, 'repeat');
  speakers.forEach((speaker, lane) => {
    context.globalAlpha = only >= 0 && only !== lane ? 0.22 : 1;
    context.fillStyle = theme.blocks[lane % COLOURS];
    const top = laneTop(lane);
    spans(speaker.turns, toX, view.start, view.end, (left, right) => block(context, left, right, top, sizes.block));
    context.fillStyle = stripes;
    spans(speaker.together || [], toX, view.start, view.end, (left, right) => {
      if (right - left >= 2) context.fillRect(left, top, right - left, sizes.block);
    });
  });
  context.globalAlpha = 1;
  if (chosen >= 0) drawChosen(context, turns[chosen]);
}

function drawChosen(context, turn) {
  const left = toX(turn.start), wide = Math.max(3, toX(turn.end) - left);
  const top = laneTop(turn.speaker);
  for (const [colour, line] of [[theme.card, 5], [theme.ink, 2.5]]) {
    context.strokeStyle = colour;
    context.lineWidth = line;
    context.beginPath();
    context.roundRect(left - 1, top - 1, wide + 2, sizes.block + 2, Math.min(5, wide / 3 + 1));
    context.stroke();
  }
  context.lineWidth = 1;
}

function drawOverview() {
  const wide = Math.max(1, overview.clientWidth), high = overview.clientHeight;
  const context = prepared(overview, wide, high), scale = (time) => (time / duration) * wide;
  context.fillStyle = theme.track;
  context.fillRect(0, 0, wide, high);
  const lane = (high - 8) / Math.max(1, speakers.length);
  speakers.forEach((speaker, index) => {
    context.globalAlpha = only >= 0 && only !== index ? 0.2 : 0.9;
    context.fillStyle = theme.blocks[index % COLOURS];
    spans(speaker.turns, scale, 0, duration, (left, right) => {
      context.fillRect(left, 4 + index * lane, right - left, Math.max(1, lane - 1));
    });
  });
  const left = scale(view.start), right = scale(view.end);
  context.globalAlpha = 0.72;
  context.fillStyle = theme.card;
  context.fillRect(0, 0, left, high);
  context.fillRect(right, 0, wide - right, high);
  context.globalAlpha = 1;
  context.strokeStyle = theme.soft;
  context.lineWidth = 1.5;
  if (right - left < wide - 1) {
    context.beginPath();
    context.roundRect(left + 0.75, 0.75, Math.max(4, right - left - 1.5), high - 1.5, 5);
    context.stroke();
  }
  if (now > 0) {
    context.fillStyle = theme.ink;
    context.fillRect(scale(now) - 0.75, 0, 1.5, high);
  }
}

function placePlayhead() {
  const inside = now >= view.start && now <= view.end && (now > 0 || playing());
  playhead.hidden = !inside;
  if (inside) playhead.style.transform = `translateX(${toX(now)}px)`;
}

// The lane under a point, or -1 on the axis.
function laneAt(y) {
  const lane = Math.floor((y - sizes.axis) / sizes.lane);
  return lane >= 0 && lane < speakers.length ? lane : -1;
}

// The turn under a point; a few pixels beside a short one count as well.
function turnAt(x, y) {
  const lane = laneAt(y);
  if (lane < 0) return null;
  const items = speakers[lane].turns, time = toTime(x), slack = ((view.end - view.start) / width) * 4;
  const before = lastStarted(items, time + slack);
  let best = null, nearest = slack;
  for (let index = before; index >= 0 && index > before - 8; index -= 1) {
    const away = Math.max(0, items[index].start - time, time - items[index].end);
    if (away <= nearest && (best === null || away < nearest)) {
      best = items[index];
      nearest = away;
    }
  }
  return best;
}

function describe(turn) {
  return `${speakers[turn.speaker].shown}, ${clock(turn.start, 1)} to ${clock(turn.end, 1)}, ${length(turn.end - turn.start)}`;
}

function showTip(turn, x, y) {
  tip.hidden = !turn;
  if (!turn) return;
  const said = data.segments ? rows[holding(rows, turn.start + 1)] : null;
  const text = said && said.text && said.speaker === turn.speaker ? `\n${said.text.slice(0, 120)}` : '';
  tip.textContent = `${speakers[turn.speaker].shown}\n${clock(turn.start, 1)} – ${clock(turn.end, 1)} · ${length(turn.end - turn.start)}${text}`;
  const left = Math.max(4, Math.min(width - tip.offsetWidth - 4, x + 14));
  const below = y + 20 + tip.offsetHeight < height;
  tip.style.transform = `translate(${left}px, ${below ? y + 18 : Math.max(2, y - tip.offsetHeight - 12)}px)`;
}
