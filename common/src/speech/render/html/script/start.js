// Header, labels, keys; then everything is drawn.
function fact(name, value) {
  const entry = element('div');
  entry.append(element('dt', '', name), element('dd', '', value));
  byId('facts').append(entry);
}

function makeHeader() {
  fact('length', clock(Math.round(duration / 1000) * 1000));
  fact(speakers.length === 1 ? 'speaker' : 'speakers', String(speakers.length));
  fact(turns.length === 1 ? 'turn' : 'turns', turns.length.toLocaleString('en'));
  fact('speech', percent(speech, duration));
  if (speakers.length > 1) fact('overlap', percent(overlapped, speech));
  byId('overlap-key').hidden = overlapped === 0;
  for (const warning of data.warnings) byId('warnings').append(element('li', '', warning));
  byId('warnings').hidden = data.warnings.length === 0;
}

function makeLabels() {
  const spoken = speakers.reduce((sum, speaker) => sum + speaker.speech, 0);
  plot.classList.toggle('many', speakers.length > 10);
  byId('shares').hidden = speakers.length === 0;
  speakers.forEach((speaker, index) => {
    const share = element('i', speaker.colour);
    share.style.flexGrow = Math.max(0.001, speaker.speech / Math.max(1, spoken));
    byId('shares').append(share);
    const label = element('button', speaker.colour), name = element('b', '', speaker.shown);
    name.dir = 'auto';
    label.type = 'button';
    label.title = speaker.name ? `${speaker.name} (${speaker.label})` : speaker.label;
    label.setAttribute('aria-pressed', 'false');
    const count = `${speaker.count} ${speaker.count === 1 ? 'turn' : 'turns'}`;
    label.append(element('i'), name, element('em', '', percent(speaker.speech, spoken)), element('small', '', `${speaker.channel ? `channel ${speaker.channel} · ` : ''}${length(speaker.speech)} · ${count}`));
    label.addEventListener('click', () => showOnly(only === index ? -1 : index));
    byId('labels').append(label);
  });
}

function showOnly(speaker) {
  only = speaker;
  document.body.classList.toggle('has-only', only >= 0);
  [...byId('labels').children].forEach((label, index) => label.setAttribute('aria-pressed', String(index === only)));
  [...byId('shares').children].forEach((share, index) => share.classList.toggle('only', index === only));
  filterRows();
  ask();
}

function choose(index, play) {
  chosen = index;
  const turn = turns[index];
  live.textContent = describe(turn);
  if (play) go(turn.start, turn.end);
  else reveal(turn.start, turn.end);
  ask();
}

// The neighbour of the chosen turn in time, among those shown.
function step(way) {
  let to = chosen >= 0 ? chosen + way : way > 0 ? 0 : turns.length - 1;
  if (chosen < 0 && now > 0) to = Math.max(0, lastStarted(turns, now));
  while (to >= 0 && to < turns.length && only >= 0 && turns[to].speaker !== only) to += way;
  if (to >= 0 && to < turns.length) choose(to, false);
}

// The turn of the next lane that lies nearest in time.
function stepLane(way) {
  const from = chosen >= 0 ? turns[chosen] : { start: now, speaker: way > 0 ? -1 : speakers.length };
  const lane = from.speaker + way;
  if (lane < 0 || lane >= speakers.length || speakers[lane].turns.length === 0) return;
  const items = speakers[lane].turns, before = Math.max(0, lastStarted(items, from.start));
  const after = Math.min(items.length - 1, before + 1);
  const away = (turn) => Math.abs(turn.start - from.start);
  choose((away(items[after]) < away(items[before]) ? items[after] : items[before]).index, false);
}

const anywhere = {
  ' ': toggle,
  '+': () => zoom(0.6),
  '=': () => zoom(0.6),
  '-': () => zoom(1 / 0.6),
  '−': () => zoom(1 / 0.6),
  0: () => look(0, duration),
};
const onStage = {
  ArrowRight: () => step(1),
  ArrowLeft: () => step(-1),
  ArrowDown: () => stepLane(1),
  ArrowUp: () => stepLane(-1),
  Home: () => choose(0, false),
  End: () => choose(turns.length - 1, false),
  Enter: () => { if (chosen >= 0) choose(chosen, true); },
  Escape: () => { chosen = -1; showOnly(-1); },
};

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const inButton = event.target.closest && event.target.closest('button');
  if (event.key === ' ' && inButton) return;
  const inList = list.contains(event.target);
  // Arrows belong to the timeline when it, or nothing in particular, has the focus.
  const free = event.target === stage || event.target === document.body;
  const action = anywhere[event.key] || (free && !inList && turns.length ? onStage[event.key] : undefined);
  if (!action || (event.key === ' ' && !audio)) return;
  if (event.target === document.body && (event.key === 'Home' || event.key === 'End' || event.key === 'ArrowUp' || event.key === 'ArrowDown')) return;
  event.preventDefault();
  action();
});

byId('zoom-in').addEventListener('click', () => zoom(0.6));
byId('zoom-out').addEventListener('click', () => zoom(1 / 0.6));
byId('zoom-fit').addEventListener('click', () => look(0, duration));

makeHeader();
makeLabels();
makeList();
startPlayer();
measure();
new ResizeObserver(measure).observe(plot);
window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', measure);
