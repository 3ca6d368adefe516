// Jobs and dead letters: pages of `/v1/jobs`, kept fresh by events and, where these do not reach, by asking again.
const PAGE = matchMedia('(max-width: 720px)').matches ? 10 : 20;
const LETTERS = 10;
const DOUBLE_CLICK_MS = 700;
const REFRESH_MS = 3000;
const ALL_STATES = ['scheduled', 'available', 'running', 'retryable', 'completed', 'discarded', 'cancelled'];
const STOPPABLE = new Set(['scheduled', 'available', 'running', 'retryable']);
const REPEATABLE = new Set(['discarded', 'cancelled']);
// Pages that were turned, the cursor of each (the first has none), and that of the next one; what was shown last, for when
// the next fails; the question under way, how long the last one took, when another is due; whether a page was turned.
const list = {
  cursors: [null], next: null, jobs: [], shown: { cursors: [null], next: null },
  flight: null, took: 0, due: null, timer: 0, turned: false,
};
const dead = { jobs: [] };
for (const state of ALL_STATES) byId('filter-state').append(element('option', {}, state));

// One cell of a row for a job's state, shared by the list and the job's own page.
function stateWords(job) {
  if (job.state === 'running' && job.stage) return `running · ${STAGES[job.stage] || job.stage}`;
  if (job.state === 'completed' && job.cached_from) return 'completed · known already';
  return job.state;
}

function failureWords(failure) {
  return failure ? `${failure.code}: ${failure.detail}` : '';
}

function jobRow() {
  const name = element('a', { dir: 'auto' }), id = element('small', { dir: 'ltr' });
  const state = element('span', { class: 'state' }), bar = element('progress', { max: 100, 'aria-hidden': 'true' }), percent = element('span');
  const failure = element('span', { class: 'failure', dir: 'auto' });
  const [priority, created, worker, tags] = ['span', 'span', 'span', 'span'].map((tag) => element(tag, { dir: 'auto' }));
  const cancel = element('button', { type: 'button' }, 'Cancel'), retry = element('button', { type: 'button' }, 'Requeue');
  let mine = null, resting = false;
  // Where one button stood the other stands afterwards: neither takes the second half of a double click.
  const rest = (work) => async () => {
    await work(mine).finally(() => {
      resting = true;
      setTimeout(() => { resting = false; }, DOUBLE_CLICK_MS);
    });
  };
  action(cancel, rest((job) => cancelJob(job)), () => resting);
  action(retry, rest((job) => retryJob(job)), () => resting);
  return {
    cells: [[name, id], [state, bar, percent, failure], tags, priority, created, worker, [cancel, retry]],
    update(job, row) {
      mine = job;
      write(name, printable(nameOf(job)));
      mark(name, 'href', `#/jobs/${job.id}`);
      write(id, job.id);
      write(state, stateWords(job));
      mark(state, 'class', `state ${job.state}`);
      show(bar, job.state === 'running');
      bar.value = job.percent;
      write(percent, job.state === 'running' ? `${job.percent} %` : '');
      write(failure, job.failure && job.state !== 'completed' ? printable(failureWords(job.failure)) : '');
      write(tags, printable(tagWords(job)));
      write(priority, job.priority);
      mark(created, 'data-at', job.created_at);
      mark(created, 'title', day(job.created_at));
      write(created, age((serverTime() - Date.parse(job.created_at)) / 1000));
      write(worker, printable(job.worker || '–'));
      const left = [cancel, retry].find((button) => button === document.activeElement);
      show(cancel, STOPPABLE.has(job.state));
      show(retry, REPEATABLE.has(job.state));
      if (left && left.hidden) name.focus();
      mark(cancel, 'aria-label', `Cancel ${printable(nameOf(job))}`);
      mark(retry, 'aria-label', `Requeue ${printable(nameOf(job))}`);
      mark(row, 'data-state', job.state);
    },
  };
}

function tagWords(job) {
  const own = Object.entries(job.tags).filter(([name]) => name !== 'file').map(([name, value]) => `${name}=${value}`);
  return own.join(', ') || '–';
}

