// What is chosen, the controls that choose it, and what they draw.

const byId = (id) => document.getElementById(id);
const state = {...report.opens, when: "after", show: "attention", as: "map", mark: null, pinned: false, lit: false};
const stackNames = [...new Set(report.calls.map((call) => call.stack))];
let shown = null;
let turn = 0;

const callsOfStack = () => report.calls.filter((call) => call.stack === report.calls[state.call].stack);
const callShown = () => report.calls[state.call];
const hasBefore = () => report.calls.some((call) => call.before);

/** What can be chosen: a name, its values as [value, words], and what choosing does. */
function choices() {
  const calls = callsOfStack();
  const masked = report.masks[callShown().mask].heads > 1;
  return [
    {name: "text", key: "t", values: report.texts.map((text, number) => [number, textName(text, number)]), now: state.text, choose: (text) => show({text, mark: null})},
    {name: "stack", key: "s", values: stackNames.map((name) => [name, name]), now: callShown().stack, choose: chooseStack, few: true},
    {name: "layer", key: "[ ]", values: calls.map((call) => [report.calls.indexOf(call), String(call.layer)]), now: state.call, choose: (call) => show({call: Number(call)})},
    {name: "head", key: ", .", values: callShown().pattern || masked ? headValues() : [], now: state.head, choose: (head) => show({head})},
    {name: "show", key: "m", values: callShown().pattern ? [["attention", "attention"], ["mask", "mask"]] : [], now: state.show, choose: (what) => show({show: what}), few: true},
    {name: "as", key: "v", values: callShown().pattern ? [["map", "map"], ["lines", "lines"]] : [], now: state.as, choose: (as) => show(as === "lines" ? {as, show: "attention"} : {as}), few: true},
    {name: "head mask", key: "b", values: hasBefore() ? [["before", "before"], ["after", "after"]] : [], now: state.when, choose: (when) => show({when}), few: true},
    {name: "scale", key: "l", values: callShown().pattern ? [["linear", "linear"], ["log", "log"]] : [], now: state.scale, choose: (scale) => show({scale}), few: true},
  ].filter((choice) => choice.values.length > 1);
}

function textName(text, number) {
  return text ? `${number + 1}: ${text.length > 60 ? `${text.slice(0, 59)}…` : text}` : `text ${number + 1}`;
}

/** The heads of a layer, and the mean of them. */
function headValues() {
  const {heads, pattern} = callShown();
  const values = Array.from({length: heads}, (_, head) => [head, headName(head)]);
  return pattern && heads > 1 ? [...values, [MEAN, `mean of ${heads}`]] : values;
}

function headName(head) {
  const call = callShown();
  const gate = call.gates.length ? call.gates[head] : 1;
  const gated = gate === 1 ? "" : gate === 0 ? " (silenced)" : ` (× ${gate})`;
  return `${head}${gated}`;
}

function chooseStack(name) {
  const calls = report.calls.filter((call) => call.stack === name);
  const same = calls.find((call) => call.layer === callShown().layer) || calls[0];
  show({call: report.calls.indexOf(same), mark: null});
}

/** Build the controls: lists for many values, buttons side by side for few. */
function buildControls() {
  const place = byId("controls");
  const focused = place.contains(document.activeElement) ? document.activeElement.id : "";
  place.replaceChildren(...choices().map((choice) => (choice.few ? buttonsOf(choice) : listOf(choice))));
  if (focused && byId(focused)) {
    byId(focused).focus();
  }
}

const idOf = (...parts) => parts.join("-").replace(/\W+/g, "-");

function listOf(choice) {
  const id = idOf("choose", choice.name);
  const list = element("select", {id, title: `keys: ${choice.key}`},
    ...choice.values.map(([value, words]) => element("option", {value, selected: value === choice.now}, words)));
  list.addEventListener("change", () => choice.choose(typeof choice.now === "number" ? Number(list.value) : list.value));
  return element("div", {className: "control"}, element("label", {for: id}, choice.name), list);
}

function buttonsOf(choice) {
  const label = idOf("label", choice.name);
  const buttons = choice.values.map(([value, words]) => {
    const button = element("button", {type: "button", id: idOf("choose", choice.name, value), "aria-pressed": String(value === choice.now)}, words);
    button.addEventListener("click", () => choice.choose(value));
    return button;
  });
  return element("div", {className: "control", role: "group", "aria-labelledby": label, title: `key: ${choice.key}`},
    element("span", {id: label, className: "name"}, choice.name), element("div", {className: "segments"}, ...buttons));
}

