// The data of the page and what follows from it. Times are whole milliseconds everywhere.
const data = JSON.parse(document.getElementById('data').textContent);
const byId = (id) => document.getElementById(id);
const COLOURS = 10;

const turns = data.turns.map(([start, end, speaker], index) => ({ start, end, speaker, index }));
const speakers = data.speakers.map((speaker, index) => ({
  ...speaker,
  shown: speaker.name || speaker.label,
  colour: `s${index % COLOURS}`,
  turns: turns.filter((turn) => turn.speaker === index),
}));
const duration = Math.max(1, turns.reduce((end, turn) => Math.max(end, turn.end), data.duration));

// Spans in which more than one speaker holds, with the outermost lanes that they join, and the time in which any does.
const { overlaps, speech } = (() => {
  const edges = turns.flatMap((turn) => [[turn.start, 1, turn.speaker], [turn.end, -1, turn.speaker]]);
  edges.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const found = [], open = new Map();
  let since = 0, covered = 0;
  for (const [at, change, speaker] of edges) {
    if (open.size > 0) covered += at - since;
    if (open.size > 1 && at > since) {
      const lanes = [...open.keys()];
      found.push({ start: since, end: at, from: Math.min(...lanes), to: Math.max(...lanes), lanes });
    }
    const held = (open.get(speaker) || 0) + change;
    if (held > 0) open.set(speaker, held);
    else open.delete(speaker);
    since = at;
  }
  return { overlaps: found, speech: covered };
})();
for (const span of overlaps) for (const lane of span.lanes) (speakers[lane].together ||= []).push(span);
const overlapped = overlaps.reduce((sum, span) => sum + span.end - span.start, 0);

// What the list shows: the transcript's segments, else all turns.
const rows = (data.segments
  ? data.segments.map(([start, end, speaker, text]) => ({ start, end, speaker, text }))
  : turns.map(({ start, end, speaker }) => ({ start, end, speaker, text: null })));
rows.sort((a, b) => a.start - b.start || a.end - b.end);

// Index of the last item that starts at or before a time, or -1.
function lastStarted(items, time) {
  let low = 0, high = items.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (items[middle].start <= time) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

// The item of a sorted list that holds a time; of several the one that started last.
function holding(items, time) {
  for (let index = lastStarted(items, time), tries = 0; index >= 0 && tries < 8; index -= 1, tries += 1) {
    if (items[index].end > time) return index;
  }
  return -1;
}

function pad(number, digits = 2) {
  return String(number).padStart(digits, '0');
}

// 1:02:03, with as many places of a second as asked for.
function clock(time, places = 0) {
  const unit = 1000 / 10 ** places;
  const whole = places ? Math.round(time / unit) * unit : Math.floor(time / 1000) * 1000;
  const seconds = Math.floor(whole / 1000);
  const hours = Math.floor(seconds / 3600), minutes = Math.floor(seconds / 60) % 60;
  const head = duration >= 3600000 || hours ? `${hours}:${pad(minutes)}` : `${minutes}`;
  const tail = places ? `.${pad(Math.round((whole % 1000) / unit), places)}` : '';
  return `${head}:${pad(seconds % 60)}${tail}`;
}

// A length for people: 4.2 s, 3 min 20 s, 2 h 5 min.
function length(time) {
  if (time < 60000) return `${(time / 1000).toFixed(1)} s`;
  const seconds = Math.round(time / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  const minutes = Math.round(seconds / 60);
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function percent(part, whole) {
  if (!(whole > 0)) return '0 %';
  const value = (100 * part) / whole;
  return `${value > 0 && value < 9.95 ? value.toFixed(1) : Math.round(value)} %`;
}

function shownName(speaker) {
  return speaker < 0 ? 'Unknown' : speakers[speaker].shown;
}

function colourClass(speaker) {
  return speaker < 0 ? 'unknown' : speakers[speaker].colour;
}

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}
