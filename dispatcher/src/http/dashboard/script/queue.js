// The queue in numbers: the document of `/v1/queue`, put into words and never calculated with, but for one sum.
const FACTS = [
  ['Ready', 'ready', (queue) => sumOf(queue, 'ready'), number],
  ['In flight', 'running', (queue) => sumOf(queue, 'running'), number],
  ['Audio waiting', 'audio_hours_waiting', (queue) => queue.audio_hours_waiting, (hours) => `${number(hours)} h`],
  ['Time to drain', 'drain_s', (queue) => queue.drain_s, (seconds) => (seconds === 0 ? 'empty' : length(seconds))],
  ['Waiting longest', 'oldest_s', (queue) => queue.oldest_s, length],
  ['Arriving', 'rates.arrived_per_s', (queue) => queue.rates.arrived_per_s, (rate) => `${number(rate)} /s`],
  ['Completed', 'rates.completed_per_s', (queue) => queue.rates.completed_per_s, (rate) => `${number(rate)} /s`],
  ['Audio done', 'rates.audio_s_per_s', (queue) => queue.rates.audio_s_per_s, (rate) => `${number(rate)} s/s`],
  ['Outbox', 'outbox', (queue) => queue.outbox, number],
  ['Dead', 'dead', (queue) => queue.dead, number],
  ['Workers', 'workers.alive', (queue) => queue.workers.alive, number],
  ['Workers wanted', 'workers.wanted', (queue) => queue.workers.wanted, number],
];
const STATES_OF_LANE = ['ready', 'running', 'retryable', 'scheduled'];
const shownFacts = new Map();

function sumOf(queue, state) {
  return LANES.reduce((sum, lane) => sum + queue.depth[lane][state], 0);
}

for (const [title, name] of FACTS) {
  const value = element('dd', { 'data-fact': name }, '–');
  shownFacts.set(name, value);
  byId('facts').append(element('div', {}, element('dt', {}, title), value));
}

{
  const head = element('tr', {}, element('th', { scope: 'col' }, 'Priority'));
  for (const state of STATES_OF_LANE) head.append(element('th', { scope: 'col', class: 'n' }, state));
  byId('lanes').append(element('thead', {}, head));
  const body = element('tbody');
  for (const lane of LANES) {
    const row = element('tr', {}, element('th', { scope: 'row' }, element('i', { class: `dot ${lane}` }), lane));
    for (const state of STATES_OF_LANE) {
      const name = `depth.${lane}.${state}`;
      const cell = element('td', { class: 'n', 'data-fact': name }, '–');
      shownFacts.set(name, cell);
      row.append(cell);
    }
    body.append(row);
  }
  byId('lanes').append(body);
}

function fact(name, value, text) {
  const target = shownFacts.get(name);
  mark(target, 'data-value', JSON.stringify(value));
  write(target, text);
}

function showQueue(queue) {
  tellTime(queue.at);
  for (const [, name, value, words] of FACTS) fact(name, value(queue), words(value(queue)));
  for (const lane of LANES) {
    for (const state of STATES_OF_LANE) fact(`depth.${lane}.${state}`, queue.depth[lane][state], number(queue.depth[lane][state]));
  }
  mark(shownFacts.get('dead'), 'class', queue.dead > 0 ? 'bad' : null);
  write(byId('queue-at'), `as of ${clock(queue.at)}`);
  mark(byId('fleet'), 'data-at', queue.at);
}