/** Change what is chosen, and draw what that changes. */
async function show(changes) {
  const before = {...state};
  Object.assign(state, changes);
  state.head = Math.min(state.head, callShown().heads - 1);
  turn += 1;
  const mine = turn;
  buildControls();
  const next = await headOf(callShown(), state.head, state.text, state.when);
  if (mine !== turn) {
    return;
  }
  shown = next;
  const moved = state.text !== before.text || before.call === undefined || callShown().stack !== report.calls[before.call].stack;
  drawLarge(moved || changes.first);
  markTile(state);
  const stackMoved = moved || changes.first;
  if (stackMoved) {
    buildGrid(callsOfStack(), state, (call, head) => show({call: report.calls.indexOf(call), head, show: "attention"}));
    buildMasks(callsOfStack(), state, (call) => show({call: report.calls.indexOf(call), show: "mask"}));
  }
  if (stackMoved || state.when !== before.when || state.scale !== before.scale || changes.theme) {
    drawTiles(callsOfStack(), state);
  }
  if (changes.theme) {
    buildMasks(callsOfStack(), state, (call) => show({call: report.calls.indexOf(call), show: "mask"}));
  }
}

function optionsNow() {
  return {show: shown.codes ? state.show : "mask", top: topOf(shown), scale: state.scale, lit: state.lit};
}

/** The largest weight of the real queries of this head, the end of its scale. */
function topOf(head) {
  let most = 0;
  for (let at = 0; head.codes && at < head.codes.length; at += 1) {
    const code = head.codes[at];
    if (code > most && code !== NOT_A_NUMBER && head.real[Math.floor(at / head.keys)] === "1") {
      most = code;
    }
  }
  return weightOf[most] || 1;
}

function drawLarge() {
  const options = optionsNow();
  const {call} = shown;
  const stack = stackNames.length > 1 ? `${call.stack} ` : "";
  const several = report.texts.length > 1 ? `, text ${state.text + 1} of ${report.texts.length}` : "";
  const head = state.head === MEAN ? `mean of the heads of layer ${call.layer}` : `head ${call.layer}.${state.head}`;
  const what = options.show === "mask" ? `${stack}mask of layer ${call.layer}` : `${stack}${head}`;
  byId("map-title").textContent = `${what[0].toUpperCase()}${what.slice(1)}${several}`;
  byId("map-caption").textContent = captionOf(options);
  mapCanvas.setAttribute("aria-label", `${what}${several}: ${shown.queries} queries down, ${shown.keys} keys across`);
  state.mark = state.mark && state.mark.query < shown.queries && state.mark.key < shown.keys ? state.mark : firstMark();
  byId("lines-frame").hidden = !linesDrawn();
  byId("map-frame").hidden = linesDrawn();
  if (linesDrawn()) {
    showLines(shown, options, onLines);
  } else {
    drawMap(shown, options, state.mark);
  }
  byId("legend").replaceChildren(linesDrawn() ? linesLegend(options) : legendElement(shown, options));
  buildStrips(shown, onToken);
  markCell(state.mark);
}

/** Whether lines are drawn, and no map. */
function linesDrawn() {
  return state.as === "lines" && optionsNow().show === "attention";
}

function captionOf(options) {
  const rule = `mask: ${shown.mask.rule}${shown.mask.agrees === false ? ", which does not explain every cell" : ""}`;
  const {call} = shown;
  const known = knownOf(state.call, state.head);
  const role = options.show === "attention" ? known.standsOut || roleWords(known) : "";
  const on = role && report.texts.length > 1 ? ` on text ${report.opens.text + 1}` : "";
  const shared = options.show === "attention" && state.head !== MEAN && call.keyHeads < call.heads
    ? `, key head ${Math.floor(state.head / (call.heads / call.keyHeads))} of ${call.keyHeads}` : "";
  const gated = call.gates.length && call.gates[state.head] < 1
    ? `; ${call.gates[state.head] === 0 ? "silenced" : `scaled to ${call.gates[state.head]}`} by the head mask, drawn before its gate` : "";
  const fold = !linesDrawn() && large.layout && large.layout.fold > 1 ? `; ${large.layout.fold} × ${large.layout.fold} cells share a place` : "";
  const axes = linesDrawn()
    ? `Queries left, keys right; weights below ${+(LEAST_OF_TOP * options.top).toPrecision(2)} have no line` : "Queries down, keys across";
  return `${role ? `${role}${on} · ` : ""}${axes}${shared} · ${rule}${gated}${fold}`;
}

