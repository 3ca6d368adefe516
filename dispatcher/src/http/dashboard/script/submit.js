// Submitting: files dropped or chosen, with what is wanted of them.
const FILES_MAX = 500;

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
  if (!speakers.checkValidity()) return 'People: a number from 1 to 64, or nothing.';
  if (tag && !/^[^=]+=/.test(tag)) return 'A tag is given as key=value.';
  return '';
}

function take(files) {
  const chosenFiles = [...files].slice(0, FILES_MAX), wrong = badWishes();
  if (wrong) return notice(wrong);
  if (!chosenFiles.length) return;
  const wishes = wishesNow();
  if (wishes.transcript && chosenFiles.length > 1) return notice('A transcript belongs to one recording: choose one, or take the transcript away.');
  if (files.length > FILES_MAX) notice(`The first ${FILES_MAX} of ${files.length} files are taken.`);
  for (const file of chosenFiles) waiting.push(upload(file, wishes));
  // It went with this recording, and is not the next one's.
  if (wishes.transcript) byId('wish-transcript').value = '';
  say(`${plural(chosenFiles.length, 'recording')} to send.`);
  next();
}

byId('choose').addEventListener('click', () => byId('files').click());
byId('files').addEventListener('change', () => {
  take(byId('files').files);
  byId('files').value = '';
});
// Files may fall anywhere on the page, and must not take it away. A chooser takes its own; what holds no files, as text that
// is dragged into a field, is the browser's business.
function bearsFiles(event) {
  const chooser = event.target instanceof Element && event.target.closest('input[type=file]');
  return !chooser && Boolean(event.dataTransfer) && event.dataTransfer.types.includes('Files');
}

function takesFiles() {
  return !byId('fleet').hidden && !byId('ask').open;
}

let depth = 0;
function over(change) {
  depth = change === null ? 0 : Math.max(0, depth + change);
  mark(byId('drop'), 'class', depth && takesFiles() ? 'over' : null);
}
window.addEventListener('dragenter', (event) => over(event.dataTransfer && event.dataTransfer.types.includes('Files') ? 1 : 0));
window.addEventListener('dragleave', () => over(-1));
window.addEventListener('dragover', (event) => {
  if (!bearsFiles(event)) return;
  event.preventDefault();
  if (!takesFiles()) event.dataTransfer.dropEffect = 'none';
});
window.addEventListener('drop', (event) => {
  over(null);
  if (!bearsFiles(event)) return;
  event.preventDefault();
  if (!takesFiles()) return;
  const things = [...event.dataTransfer.items].filter((item) => item.kind === 'file');
  const files = things.filter((item) => !item.webkitGetAsEntry()?.isDirectory).map((item) => item.getAsFile());
  take(files);
  if (files.length < things.length) notice('Folders are not taken: drop the recordings that are in them.');
});
