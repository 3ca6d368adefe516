// Elements and words. Text from outside enters the page here, as text, and nowhere as markup.
const byId = (id) => document.getElementById(id);
const LANES = ['high', 'normal', 'low'];

// Control characters and those that turn the direction of what follows, as the command line shows them.
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]/g;
function printable(text) {
  return String(text).replace(/\s+/g, ' ').trim().replace(UNPRINTABLE, '·');
}

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === 'class') made.className = value;
    else made.setAttribute(name, value === true ? '' : value);
  }
  made.append(...children);
  return made;
}

// Text of somebody else's: its direction is its own.
function foreign(tag, text, attributes = {}) {
  return element(tag, { dir: 'auto', ...attributes }, printable(text));
}

// Changes only what differs, so that neither a selection nor a screen reader is disturbed.
function write(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

function mark(target, name, value) {
  if (value === null || value === undefined || value === false) {
    if (target.hasAttribute(name)) target.removeAttribute(name);
  } else if (target.getAttribute(name) !== String(value)) target.setAttribute(name, value);
}

function show(target, shown) {
  if (target.hidden === shown) target.hidden = !shown;
}

// Shows a control or takes it away; where it had the focus, another gets that.
function offer(control, shown, heir) {
  const held = !shown && control === document.activeElement;
  show(control, shown);
  if (held) heir.focus();
}

// Numbers as the documents give them, with thousands apart.
function number(value) {
  return value === null || value === undefined ? '–' : value.toLocaleString('en-US', { maximumFractionDigits: 4 });
}

// 850 ms, 4.2 s, 3 min 20 s, 2 h 5 min, 4 d 3 h.
function length(seconds) {
  if (seconds === null || seconds === undefined) return '–';
  if (seconds < 60) return `${number(Math.round(seconds * 10) / 10)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  const minutes = Math.round(whole / 60);
  if (minutes < 1440) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  const hours = Math.round(minutes / 60);
  return `${number(Math.floor(hours / 24))} d ${hours % 24} h`;
}

// An age in one unit, for tables.
function age(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h`;
  return `${Math.floor(whole / 86400)} d`;
}

function bytes(count) {
  if (count === null || count === undefined) return '–';
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = count, unit = 0;
  while (value >= 999.5 && unit < units.length - 1) { value /= 1000; unit += 1; }
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 1 : 0)} ${units[unit]}`;
}

function plural(count, word) {
  return `${number(count)} ${word}${count === 1 ? '' : 's'}`;
}

// The time of day at this reader's place.
function clock(at) {
  return new Date(at).toLocaleTimeString('en-GB', { hour12: false });
}

function day(at) {
  return at ? new Date(at).toLocaleString('en-GB', { dateStyle: 'medium', timeStyle: 'medium' }) : '–';
}

// The server's clock, as far as the last document told; ages are counted by it.
const served = { at: Date.now(), here: performance.now() };
function serverTime() {
  return served.at + (performance.now() - served.here);
}
function tellTime(at) {
  Object.assign(served, { at: Date.parse(at), here: performance.now() });
}

// What a job is called in front of people.
function nameOf(job) {
  const own = job.tags && job.tags.file;
  if (own) return own;
  if (job.kind === 'enroll') return 'a voice';
  return job.audio.uri.split('/').pop() || job.audio.uri;
}

const STAGES = { fetch: 'fetching', decode: 'decoding', segmentation: 'segmenting', embedding: 'embedding', clustering: 'clustering', render: 'writing', store: 'storing' };

// One polite sentence after what somebody did; never for what changes by itself.
function say(text) {
  byId('live').textContent = text;
}
