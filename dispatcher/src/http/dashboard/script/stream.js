// Server-sent events over fetch, because an EventSource takes no header and a key in an address would be seen by many.
const SILENCE_MS = 20000;
const WAITS_MS = [1000, 2000, 4000, 8000, 15000, 30000];
let link = null;      // the one stream of this page
let attempt = 0;

function tellLink(state, text) {
  mark(byId('link'), 'data-state', state);
  write(byId('link').lastElementChild, text);
}

// Follows a path until it is closed; `hear(name, document)` gets each event but `problem`; of the options, `opened` is told when
// there is something to hear, anew after each outage, `over` when the server has no more, `refused` why it never will.
function follow(path, hear, options = {}) {
  close();
  const mine = { path, hear, options, stop: new AbortController(), timer: 0, watch: 0, busy: false, troubled: false };
  link = mine;
  attempt = 0;
  connect(mine);
}

function close() {
  if (!link) return;
  const old = link;
  link = null;
  clearTimeout(old.timer);
  clearTimeout(old.watch);
  old.stop.abort();
}

async function connect(mine) {
  if (mine !== link || mine.busy) return;
  mine.busy = true;
  mine.stop = new AbortController();
  Object.assign(mine, { ended: false, troubled: false });
  try {
    watchSilence(mine);
    const answer = await request(mine.path, { signal: mine.stop.signal, more: { Accept: 'text/event-stream' } });
    if (mine.options.opened) mine.options.opened();
    for await (const [name, text] of events(answer.body, () => watchSilence(mine))) {
      if (mine !== link) return;
      if (name === 'problem') {
        troubled(mine, JSON.parse(text));
        continue;
      }
      back(mine);
      if (name === 'end') {
        mine.ended = true;
        break;
      }
      mine.hear(name, JSON.parse(text));
    }
  } catch (error) {
    lost(mine, error);
    return;
  } finally {
    clearTimeout(mine.watch);
    mine.busy = false;
  }
  if (mine !== link) return;
  if (mine.ended) {
    link = null;
    mine.stop.abort();
    if (mine.options.over) mine.options.over();
    return;
  }
  // The server ends streams now and then so that the key is looked at again; an outage is told by the next try.
  mine.timer = setTimeout(() => connect(mine), 200 + attempt * 1000);
  attempt += 1;
}

function back(mine) {
  attempt = 0;
  const before = byId('link').dataset.state;
  if (before === 'live') return;
  if (before === 'lost') say('Connected again.');
  stand('');
  tellLink('live', 'Live');
  linkIsBack();
  if (mine.troubled && mine.options.opened) mine.options.opened();
  mine.troubled = false;
}

// The server answers, but a service behind it does not. It is told once, and over with the next event of another name.
function troubled(mine, problem) {
  attempt = 0;
  mine.troubled = true;
  tellLink('lost', 'Server has trouble');
  stand(`The server has trouble: ${printable(problem.detail)}. What you see may be old.`);
}

function lost(mine, error) {
  if (mine !== link) return;
  if (error.status === 401) return;
  if (error.status === 403 || error.status === 404) {
    tellLink('lost', 'Not connected');
    if (mine.options.refused) mine.options.refused(error);
    else stand(error.message, true);
    return;
  }
  const wait = WAITS_MS[Math.min(attempt, WAITS_MS.length - 1)] * (0.8 + 0.4 * Math.random());
  const why = error instanceof Problem && error.status > 0 ? `The server has trouble: ${error.message.replace(/\.$/, '')}.` : 'The connection to the server is lost.';
  stand(`${why} What you see may be old; trying again.`, true);
  attempt += 1;
  tellLink('lost', `Lost; trying again in ${Math.max(1, Math.round(wait / 1000))} s`);
  mine.timer = setTimeout(() => connect(mine), wait);
}

// A connection that says nothing for this long is gone, whatever the network believes.
function watchSilence(mine) {
  clearTimeout(mine.watch);
  mine.watch = setTimeout(() => mine.stop.abort(), SILENCE_MS);
}

standing.lastElementChild.addEventListener('click', () => {
  if (!link) return restart();
  clearTimeout(link.timer);
  attempt = 0;
  connect(link);
});
window.addEventListener('online', () => {
  if (link && byId('link').dataset.state === 'lost') {
    clearTimeout(link.timer);
    connect(link);
  }
});

// The events of a body, as pairs of name and data (HTML standard, 9.2.6).
const EVENT_CHARS_MAX = 8 << 20;
async function* events(body, alive) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '', name = 'message', lines = [];
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      alive();
      rest += value;
      if (rest.length > EVENT_CHARS_MAX) throw new Problem(0, 'unreadable', 'The server sends more than it should.');
      const parts = rest.split(/\r?\n/);
      rest = parts.pop();
      for (const line of parts) {
        if (line === '') {
          if (lines.length) yield [name, lines.join('\n')];
          [name, lines] = ['message', []];
        } else if (line.startsWith('event:')) name = line.slice(6).trim();
        else if (line.startsWith('data:')) lines.push(line.slice(5).replace(/^ /, ''));
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
