// The list of what was said, or of the turns: real elements, made in portions while the browser has time, so that a day
// of speech neither blocks the page nor is missing for a screen reader.
const list = byId('rows');
const PORTION = 100;
const portions = [];
let current = -1, tabbed = 0;

function makePortion(number) {
  const portion = portions[number];
  if (portion.made) return;
  portion.made = true;
  const made = document.createDocumentFragment();
  const end = Math.min(rows.length, (number + 1) * PORTION);
  for (let index = number * PORTION; index < end; index += 1) made.append(makeRow(index));
  portion.holder.append(made);
}

function makeRow(index) {
  const row = rows[index], item = element('li'), button = element('button', colourClass(row.speaker));
  const begins = index === 0 || rows[index - 1].speaker !== row.speaker;
  item.className = row.text === null ? 'turn' : begins ? 'begins' : '';
  item.hidden = only >= 0 && row.speaker !== only;
  button.type = 'button';
  button.dataset.row = index;
  button.tabIndex = index === tabbed ? 0 : -1;
  const time = element('time', '', clock(row.start, row.text === null ? 1 : 0));
  const name = element('b', '', shownName(row.speaker));
  name.dir = 'auto';
  button.append(time, element('i'), name);
  if (row.text === null) {
    button.append(element('span', 'span', `to ${clock(row.end, 1)} · ${length(row.end - row.start)}`));
  } else {
    const said = element('span', 'said', row.text);
    said.dir = 'auto';
    button.append(said);
  }
  item.append(button);
  return item;
}

function makeList() {
  byId('rows-title').textContent = data.segments ? 'Transcript' : 'Turns';
  if (rows.length === 0) {
    list.append(element('p', 'empty', data.segments ? 'The transcript is empty.' : 'Nobody speaks in this recording.'));
    return;
  }
  for (let number = 0; number * PORTION < rows.length; number += 1) {
    const holder = element('ol');
    holder.setAttribute('aria-label', `From ${clock(rows[number * PORTION].start)}`);
    list.append(holder);
    portions.push({ holder, made: false });
  }
  makePortion(0);
  let next = 1;
  const later = window.requestIdleCallback || ((work) => setTimeout(() => work({ timeRemaining: () => 5 }), 20));
  const work = (deadline) => {
    do {
      if (next >= portions.length) return;
      makePortion(next);
      next += 1;
    } while (deadline.timeRemaining() > 8);
    later(work);
  };
  later(work);
}

function buttonOf(index) {
  const number = Math.floor(index / PORTION);
  makePortion(number);
  return portions[number].holder.children[index % PORTION].firstChild;
}

function showCurrent(index, scroll) {
  if (index === current) return;
  if (current >= 0) buttonOf(current).removeAttribute('aria-current');
  current = index;
  if (index < 0) return;
  const button = buttonOf(index);
  button.setAttribute('aria-current', 'true');
  if (!scroll || list.contains(document.activeElement) && document.activeElement !== button && !playing()) return;
  // The player covers the foot of the window: what lies behind it is not in sight.
  const box = button.getBoundingClientRect(), frame = list.getBoundingClientRect();
  const foot = Math.min(frame.bottom, window.innerHeight - (player.hidden ? 0 : player.offsetHeight + 22));
  const seen = Math.max(0, foot - Math.max(0, frame.top));
  if (box.top < frame.top + 20 || box.bottom > foot - 20) {
    list.scrollTop += box.top - frame.top - Math.max(20, seen / 3);
  }
}

function filterRows() {
  portions.forEach((portion, number) => {
    [...portion.holder.children].forEach((item, index) => {
      item.hidden = only >= 0 && rows[number * PORTION + index].speaker !== only;
    });
  });
  byId('only').hidden = only < 0;
  byId('only').textContent = only < 0 ? '' : `only ${speakers[only].shown}`;
}

function focusRow(index, way) {
  let to = index;
  while (to >= 0 && to < rows.length && only >= 0 && rows[to].speaker !== only) to += way;
  if (to < 0 || to >= rows.length) return;
  buttonOf(tabbed).tabIndex = -1;
  tabbed = to;
  const button = buttonOf(to);
  button.tabIndex = 0;
  button.focus();
}

list.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (!button) return;
  const row = rows[Number(button.dataset.row)];
  buttonOf(tabbed).tabIndex = -1;
  tabbed = Number(button.dataset.row);
  button.tabIndex = 0;
  go(row.start, row.end);
});

list.addEventListener('keydown', (event) => {
  const button = event.target.closest('button');
  if (!button || event.ctrlKey || event.metaKey || event.altKey) return;
  const at = Number(button.dataset.row);
  const to = { ArrowDown: [at + 1, 1], ArrowUp: [at - 1, -1], Home: [0, 1], End: [rows.length - 1, -1], PageDown: [Math.min(rows.length - 1, at + 12), 1], PageUp: [Math.max(0, at - 12), -1] }[event.key];
  if (!to) return;
  event.preventDefault();
  event.stopPropagation();
  focusRow(...to);
});