const JOB_COLUMNS = [
  { title: 'Recording', name: 'wide' }, { title: 'State', name: 'is' }, { title: 'Tags', name: 'tags' }, { title: 'Priority' },
  { title: 'Age', numeric: true }, { title: 'Worker', name: 'who' }, { title: 'Actions', quiet: true, name: 'do' },
];
const jobsTable = table(byId('jobs-table'), JOB_COLUMNS, jobRow);
const deadTable = table(byId('dead-table'), JOB_COLUMNS, jobRow);

async function cancelJob(job) {
  const now = await read(`/v1/jobs/${job.id}`, { method: 'DELETE' });
  say(now.state === 'cancelled' ? `${printable(nameOf(job))} is cancelled.` : `${printable(nameOf(job))} is told to stop.`);
  changed(now);
  refreshSoon(0);
}

async function retryJob(job) {
  const now = await read(`/v1/jobs/${job.id}/retry`, { method: 'POST' });
  say(`${printable(nameOf(job))} is ${now.state} again.`);
  changed(now);
  refreshSoon(0);
}

// A record as it is now, wherever it stands.
function changed(job) {
  jobsTable.touch(job.id, job);
  list.jobs = list.jobs.map((old) => (old.id === job.id ? job : old));
  deadTable.touch(job.id, job);
  if (list.cursors.length === 1 && passes(job) && !list.jobs.some((old) => old.id === job.id)) {
    const newest = list.jobs.length < PAGE || job.id > list.jobs[list.jobs.length - 1].id;
    if (newest) {
      const before = list.jobs.length;
      list.jobs = [job, ...list.jobs].sort((a, b) => (a.id < b.id ? 1 : -1)).slice(0, PAGE);
      if (before === PAGE) list.next = list.jobs[PAGE - 1].id;
      showJobs();
    }
  }
  refreshSoon(REFRESH_MS);
}

function wanted() {
  return { state: byId('filter-state').value, tag: byId('filter-tag').value.trim() };
}

function passes(job) {
  const { state, tag } = wanted(), [name, ...value] = tag.split('=');
  return (!state || job.state === state) && (!tag || job.tags[name] === value.join('='));
}

function pathOf(filter, cursor, limit) {
  const query = new URLSearchParams({ limit });
  for (const [name, value] of Object.entries({ ...filter, cursor })) if (value) query.set(name, value);
  return `/v1/jobs?${query}`;
}

// Asks for what is in sight. A question that is under way is given up for this one: only a page or a filter that somebody
// chose, and a link that is back, are worth that. One more job than is shown tells whether there are others.
async function refresh() {
  clearTimeout(list.timer);
  if (list.flight) list.flight.abort();
  Object.assign(list, { due: null, flight: null });
  if (byId('fleet').hidden) return;
  const filter = wanted();
  if (filter.tag && !/^[^=]+=/.test(filter.tag)) {
    write(byId('jobs-note'), 'A tag is given as key=value.');
    show(byId('jobs-note'), true);
    return;
  }
  const flight = new AbortController(), { signal } = flight, began = performance.now();
  list.flight = flight;
  try {
    const cursor = list.cursors[list.cursors.length - 1];
    const [page, letters] = await Promise.all([
      read(pathOf(filter, cursor, PAGE + 1), { signal }), read(pathOf({ state: 'discarded' }, null, LETTERS + 1), { signal }),
    ]);
    signal.throwIfAborted();
    list.jobs = page.jobs.slice(0, PAGE);
    list.next = page.jobs.length > PAGE ? list.jobs[PAGE - 1].id : page.next_cursor;
    list.shown = { cursors: list.cursors, next: list.next };
    const { turned } = list;
    list.turned = false;
    dead.jobs = letters.jobs.slice(0, LETTERS);
    showJobs(turned);
    showDead(letters.next_cursor !== null);
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    // Of two questions one may fail while the other is under way.
    flight.abort();
    if (list.flight === flight) {
      const { due } = list;
      Object.assign(list, { flight: null, took: performance.now() - began, due: null });
      if (due !== null) refreshSoon(due);
    }
  }
}

