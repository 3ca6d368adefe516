// Requests. A key goes in a header and nowhere else; it is kept for this tab alone.
const KEY_PLACE = 'rollcall-key';
const key = {
  get: () => sessionStorage.getItem(KEY_PLACE),
  set(text) { sessionStorage.setItem(KEY_PLACE, text); show(byId('forget'), true); },
  forget() { sessionStorage.removeItem(KEY_PLACE); show(byId('forget'), false); },
};

// What the server, or the way to it, said instead of an answer.
class Problem extends Error {
  constructor(status, code, detail) {
    super(detail);
    Object.assign(this, { status, code });
  }
}

function headers(own, more = {}) {
  return own ? { ...more, Authorization: `Bearer ${own}` } : more;
}

async function request(path, options = {}) {
  let answer;
  const { more, ...rest } = options, own = key.get();
  try {
    answer = await fetch(path, { cache: 'no-store', credentials: 'omit', redirect: 'error', referrerPolicy: 'no-referrer', ...rest, headers: headers(own, more) });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Problem(0, 'no_answer', 'The server does not answer.');
  }
  if (!answer.ok) throw problemOf(answer.status, await answer.text().catch(() => ''), own);
  return answer;
}

// A problem document, whose sentence is for people; or what stood between. `own` is the key that was sent: what is said of
// one that is not in use any more says nothing of the one that is.
function problemOf(status, text, own) {
  let document = {};
  try { document = JSON.parse(text) || {}; } catch { /* something else answered */ }
  const detail = printable(document.detail || '').slice(0, 600) || `The server answers with status ${status}.`;
  if (status === 401 && own === key.get()) {
    if (own) key.forget();
    askForKey(document.detail === 'a key is needed' ? '' : 'The key is not good. It may have been revoked.');
  }
  const told = status === 403 ? `Not allowed: ${detail}. Ask whoever runs this server for a key with that scope.` : detail;
  return new Problem(status, document.code || `http_${status}`, told);
}

async function read(path, options) {
  const answer = await request(path, options);
  try {
    return await answer.json();
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Problem(answer.status, 'unreadable', 'The server\u2019s answer cannot be read.');
  }
}

// The key is asked for once, however many requests want one. Nothing is followed without it.
function askForKey(wrong) {
  const dialog = byId('ask');
  close();
  write(byId('ask-wrong'), wrong);
  tellLink('waiting', 'Waiting for a key');
  if (dialog.open) return;
  byId('ask-key').value = '';
  dialog.showModal();
}

byId('ask-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const text = byId('ask-key').value.trim();
  // What no header can hold is no key.
  if (!/^[\x21-\x7e]+$/.test(text)) {
    write(byId('ask-wrong'), 'A key is letters, digits and underlines: rk_…');
    return;
  }
  byId('ask-key').value = '';
  key.set(text);
  byId('ask').close();
  restart();
});
byId('ask-later').addEventListener('click', () => byId('ask').close());
byId('forget').addEventListener('click', () => {
  key.forget();
  say('The key is forgotten.');
  restart();
});
