// The keys: they move the mark, and choose as the controls do.

const STEPS = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]};

function onMapKey(event) {
  const {query, key} = state.mark;
  const step = STEPS[event.key];
  const size = event.shiftKey ? 10 : 1;
  let next = step && [query + step[0] * size, key + step[1] * size];
  if (event.key === "Home") { next = [query, 0]; }
  if (event.key === "End") { next = [query, shown.keys - 1]; }
  if (event.key === "Escape") { state.pinned = false; mapCanvas.classList.remove("pinned"); dim(); }
  if (next && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    const within = (place, count) => Math.min(count - 1, Math.max(0, place));
    state.pinned = true;
    light({query: within(next[0], shown.queries), key: within(next[1], shown.keys)});
  }
}

const KEYS = [
  ["← ↑ → ↓", "move the mark on the map (with Shift by ten; Home, End)"],
  ["[ ]  PageUp PageDown", "previous and next layer"],
  [", .", "previous and next head"],
  ["t  T", "next and previous text"],
  ["s", "next stack: encoder, decoder, cross"],
  ["m", "attention or mask"],
  ["v", "map or lines; on the lines ↑ ↓ go from token to token, ← → to the other side"],
  ["b", "before or after the head mask"],
  ["l", "linear or logarithmic scale"],
  ["click, Esc", "keep the mark where it is; let it follow the pointer again"],
  ["?, Esc", "open this list, close it"],
];
const MOVES = {
  "[": ["layer", -1], PageUp: ["layer", -1], "]": ["layer", 1], PageDown: ["layer", 1], ",": ["head", -1], ".": ["head", 1],
  t: ["text", 1], T: ["text", -1], s: ["stack", 1], m: ["show", 1], v: ["as", 1], b: ["head mask", 1], l: ["scale", 1],
};

function onKey(event) {
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
  if (event.ctrlKey || event.metaKey || event.altKey || typing) {
    return;
  }
  if (event.key === "?") {
    toggleHelp();
  }
  if (byId("help").open) {
    return;
  }
  const paging = event.key.startsWith("Page");
  const move = MOVES[event.key];
  const choice = move && shown && (!paging || event.target === mapCanvas) && choices().find((one) => one.name === move[0]);
  if (choice) {
    event.preventDefault();
    const at = choice.values.findIndex(([value]) => value === choice.now);
    const next = move[0] === "layer" || move[0] === "head"
      ? Math.min(choice.values.length - 1, Math.max(0, at + move[1]))
      : (at + move[1] + choice.values.length) % choice.values.length;
    choice.choose(choice.values[next][0]);
  }
}

// Who had the focus when the list of keys was opened, and gets it back.
let focusedBefore = null;

/** Open the list of keys over the page, or close it. */
function toggleHelp() {
  const help = byId("help");
  if (help.open) {
    help.close();
  } else {
    focusedBefore = document.activeElement;
    help.showModal();
  }
}

function listenToHelp() {
  byId("help-button").addEventListener("click", toggleHelp);
  byId("help").addEventListener("close", () => focusedBefore?.focus({preventScroll: true}));
  byId("help").addEventListener("click", (event) => { if (event.target === byId("help")) { byId("help").close(); } });
}
