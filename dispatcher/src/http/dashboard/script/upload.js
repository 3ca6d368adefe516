// One file's way to the server: it waits, is sent as a form with its progress, two at a time, and waits again where only the
// way failed.
const AT_ONCE = 2;
const NAME_BYTES_MAX = 256;
const DONE_MAX = 100;
// How often a connection may break off although the server is there: one that refuses early breaks it off each time.
const BREAKS_MAX = 4;
const PAUSES_MS = [2000, 4000, 8000, 15000, 30000];
const LATER_S_MAX = 60;
const waiting = [];
// `paused` is the timer after which sending goes on, or true until the link is back.
const sender = { sending: 0, paused: null, pauses: 0 };

function next() {
  while (sender.paused === null && sender.sending < AT_ONCE && waiting.length) waiting.shift().send();
  if (sender.sending || waiting.length) window.addEventListener('beforeunload', stay);
  else window.removeEventListener('beforeunload', stay);
}

// A page that is left takes what it still sends with it: the browser asks first.
function stay(event) {
  event.preventDefault();
}

function pause(wait) {
  clearTimeout(sender.paused);
  sender.paused = wait === null ? true : setTimeout(goOn, wait);
}

function goOn() {
  clearTimeout(sender.paused);
  sender.paused = null;
  next();
}

// The page hears the server again.
function linkIsBack() {
  sender.pauses = 0;
  for (const one of waiting) one.breaks = 0;
  goOn();
}

// How long to wait before a failed try is repeated, milliseconds; null until the link is back, undefined where nothing
// but the way to ask has changed. `status` 0 says that there was no answer.
function restAfter(status, later) {
  if (status === 401) return null;
  if (status !== 0 && status !== 429 && status !== 503) return undefined;
  const step = PAUSES_MS[Math.min(sender.pauses, PAUSES_MS.length - 1)], asked = Math.min(Number(later) || 0, LATER_S_MAX) * 1000;
  sender.pauses += 1;
  return Math.max(step, asked);
}

// A name for this submission, so that sending it again after a lost answer makes no second job.
function freshKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

function formOf(file, { job, transcript }) {
  const form = new FormData(), fits = new TextEncoder().encode(file.name).length <= NAME_BYTES_MAX;
  // A form writes some characters of a name differently; a tag does not.
  const tags = fits ? { file: file.name, ...job.tags } : job.tags;
  // The order counts: what is wanted comes before what takes long.
  form.append('job', JSON.stringify({ ...job, tags }));
  if (transcript) form.append('transcript', transcript, transcript.name);
  form.append('audio', file, file.name);
  return form;
}

// A file that was moved or changed since it was chosen fails like a lost connection.
async function canBeRead(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}

function documentOf(text) {
  try { return JSON.parse(text); } catch { return null; }
}

function upload(file, wishes) {
  const name = foreign('b', file.name), state = element('span', { class: 'soft' }, `waiting · ${bytes(file.size)}`);
  const bar = element('progress', { max: 1, value: 0, 'aria-label': `Upload of ${printable(file.name)}` });
  const stop = element('button', { type: 'button', 'aria-label': `Stop sending ${printable(file.name)}` }, 'Stop');
  const again = element('button', { type: 'button', hidden: true, 'aria-label': `Send ${printable(file.name)} again` }, 'Again');
  const line = element('li', {}, name, bar, state, stop, again);
  byId('uploads').prepend(line);
  const own = freshKey();
  let way = null, whole = false;
  const one = { breaks: 0, stopped: false, send };

  function send() {
    sender.sending += 1;
    const used = key.get();
    way = new XMLHttpRequest();
    way.open('POST', '/v1/jobs');
    for (const [header, value] of Object.entries(headers(used, { 'Idempotency-Key': own }))) way.setRequestHeader(header, value);
    whole = false;
    way.upload.addEventListener('progress', (event) => {
      if (!event.lengthComputable) return;
      whole = event.loaded === event.total;
      bar.max = event.total;
      bar.value = event.loaded;
      write(state, whole ? 'sent; being stored' : `${bytes(event.loaded)} of ${bytes(event.total)}`);
    });
    way.addEventListener('loadend', async () => {
      const from = way;
      try {
        await answered(from, used);
      } catch (error) {
        failed(String(error));
      } finally {
        way = null;
        sender.sending -= 1;
        next();
      }
    });
    write(state, 'sending');
    way.send(formOf(file, wishes));
  }

  async function answered(from, used) {
    const { status } = from;
    if (status >= 200 && status < 300) {
      const job = documentOf(from.responseText);
      if (job && job.id) return submitted(job);
      return failed('The server\u2019s answer cannot be read, so it is not known whether this was submitted. Sending it again makes no second job.');
    }
    if (one.stopped) return stoppedNow();
    if (status === 0 && !(await canBeRead(file))) return failed('The file cannot be read: was it moved or changed?');
    if (one.stopped) return stoppedNow();
    // Asked for before the problem is looked at, which forgets a key that is not good.
    const renewed = status === 401 && key.get() && used !== key.get();
    const wrong = status ? problemOf(status, from.responseText, used) : new Problem(0, 'broken', 'The connection broke off');
    if (status === 0 && byId('link').dataset.state !== 'lost') one.breaks += 1;
    const rest = renewed ? 0 : restAfter(status, from.getResponseHeader('Retry-After'));
    if (rest === undefined) return failed(wrong.message);
    // A server that refuses early closes the connection, and a browser then shows no answer at all.
    if (one.breaks >= BREAKS_MAX) return failed('The connection broke off, time and again. Nothing was submitted, or it is known under its own key: sending it again is safe.');
    bar.value = 0;
    write(state, `waiting · ${wrong.message}`);
    waiting.unshift(one);
    pause(rest);
  }

  function submitted(job) {
    sender.pauses = 0;
    const address = element('a', { href: `#/jobs/${job.id}` }, job.state === 'completed' ? 'completed: known already' : 'submitted');
    const held = stop === document.activeElement;
    mark(line, 'class', 'done');
    state.replaceChildren(address);
    for (const part of [bar, stop, again]) part.remove();
    if (held) address.focus();
    for (const old of [...byId('uploads').querySelectorAll('li.done')].slice(DONE_MAX)) old.remove();
    say(`${printable(file.name)} is submitted.`);
    if (!byId('fleet').hidden) changed(job);
  }

  function failed(text) {
    write(state, text);
    mark(line, 'class', 'failed');
    show(bar, false);
    show(again, true);
    offer(stop, false, again);
    say(`${printable(file.name)}: ${text}`);
  }

  function stoppedNow() {
    failed(whole ? 'Stopped after all of it was sent: it may be submitted all the same. Sending it again makes no second job.' : 'Stopped.');
  }

  stop.addEventListener('click', () => {
    one.stopped = true;
    const place = waiting.indexOf(one);
    if (place >= 0) {
      waiting.splice(place, 1);
      whole = false;
      stoppedNow();
      next();
    } else if (way) way.abort();
  });
  again.addEventListener('click', () => {
    Object.assign(one, { stopped: false, breaks: 0 });
    mark(line, 'class', null);
    show(bar, true);
    bar.value = 0;
    show(stop, true);
    offer(again, false, stop);
    write(state, 'waiting');
    waiting.push(one);
    next();
  });
  return one;
}
