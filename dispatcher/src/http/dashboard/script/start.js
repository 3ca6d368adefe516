// Which view is shown, and what it follows. Addresses hold a job's id at most.
const HIDDEN_MS = 60000;
let view = null;

function route() {
  const found = /^#\/jobs\/([0-9a-f-]{36})$/.exec(location.hash);
  return found ? found[1] : '';
}

function openView(moved) {
  const id = route();
  if (moved && location.hash && !location.hash.startsWith('#/')) return;
  view = id;
  show(byId('fleet'), !id);
  show(byId('job'), Boolean(id));
  stand('');
  notice('');
  tellLink('waiting', 'Connecting');
  if (id) {
    openJob(id);
    if (moved) byId('job-name').focus();
    if (moved) window.scrollTo(0, 0);
    return;
  }
  leaveJob();
  document.title = 'Rollcall';
  if (moved) byId('main').focus();
  follow('/v1/events', heard, { opened: () => { fresh().catch(trouble); } });
}

async function fresh() {
  await Promise.all([loadHistory(), refresh()]);
}

function heard(name, document) {
  if (name === 'queue') {
    const before = busy;
    busy = JSON.stringify(document.depth) + document.dead;
    showQueue(document);
    chartQueue(document);
    if (before !== busy) refreshSoon(REFRESH_MS);
  } else if (name === 'workers') showWorkers(document);
  else if (name === 'job') changed(document);
}
let busy = '';

// After a key was given, taken away, or found wanting.
function restart() {
  leaveJob();
  Object.assign(list, { cursors: [null], next: null });
  openView(false);
}

byId('ask').addEventListener('close', () => {
  if (!key.get()) stand('This server shows nothing without a key.', true);
});
byId('skip').addEventListener('click', (event) => {
  event.preventDefault();
  byId('main').focus();
  byId('main').scrollIntoView();
});
window.addEventListener('hashchange', () => openView(true));

// A page in the background lets go of its connection after a while: browsers have few for one server. One that has none, as
// a job's that is over, has nothing to take up again either.
let away = 0;
document.addEventListener('visibilitychange', () => {
  clearTimeout(away);
  if (document.hidden) {
    away = setTimeout(() => {
      if (!link) return;
      close();
      tellLink('waiting', 'Resting');
    }, HIDDEN_MS);
  } else if (byId('link').dataset.state === 'waiting' && !byId('ask').open && view !== null) openView(false);
});

// A page that was left may be kept by the browser for the way back, and its connection with it.
window.addEventListener('pagehide', close);
window.addEventListener('pageshow', (event) => {
  if (event.persisted) openView(false);
});

show(byId('forget'), Boolean(key.get()));
openView(false);
