// Submitting: files dropped or chosen, each sent as a form, two at a time, with its progress.
const AT_ONCE = 2;
const FILES_MAX = 500;
const NAME_BYTES_MAX = 256;
const waiting = [];
let sending = 0;

function wishesNow() {
  const options = {}, tags = {};
  const speakers = Number(byId('wish-speakers').value);
  if (byId('wish-speakers').value) options.num_speakers = speakers;
  options.channels = byId('wish-channels').value;
  const [name, ...value] = byId('wish-tag').value.trim().split('=');
  if (name) tags[name] = value.join('=');
  return { job: { options, priority: byId('wish-priority').value, tags }, transcript: byId('wish-transcript').files[0] || null };
}

function badWishes() {
  const speakers = byId('wish-speakers'), tag = byId('wish-tag').value.trim();
  if (!speakers.checkValidity()) return 'People: a number from 1 to 1000, or nothing.';
  if (tag && !/^[^=]+=/.test(tag)) return 'A tag is given as key=value.';
  return '';
}

function take(files) {
  const chosenFiles = [...files].slice(0, FILES_MAX), wrong = badWishes();
  if (wrong) return notice(wrong, false);
  if (!chosenFiles.length) return;
  const wishes = wishesNow();
  if (wishes.transcript && chosenFiles.length > 1) return notice('A transcript belongs to one recording: choose one, or take the transcript away.', false);
  if (files.length > FILES_MAX) notice(`The first ${FILES_MAX} of ${files.length} files are taken.`, false);
  for (const file of chosenFiles) waiting.push(upload(file, wishes));
  say(`${plural(chosenFiles.length, 'recording')} to send.`);
  next();
}

function next() {
  while (sending < AT_ONCE && waiting.length) waiting.shift().send();
}

// A name for this submission, so that sending it again after a lost answer makes no second job.
function freshKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

function upload(file, wishes) {
  const name = foreign('b', file.name), state = element('span', { class: 'soft' }, `waiting · ${bytes(file.size)}`);
  const bar = element('progress', { max: 1, value: 0, 'aria-label': `Upload of ${printable(file.name)}` });
  const stop = element('button', { type: 'button', 'aria-label': `Stop sending ${printable(file.name)}` }, 'Stop');
  const again = element('button', { type: 'button', hidden: true, 'aria-label': `Send ${printable(file.name)} again` }, 'Again');
  const line = element('li', {}, name, bar, state, stop, again);
  byId('uploads').prepend(line);
  const own = freshKey();
  let way = null;
  const over = (text, failed) => {
    write(state, text);
    mark(line, 'class', failed ? 'failed' : 'done');
    show(stop, false);
    show(again, failed);
    show(bar, false);
  };
  const one = {
    send() {
      sending += 1;
      const form = new FormData();
      const { job } = wishes, fits = new TextEncoder().encode(file.name).length <= NAME_BYTES_MAX;
      // A form writes some characters of a name differently; a tag does not.
      const tags = fits ? { file: file.name, ...job.tags } : job.tags;
      // The order counts: what is wanted comes before what takes long.
      form.append('job', JSON.stringify({ ...job, tags }));
      if (wishes.transcript) form.append('transcript', wishes.transcript, wishes.transcript.name);
      form.append('audio', file, file.name);
      way = new XMLHttpRequest();
      way.open('POST', '/v1/jobs');
      for (const [header, value] of Object.entries(headers({ 'Idempotency-Key': own }))) way.setRequestHeader(header, value);
      way.upload.addEventListener('progress', (event) => {
        if (!event.lengthComputable) return;
        bar.max = event.total;
        bar.value = event.loaded;
        write(state, event.loaded < event.total ? `${bytes(event.loaded)} of ${bytes(event.total)}` : 'sent; being stored');
      });
      way.addEventListener('loadend', () => {
        sending -= 1;
        answered(way);
        next();
      });
      write(state, 'sending');
      way.send(form);
    },
  };
  function answered(from) {
    if (from.status >= 200 && from.status < 300) {
      const job = JSON.parse(from.responseText);
      over('', false);
      state.append(element('a', { href: `#/jobs/${job.id}` }, job.state === 'completed' ? 'completed: known already' : 'submitted'));
      say(`${printable(file.name)} is submitted.`);
      if (!byId('fleet').hidden) changed(job);
      return;
    }
    // A server that refuses early closes the connection, and a browser then shows no answer at all.
    const silent = 'The connection broke off. Nothing was submitted, or it is known under its own key: sending it again is safe.';
    const wrong = from.status ? problemOf(from.status, from.responseText) : new Problem(0, 'broken', one.stopped ? 'Stopped.' : silent);
    over(wrong.message, true);
    say(`${printable(file.name)} is not submitted: ${wrong.message}`);
  }
  stop.addEventListener('click', () => {
    one.stopped = true;
    const place = waiting.indexOf(one);
    if (place >= 0) {
      waiting.splice(place, 1);
      over('Stopped.', true);
    } else if (way) way.abort();
    again.focus();
  });
  again.addEventListener('click', () => {
    one.stopped = false;
    mark(line, 'class', null);
    show(bar, true);
    show(stop, true);
    show(again, false);
    write(state, 'waiting');
    waiting.push(one);
    stop.focus();
    next();
  });
  return one;
}

byId('choose').addEventListener('click', () => byId('files').click());
byId('files').addEventListener('change', () => {
  take(byId('files').files);
  byId('files').value = '';
});
// A file that is dropped beside the place must not take the page away.
for (const name of ['dragover', 'drop']) window.addEventListener(name, (event) => event.preventDefault());
let depth = 0;
window.addEventListener('dragenter', () => { depth += 1; mark(byId('drop'), 'class', 'over'); });
window.addEventListener('dragleave', () => { depth = Math.max(0, depth - 1); if (!depth) mark(byId('drop'), 'class', null); });
window.addEventListener('drop', (event) => {
  depth = 0;
  mark(byId('drop'), 'class', null);
  if (!byId('fleet').hidden && event.dataTransfer) take(event.dataTransfer.files);
});
