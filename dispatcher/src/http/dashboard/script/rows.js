// Tables whose rows stay the same elements while what they show changes: focus, selection and reading place survive.
// Roles are spelled out because on a narrow screen rows become cards, which takes the tables' own meaning away; there each
// cell shows, and says, its column's name. While a pointer or a focus that was moved lately is in any of the tables, rows
// change but neither come nor go in all of them, since they stand one above the other: what somebody is about to press stays
// where it is.
const HOLD_MS = 8000;
const bodies = [], releases = [];
let used = -Infinity;
const inUse = () => performance.now() - used < HOLD_MS && bodies.some((body) => body.matches(':hover') || body.contains(document.activeElement));
function table(target, columns, make) {
  const head = element('tr', { role: 'row' });
  for (const { title, quiet, numeric } of columns) {
    const cell = element('th', { scope: 'col', role: 'columnheader', class: numeric ? 'n' : null });
    cell.append(quiet ? element('span', { class: 'quiet' }, title) : title);
    head.append(cell);
  }
  const body = element('tbody', { role: 'rowgroup' });
  target.append(element('thead', { role: 'rowgroup' }, head), body);
  const rows = new Map();
  let held = null, timer = 0;

  function place(items) {
    const kept = new Set(items.map((item) => item.id));
    for (const [id, row] of rows) {
      if (!kept.has(id)) {
        if (row.element.contains(document.activeElement)) target.closest('section').querySelector('h2').focus();
        row.element.remove();
        rows.delete(id);
      }
    }
    let after = null;
    for (const item of items) {
      let row = rows.get(item.id);
      if (!row) {
        row = newRow(columns, make);
        rows.set(item.id, row);
      }
      row.update(item);
      const there = after ? after.nextSibling : body.firstChild;
      if (there !== row.element) body.insertBefore(row.element, there);
      after = row.element;
    }
  }

  function release() {
    clearTimeout(timer);
    if (!held) return;
    if (inUse()) {
      timer = setTimeout(release, used + HOLD_MS - performance.now() + 10);
      return;
    }
    const items = held;
    held = null;
    place(items);
  }

  for (const name of ['pointermove', 'pointerdown', 'keydown', 'focusin']) {
    body.addEventListener(name, () => { used = performance.now(); });
  }
  bodies.push(body);
  releases.push(release);
  // Where pointer or focus goes is known a moment later.
  for (const name of ['pointerleave', 'focusout']) body.addEventListener(name, () => setTimeout(() => releases.forEach((of) => of())));
  return {
    // Shows these items, in this order; `now` says that somebody asked for them.
    show(items, now = false) {
      held = null;
      if (now || !inUse()) return place(items);
      for (const item of items) if (rows.has(item.id)) rows.get(item.id).update(item);
      held = items;
      release();
    },
    // Shows an item anew where it is in sight.
    touch(id, item) {
      if (held) held = held.map((old) => (old.id === id ? item : old));
      const row = rows.get(id);
      if (row) row.update(item);
    },
  };
}

// `make` gives a cell's content for each column, and a function that fills it from an item.
function newRow(columns, make) {
  const { cells, update } = make();
  const row = element('tr', { role: 'row' });
  columns.forEach(({ title, name, numeric, quiet }, index) => {
    const tag = index === 0 ? 'th' : 'td';
    const cell = element(tag, { role: index === 0 ? 'rowheader' : 'cell', scope: index === 0 ? 'row' : null, class: `${name || ''}${numeric ? ' n' : ''}` });
    if (!quiet && index > 0) cell.append(element('span', { class: 'label' }, title));
    cell.append(...[cells[index]].flat());
    row.append(cell);
  });
  return { element: row, update: (item) => update(item, row) };
}

// A button that is pressed once at a time, and says aloud what came of it.
function action(button, work, resting = () => false) {
  button.addEventListener('click', async () => {
    if (resting() || button.getAttribute('aria-disabled') === 'true') return;
    button.setAttribute('aria-disabled', 'true');
    try {
      await work();
    } catch (error) {
      trouble(error);
    } finally {
      button.removeAttribute('aria-disabled');
    }
  });
}
