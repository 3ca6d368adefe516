// What is told at the top of the page, in two places, so that neither hides the other: one thing that stands until it is
// over, and what came of something done here, which passes.
const PASSING_MS = 15000;
const standing = byId('standing'), passing = byId('passing');
let passingTimer = 0;

function showNotice() {
  show(byId('notice'), !standing.hidden || !passing.hidden);
}

// Stands until something else does, or until it is taken away with an empty text. `again` offers another try.
function stand(text, again = false) {
  write(standing.firstElementChild, text);
  show(standing.lastElementChild, again);
  show(standing, Boolean(text));
  if (text && passing.dataset.follows === 'yes') notice('');
  showNotice();
}

function notice(text, follows = false) {
  clearTimeout(passingTimer);
  write(passing, text);
  mark(passing, 'data-follows', follows ? 'yes' : null);
  show(passing, Boolean(text));
  if (text) passingTimer = setTimeout(() => notice(''), PASSING_MS);
  showNotice();
}

// Trouble of something that was asked for here. What fails because of what stands, that tells already; what is refused for
// a reason of its own, it does not.
function trouble(error) {
  if (error.name === 'AbortError' || error.status === 401) return;
  const follows = error.code === 'no_answer' || error.status >= 500;
  if (follows && !standing.hidden) return;
  notice(error.message || String(error), follows);
}
