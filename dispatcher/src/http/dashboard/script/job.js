// One job: its record as it goes on, and what came of it.
const FORMATS = [['json', 'JSON'], ['rttm', 'RTTM'], ['srt', 'SRT'], ['vtt', 'VTT'], ['txt', 'Text'], ['html', 'Timeline']];
const SOUND_BYTES_MAX = 64 * 1000 * 1000;
const TIMELINE_CHARS_MAX = 64 << 20;
const page = { id: null, job: null, result: null, sound: null, frame: null };

function pairs(target, list) {
  const known = new Map([...target.children].map((child) => [child.dataset.name, child]));
  const kept = list.filter(([, value]) => value !== null && value !== undefined && value !== '');
  for (const [name, child] of known) if (!kept.some(([title]) => title === name)) child.remove();
  for (const [name, value] of kept) {
    if (known.has(name)) write(known.get(name).lastElementChild, printable(value));
    else target.append(element('div', { 'data-name': name }, element('dt', {}, name), foreign('dd', value)));
  }
}

// Follows a job. Where its page is open already, it stays as it is: what plays goes on, and the focus keeps its place.
function openJob(id) {
  if (page.id !== id) {
    leaveJob();
    page.id = id;
    show(byId('job-body'), false);
    show(byId('job-note'), true);
    write(byId('job-name'), id);
    write(byId('job-note'), 'Loading.');
    document.title = 'Job · Rollcall';
  }
  follow(`/v1/jobs/${id}/events`, (name, job) => { if (name === 'record' && page.id === job.id) showJob(job); }, {
    over: () => tellLink('live', 'Final'),
    refused: (error) => {
      write(byId('job-note'), error.message);
      show(byId('job-note'), true);
    },
  });
}

// What a job's page holds and the next one must not: the sound, and the frame with the timeline.
function leaveJob() {
  if (page.sound) URL.revokeObjectURL(page.sound);
  Object.assign(page, { id: null, job: null, result: null, sound: null, frame: null });
  byId('sound').replaceChildren();
  byId('timeline').replaceChildren();
  byId('downloads').replaceChildren();
  byId('job-facts').replaceChildren();
  byId('record-facts').replaceChildren();
}

function showJob(job) {
  const before = page.job;
  page.job = job;
  const name = printable(nameOf(job));
  show(byId('job-note'), false);
  show(byId('job-body'), true);
  write(byId('job-name'), name);
  write(byId('job-kind'), job.kind === 'enroll' ? 'Job · enrolling a voice' : 'Job');
  document.title = `${name} · Rollcall`;
  write(byId('job-state'), stateWords(job));
  mark(byId('job-state'), 'class', `state ${job.state}`);
  const bar = byId('job-progress');
  bar.value = job.percent;
  show(bar, job.state === 'running' || job.state === 'completed');
  offer(byId('job-cancel'), STOPPABLE.has(job.state), byId('job-name'));
  offer(byId('job-retry'), REPEATABLE.has(job.state), byId('job-name'));
  showFailure(job);
  pairs(byId('job-facts'), [
    ['Progress', `${job.percent} %`], ['Stage', job.state === 'running' && job.stage ? STAGES[job.stage] || job.stage : ''],
    ['Priority', job.priority], ['Failed attempts', number(job.attempts)], ['Crashes', number(job.crashes)],
    ['Length', job.audio.duration_s === null ? '' : length(job.audio.duration_s)],
    ...timesOf(job),
  ]);
  const speakers = job.options.num_speakers ?? (job.options.min_speakers || job.options.max_speakers ? `${job.options.min_speakers ?? 1} to ${job.options.max_speakers ?? 'any'}` : 'counted');
  pairs(byId('record-facts'), [
    ['Id', job.id], ['Worker', job.worker], ['Bundle', job.bundle], ['Created', day(job.created_at)],
    ['Started', job.started_at && day(job.started_at)], ['Ended', job.completed_at && day(job.completed_at)],
    ['Exported', job.exported_at && day(job.exported_at)], ['No output', job.output_problem], ['Known from', job.cached_from], ['People', speakers],
    ['Channels', job.options.channels], ['Formats', job.options.formats.join(', ')], ['Transcript', job.options.transcript],
    ['Source', job.audio.uri], ['Size', job.audio.bytes === null ? '' : bytes(job.audio.bytes)], ['SHA-256', job.audio.sha256],
    ['Tags', Object.entries(job.tags).map(([tag, value]) => `${tag}=${value}`).join(', ')],
  ]);
  write(byId('record-json'), JSON.stringify(job, null, 2));
  if (before && before.state !== job.state) say(`${name} is ${job.state}.`);
  showResult(job);
}

// How long the last attempt waited and worked. A job that became available after it was started last waits again: of that
// start nothing is said. How long one was stopped after is not how long it worked.
function timesOf(job) {
  const [available, started, ended] = [job.available_at, job.started_at, job.completed_at].map((at) => (at ? Date.parse(at) : null));
  if (started === null || started < available) return [];
  const worked = ended !== null && (job.state === 'completed' || job.state === 'discarded');
  return [['Waited', length((started - available) / 1000)], ['Worked', worked ? length(Math.max(0, ended - started) / 1000) : '']];
}

