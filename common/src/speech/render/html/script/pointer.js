// Mouse, touch and wheel on the timeline and its overview.
const pointers = new Map();
let pressed = null;     // where one pointer went down, and what it has done since

function local(event, target = stage) {
  const box = target.getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
}

stage.addEventListener('pointerdown', (event) => {
  if (event.button !== 0) return;
  const point = local(event);
  pointers.set(event.pointerId, point);
  if (pointers.size === 1) pressed = { point, start: view.start, moved: false };
  tip.hidden = true;
});

stage.addEventListener('pointermove', (event) => {
  const point = local(event);
  if (!pointers.has(event.pointerId)) {
    if (event.pointerType !== 'touch') {
      const turn = turnAt(point.x, point.y);
      stage.classList.toggle('on-turn', turn !== null);
      showTip(turn, point.x, point.y);
    }
    return;
  }
  const before = [...pointers.values()];
  pointers.set(event.pointerId, point);
  if (pointers.size === 2) {
    pinch(before, [...pointers.values()]);
  } else if (pressed) {
    const way = point.x - pressed.point.x;
    if (Math.abs(way) > 5 && !pressed.moved) {
      pressed.moved = true;
      stage.setPointerCapture(event.pointerId);
      stage.classList.add('dragged');
    }
    if (pressed.moved) {
      movedByHand = performance.now();
      look(pressed.start - (way / width) * (view.end - view.start), view.end - view.start);
    }
  }
});

function pinch([a, b], [c, d]) {
  const wide = Math.max(12, Math.abs(a.x - b.x)), wider = Math.max(12, Math.abs(c.x - d.x));
  const around = toTime((a.x + b.x) / 2), centre = (c.x + d.x) / 2;
  const span = Math.min(duration, Math.max(SPAN_MIN, ((view.end - view.start) * wide) / wider));
  if (pressed) pressed.moved = true;
  movedByHand = performance.now();
  look(around - (centre / width) * span, span);
}

function release(event) {
  const known = pointers.delete(event.pointerId);
  stage.classList.remove('dragged');
  if (known && pointers.size === 0 && pressed && !pressed.moved && event.type === 'pointerup') {
    const point = local(event), turn = turnAt(point.x, point.y);
    if (turn) choose(turn.index, true);
    else if (point.y >= 0 && point.y <= height) seek(toTime(point.x));
  }
  // A finger that stays down after a pinch goes on as a drag from where it is.
  const left = [...pointers.values()][0];
  pressed = left ? { point: left, start: view.start, moved: true } : null;
}
stage.addEventListener('pointerup', release);
stage.addEventListener('pointercancel', release);
stage.addEventListener('pointerleave', () => { tip.hidden = true; });
stage.addEventListener('dblclick', (event) => zoom(0.4, toTime(local(event).x)));

stage.addEventListener('wheel', (event) => {
  const sideways = event.shiftKey && !event.deltaX ? event.deltaY : event.deltaX;
  if (event.ctrlKey || event.metaKey) {
    zoom(Math.exp(Math.max(-60, Math.min(60, event.deltaY)) * 0.012), toTime(local(event).x));
  } else if (sideways && Math.abs(sideways) >= Math.abs(event.shiftKey ? 0 : event.deltaY)) {
    look(view.start + (sideways / width) * (view.end - view.start), view.end - view.start);
  } else {
    return;   // an upright wheel scrolls the page
  }
  movedByHand = performance.now();
  tip.hidden = true;
  event.preventDefault();
}, { passive: false });

function overviewTo(event) {
  const span = view.end - view.start;
  const time = (local(event, overview).x / Math.max(1, overview.clientWidth)) * duration;
  movedByHand = performance.now();
  if (span >= duration) seek(time);
  else look(time - span / 2, span);
}
overview.addEventListener('pointerdown', (event) => {
  overview.setPointerCapture(event.pointerId);
  overviewTo(event);
});
overview.addEventListener('pointermove', (event) => {
  if (event.buttons) overviewTo(event);
});