/** The cell worth reading first: the largest weight a real query gives to another token than the first or itself,
 * neither of them a special one; where there is none, the largest of all; without weights the last real query looking at itself. */
function firstMark() {
  const last = Math.max(0, shown.real.lastIndexOf("1"));
  return largestCell(true) || largestCell(false) || {query: last, key: Math.min(shown.keys - 1, last + shown.offset)};
}

function largestCell(telling) {
  const first = shown.keyTokens.findIndex((token) => token[1] !== "padding");
  const dull = shown.keyTokens.map((token, key) => key === first || token[1] === "special" || token[1] === "padding");
  let [most, found] = [0, null];
  for (let query = 0; shown.codes && query < shown.queries; query += 1) {
    if (telling && shown.queryTokens[query][1] === "special") {
      continue;
    }
    const own = shown.call.stack === "cross" ? -1 : query + shown.offset;
    for (let key = 0; shown.real[query] === "1" && key < shown.keys; key += 1) {
      const at = query * shown.keys + key;
      const skipped = shown.reasons[at] !== 0 || shown.codes[at] === NOT_A_NUMBER || (telling && (dull[key] || key === own));
      if (!skipped && weightAt(shown, at) > most) {
        [most, found] = [weightAt(shown, at), {query, key}];
      }
    }
  }
  return found;
}

/** A token beside the lines is looked at: its lines alone are shown, and the strongest of them is read. */
function onLines(focus, chosen) {
  if (state.pinned && !chosen && focus) {
    return;
  }
  state.pinned = chosen;
  state.lit = Boolean(focus);
  focusLines(focus);
  if (focus) {
    markCell(strongestOf(focus));
  }
}

function strongestOf({side, number}) {
  const [count, at] = side === "query"
    ? [shown.keys, (other) => number * shown.keys + other] : [shown.queries, (other) => other * shown.keys + number];
  let best = 0;
  for (let other = 0; other < count; other += 1) {
    const stronger = !(weightAt(shown, at(best)) >= weightAt(shown, at(other)));
    best = shown.reasons[at(other)] === 0 && (stronger || shown.reasons[at(best)] !== 0) ? other : best;
  }
  return side === "query" ? {query: number, key: best} : {query: best, key: number};
}

function markCell(mark) {
  state.mark = mark;
  if (!linesDrawn()) {
    drawMark(mark, state.lit);
  }
  byId("copied").textContent = "";
  readCell(shown, mark);
  markStrips(shown, mark);
  fillRow(shown, mark);
}

/** Mark a cell that somebody points at: its row and column are lit. */
function light(mark) {
  state.lit = true;
  markCell(mark);
}

function dim() {
  if (shown && state.lit && !state.pinned) {
    state.lit = false;
    if (linesDrawn()) {
      focusLines(null);
    } else {
      drawMark(state.mark, false);
    }
  }
}

/** A token of a strip is pointed at or chosen: its row, its column, or both are lit. */
function onToken(side, number, chosen) {
  if (state.pinned && !chosen) {
    return;
  }
  if (linesDrawn()) {
    onLines({side: side === "key" ? "key" : "query", number: side === "key" ? number : Math.min(number, shown.queries - 1)}, chosen);
    return;
  }
  state.pinned = chosen;
  const query = side === "key" ? state.mark.query : Math.min(number, shown.queries - 1);
  const key = side === "query" ? state.mark.key : number;
  light({query, key});
}