// Asks within this time, milliseconds, once what is under way is answered. On a busy fleet an answer takes long: then twice
// its time is rested, unless somebody waits for it (0).
function refreshSoon(within) {
  if (list.due !== null && list.due <= within) return;
  clearTimeout(list.timer);
  list.due = within;
  if (list.flight) return;
  list.timer = setTimeout(() => refresh().catch(trouble), within && Math.max(within, 2 * list.took));
}

function showJobs(now = false) {
  jobsTable.show(list.jobs, now);
  const { state, tag } = wanted();
  const first = state || tag ? 'No job passes the filter.' : 'No jobs yet: drop a recording above.';
  // A listing that has looked at many jobs stops, and says where.
  const none = list.next ? 'None among those looked through: go on with Older.' : list.cursors.length > 1 ? 'No more jobs.' : first;
  write(byId('jobs-note'), list.jobs.length ? '' : none);
  show(byId('jobs-note'), list.jobs.length === 0);
  show(byId('jobs-table'), list.jobs.length > 0);
  showPages();
}

// A button that rests gives the focus to the other, or to the heading where that rests as well.
function showPages() {
  if (list.turned) return;
  const [newer, older] = [byId('newer'), byId('older')], holder = [newer, older].find((button) => button === document.activeElement);
  mark(older, 'aria-disabled', null);
  newer.disabled = list.cursors.length === 1;
  older.disabled = !list.next;
  if (holder && holder.disabled) ([newer, older].find((button) => !button.disabled) || byId('jobs-title')).focus();
  write(byId('page-number'), `Page ${list.cursors.length}`);
}

function showDead(more) {
  deadTable.show(dead.jobs);
  show(byId('dead-table'), dead.jobs.length > 0);
  offer(byId('requeue-all'), dead.jobs.length > 1, byId('dead-title'));
  write(byId('requeue-all'), `Requeue these ${dead.jobs.length}`);
  write(byId('dead-note'), dead.jobs.length ? `The newest ${dead.jobs.length} of those shown under Queue as dead.` : 'None.');
  show(byId('dead-note'), !dead.jobs.length || more);
}

// Goes to another page; until it is there, there is none after it.
function turn(cursors) {
  Object.assign(list, { cursors, next: null, turned: true });
  mark(byId('older'), 'aria-disabled', 'true');
  refresh().then(() => say(`${byId('page-number').textContent}: ${plural(list.jobs.length, 'job')}.`)).catch((error) => {
    if (error.name !== 'AbortError') {
      Object.assign(list, list.shown, { turned: false });
      showPages();
    }
    trouble(error);
  });
}

byId('older').addEventListener('click', () => {
  if (list.next) turn([...list.cursors, list.next]);
});
byId('newer').addEventListener('click', () => {
  if (list.cursors.length > 1) turn(list.cursors.slice(0, -1));
});
let typing = 0;
function filterChanged() {
  list.shown = { cursors: [null], next: null };
  turn([null]);
}
byId('filter-state').addEventListener('change', filterChanged);
byId('filter-tag').addEventListener('input', () => {
  clearTimeout(typing);
  typing = setTimeout(filterChanged, 300);
});
byId('filter').addEventListener('submit', (event) => {
  event.preventDefault();
  clearTimeout(typing);
  filterChanged();
});

// Each of those in sight; what fails is told, the others are done all the same.
action(byId('requeue-all'), async () => {
  const jobs = [...dead.jobs];
  const results = await Promise.allSettled(jobs.map((job) => read(`/v1/jobs/${job.id}/retry`, { method: 'POST' })));
  const failed = results.filter((result) => result.status === 'rejected');
  say(`${plural(jobs.length - failed.length, 'job')} requeued${failed.length ? `, ${failed.length} not` : ''}.`);
  refreshSoon(0);
  if (failed.length) throw failed[0].reason;
});

// Ages go on by themselves.
setInterval(() => {
  if (byId('fleet').hidden) return;
  for (const cell of byId('fleet').querySelectorAll('[data-at]')) {
    write(cell, age((serverTime() - Date.parse(cell.dataset.at)) / 1000));
  }
}, 1000);