function showFailure(job) {
  const box = byId('job-failure'), failure = job.state === 'completed' ? null : job.failure;
  show(box, Boolean(failure));
  const text = failure ? JSON.stringify(failure) : '';
  if (box.dataset.told === text) return;
  box.dataset.told = text;
  box.replaceChildren();
  if (!failure) return;
  box.append(element('p', {}, element('b', {}, failure.code), ` while ${STAGES[failure.stage] || failure.stage}, ${failure.class}`), foreign('p', failure.detail));
}

action(byId('job-cancel'), async () => { await cancelJob(page.job); });
action(byId('job-retry'), async () => {
  const { id } = page.job;
  await retryJob(page.job);
  if (page.id === id) openJob(id);
  byId('job-name').focus();
});

function showResult(job) {
  const there = job.state === 'completed' && job.kind !== 'enroll';
  show(byId('job-result'), there);
  if (!there || page.result === job.id) return;
  page.result = job.id;
  for (const [format, title] of FORMATS) byId('downloads').append(download(job, format, title));
  showSound(job);
  showTimeline(job).catch((error) => {
    if (error.name === 'AbortError' || page.id !== job.id) return;
    write(byId('timeline-note'), error.message);
    show(byId('timeline-note'), true);
  });
}

// Without a key a plain link; with one the document is fetched, and given on as bytes that no page is made of.
function download(job, format, title) {
  const path = `/v1/jobs/${job.id}/result?format=${format}`, file = `${job.id}.${format}`;
  if (!key.get()) return element('a', { class: 'button', href: path, download: file, 'data-format': format }, title);
  const button = element('button', { type: 'button', 'data-format': format }, title);
  action(button, async () => {
    const content = await (await request(path)).arrayBuffer();
    const place = URL.createObjectURL(new Blob([content], { type: 'application/octet-stream' }));
    element('a', { href: place, download: file }).click();
    setTimeout(() => URL.revokeObjectURL(place), 60000);
    say(`${title} is downloaded.`);
  });
  return button;
}

function showSound(job) {
  const path = `/v1/jobs/${job.id}/audio`, label = `Recording of ${printable(nameOf(job))}`;
  const told = (text) => byId('sound').replaceChildren(element('p', { class: 'note' }, text));
  const player = (source) => {
    const audio = element('audio', { controls: true, preload: 'metadata', src: source, 'aria-label': label });
    audio.addEventListener('error', () => told('The recording cannot be played here: it is not in the store, or no format that this browser knows.'));
    return audio;
  };
  if (!key.get()) return byId('sound').replaceChildren(player(path));
  const size = job.audio.bytes;
  if (size !== null && size > SOUND_BYTES_MAX) return told(`With a key, recordings up to ${bytes(SOUND_BYTES_MAX)} can be played here; this one has ${bytes(size)}.`);
  const load = element('button', { type: 'button' }, `Load the recording${size === null ? '' : ` (${bytes(size)})`}`);
  action(load, async () => {
    const content = await bounded(await request(path), SOUND_BYTES_MAX);
    if (page.id !== job.id) return;
    page.sound = URL.createObjectURL(content);
    const audio = player(page.sound);
    byId('sound').replaceChildren(audio);
    audio.focus();
  });
  byId('sound').replaceChildren(load);
}

// A body of at most so many bytes.
async function bounded(answer, most) {
  const parts = [], reader = answer.body.getReader();
  let size = 0;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return new Blob(parts, { type: answer.headers.get('Content-Type') || '' });
    size += value.length;
    if (size > most) {
      await reader.cancel();
      throw new Problem(0, 'too_large', `The recording has more than ${bytes(most)}.`);
    }
    parts.push(value);
  }
}

// The timeline is a page of its own making. It runs in a frame without an origin, which is handed the text and nothing
// else: it can reach neither this page, nor the key, nor any address.
async function showTimeline(job) {
  write(byId('timeline-note'), 'Loading the timeline.');
  show(byId('timeline-note'), true);
  const text = await (await request(`/v1/jobs/${job.id}/result?format=html`)).text();
  if (page.id !== job.id) return;
  if (text.length > TIMELINE_CHARS_MAX) throw new Problem(0, 'too_large', 'The timeline is too large to be shown here; it can be downloaded.');
  const frame = element('iframe', { sandbox: 'allow-scripts', src: '/assets/timeline', title: `Timeline of ${printable(nameOf(job))}`, referrerpolicy: 'no-referrer' });
  page.frame = { frame, told: { page: text, name: printable(nameOf(job)) } };
  byId('timeline').replaceChildren(frame);
}
window.addEventListener('message', (event) => {
  const open = page.frame;
  if (!open || event.source !== open.frame.contentWindow || event.data !== 'ready') return;
  page.frame = null;
  open.frame.contentWindow.postMessage(open.told, '*');
  show(byId('timeline-note'), false);
});