function listenToMap() {
  let waiting = false;
  mapCanvas.addEventListener("pointermove", (event) => {
    const mark = state.pinned || waiting ? null : cellAt(event, state.mark);
    if (mark && (mark.query !== state.mark.query || mark.key !== state.mark.key)) {
      waiting = true;
      requestAnimationFrame(() => { waiting = false; light(mark); });
    }
  });
  mapCanvas.addEventListener("click", (event) => {
    const mark = cellAt(event, state.mark);
    if (mark) {
      state.pinned = event.pointerType !== "touch" && !(state.pinned && mark.query === state.mark.query && mark.key === state.mark.key);
      mapCanvas.classList.toggle("pinned", state.pinned);
      light(mark);
    }
  });
  mapCanvas.addEventListener("pointerleave", () => dim());
  byId("strips").addEventListener("pointerleave", () => dim());
  lineFrame.addEventListener("pointerleave", () => dim());
  lineFrame.addEventListener("scroll", () => paintLines(), {passive: true});
  mapCanvas.addEventListener("keydown", onMapKey);
  byId("row").addEventListener("toggle", () => fillRow(shown, state.mark));
}

/** Light or dark: as the system has it, until the button is pressed; on paper always light. */
function setTheme(theme, redraw) {
  document.documentElement.dataset.theme = theme;
  byId("theme").textContent = theme === "dark" ? "Light" : "Dark";
  byId("theme").setAttribute("aria-label", `Switch to ${theme === "dark" ? "light" : "dark"} colours`);
  if (redraw && shown) {
    document.querySelectorAll(".tile canvas").forEach((canvas) => repaints.get(canvas)?.());
    drawLarge();
    show({theme: true});
  }
}

function listenToTheme() {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  let kept = dark.matches ? "dark" : "light";
  setTheme(kept, false);
  byId("theme").addEventListener("click", () => {
    kept = kept === "dark" ? "light" : "dark";
    setTheme(kept, true);
  });
  dark.addEventListener("change", () => { kept = dark.matches ? "dark" : "light"; setTheme(kept, true); });
  window.addEventListener("beforeprint", () => {
    document.querySelectorAll("details.note").forEach((note) => { note.open = true; });
    setTheme("light", kept === "dark");
  });
  window.addEventListener("afterprint", () => setTheme(kept, kept === "dark"));
}

function fillAbout() {
  byId("title").replaceChildren(element("bdi", {}, report.title));
  byId("subtitle").textContent = report.subtitle;
  byId("evidence").textContent = report.evidence;
  if (report.calls.some((call) => call.pattern)) {
    byId("precision").textContent = `Weights are stored in ${report.levels.length} levels, closer to each other near zero: `
      + `each is at most ${+report.largestError.toPrecision(2)} from what the model computed, and shown with how far it may be off.`;
  }
  const terms = (pairs) => pairs.flatMap(([name, words]) => [element("dt", {}, name), element("dd", {}, element("bdi", {}, words))]);
  byId("facts").append(...terms(report.facts));
  byId("help").querySelector("dl").append(...terms(KEYS));
}

/** Fill the page; its root says `data-ready` when all that is seen first is there. */
async function start() {
  listenToTheme();
  listenToHelp();
  document.addEventListener("keydown", onKey);
  fillAbout();
  fillSection("notes", report.notes);
  fillSection("findings", report.findings);
  fillSection("changes", report.changes);
  fillSection("asked", report.asked);
  document.querySelectorAll("figure .scroll").forEach((place) => watchEdges(place));
  if (report.calls.length) {
    await startPictures();
  } else {
    byId("notes").hidden = false;
    byId("notes").append(element("p", {className: "note plain"}, "This run has no attention to show."));
  }
  document.documentElement.dataset.ready = "true";
}

async function startPictures() {
  if (!canUnpack()) {
    byId("notes").hidden = false;
    byId("notes").append(element("p", {className: "note warning"},
      "This browser cannot unpack the pictures (it has no DecompressionStream): open the report in a newer one."));
    return;
  }
  byId("controls").hidden = false;
  byId("body").hidden = false;
  listenToMap();
  listenToTools();
  fillStanding(({call, head}) => { state.pinned = false; show({call, head, text: report.opens.text, show: "attention", mark: null}); });
  fillRoleFilter();
  watchEdges(byId("tiles"), byId("grid-hint"));
  watchEdges(lineFrame);
  new ResizeObserver(debounced(() => { if (shown) { drawLarge(); } })).observe(byId("large"));
  await show({first: true});
}

/** A function that runs once when its calls have stopped, and not for the first: nothing has changed by then. */
function debounced(act) {
  let timer = 0;
  let calls = 0;
  return () => {
    calls += 1;
    clearTimeout(timer);
    timer = calls > 1 ? setTimeout(act, 120) : 0;
  };
}

start();
