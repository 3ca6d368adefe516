// Where we are, with or without sound, and everything that follows it.
const audio = byId('audio'), player = byId('player'), saying = byId('saying'), live = byId('live');
const SPEEDS = [1, 1.25, 1.5, 2, 0.75];
let now = 0, speaking = '';

function playing() {
  return audio !== null && !audio.paused && !audio.ended;
}

function seek(time) {
  now = Math.min(duration, Math.max(0, time));
  if (audio) audio.currentTime = now / 1000;
  follow(true);
  drawOverview();
}

// Goes to a span and plays it where there is sound.
function go(start, end) {
  seek(start);
  reveal(start, end);
  // Refused when there is nothing that can be played; the error event says so to the reader.
  if (audio) audio.play().catch(() => {});
}

function follow(jumped) {
  byId('now').textContent = clock(now);
  const time = now + 1, span = view.end - view.start;
  const lanes = speakers.map((speaker) => holding(speaker.turns, time) >= 0);
  const row = holding(rows, time);
  const sign = lanes.join() + row;
  if (sign !== speaking) {
    speaking = sign;
    [...byId('labels').children].forEach((label, lane) => label.classList.toggle('speaking', lanes[lane]));
    showCurrent(row, true);
    say(row, lanes);
  }
  const byHand = performance.now() - movedByHand < 4000;
  if (!jumped && !byHand && span < duration && (now < view.start || now > view.start + 0.9 * span)) {
    look(now - 0.1 * span, span);
  }
  placePlayhead();
}

function say(row, lanes) {
  saying.textContent = '';
  saying.className = '';
  const text = row >= 0 ? rows[row].text : null;
  const who = speakers.filter((_, lane) => lanes[lane]);
  if (text !== null) {
    saying.className = colourClass(rows[row].speaker);
    saying.append(element('b', '', shownName(rows[row].speaker)), ` ${text}`);
  } else if (who.length) {
    who.forEach((speaker, index) => {
      if (index) saying.append(' and ');
      const name = element('b', speaker.colour, speaker.shown);
      saying.append(name);
    });
  }
}

function tick() {
  if (!playing()) return;
  now = Math.min(duration, audio.currentTime * 1000);
  follow(false);
  requestAnimationFrame(tick);
}

function toggle() {
  if (!audio) return;
  if (playing()) audio.pause();
  else audio.play().catch(() => {});
}

function startPlayer() {
  if (!audio) {
    document.querySelectorAll('.verb').forEach((verb) => { verb.textContent = 'go to'; });
    return;
  }
  player.hidden = false;
  if (turns.length) saying.textContent = 'Choose a turn';
  byId('whole').textContent = ` / ${clock(Math.round(duration / 1000) * 1000)}`;
  const shown = () => {
    player.classList.toggle('playing', playing());
    byId('play').setAttribute('aria-label', playing() ? 'Pause' : 'Play');
    placePlayhead();
    drawOverview();
  };
  audio.addEventListener('play', () => { shown(); requestAnimationFrame(tick); });
  audio.addEventListener('pause', shown);
  audio.addEventListener('ended', shown);
  audio.addEventListener('timeupdate', () => { if (playing()) drawOverview(); });
  const failed = () => {
    byId('play').disabled = true;
    byId('silent').hidden = false;
  };
  audio.addEventListener('error', failed);
  if (audio.error) failed();
  byId('play').addEventListener('click', toggle);
  byId('speed').addEventListener('click', () => {
    const rate = SPEEDS[(SPEEDS.indexOf(audio.playbackRate) + 1) % SPEEDS.length];
    audio.playbackRate = rate;
    byId('speed').textContent = `${rate}×`;
    byId('speed').setAttribute('aria-label', `Speed: ${rate} times`);
  });
}
