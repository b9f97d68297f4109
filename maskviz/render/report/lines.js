// A head as lines: queries at the left, keys at the right, a line for each weight between them.

const LINE_ROW = 22; // CSS pixels from token to token
const LEAST_OF_TOP = 0.02; // weights below this share of the largest have no line
const lineCanvas = document.getElementById("line-canvas");
const lineFrame = document.getElementById("lines");
const lines = {shown: null, options: null, focus: null};

/** Show a head as lines; `onFocus` hears of the token somebody looks at, null for none, and whether to stay with it. */
function showLines(shown, options, onFocus) {
  const kept = lines.shown && lines.shown.queryTokens === shown.queryTokens && lines.shown.keyTokens === shown.keyTokens;
  Object.assign(lines, {shown, options, focus: kept ? lines.focus : null});
  if (!kept) {
    fillEnds("query", document.getElementById("line-queries"), shown.queryTokens, onFocus);
    fillEnds("key", document.getElementById("line-keys"), shown.keyTokens, onFocus);
  }
  focusLines(lines.focus);
  lineFrame.dispatchEvent(new Event("scroll")); // whoever watches its edges looks again
}

function fillEnds(side, list, tokens, onFocus) {
  list.replaceChildren(...tokens.map((token, number) => {
    const padding = side === "query" ? lines.shown.real[number] === "0" : token[1] === "padding";
    const made = element("li", {className: `end ${padding ? "padding" : token[1]}`, role: "option", tabindex: number === 0 ? "0" : "-1"},
      tokenElement(token), token[2] === null ? "" : element("span", {className: "place"}, String(token[2])));
    made.addEventListener("pointerenter", () => onFocus({side, number}, false));
    made.addEventListener("focus", () => onFocus({side, number}, false));
    made.addEventListener("click", () => onFocus({side, number}, true));
    made.addEventListener("keydown", (event) => walkEnds(event, side, number, onFocus));
    return made;
  }));
}

const listOfSide = (side) => document.getElementById(side === "query" ? "line-queries" : "line-keys");

function walkEnds(event, side, number, onFocus) {
  const last = listOfSide(side).children.length - 1;
  const places = {ArrowUp: number - 1, ArrowDown: number + 1, Home: 0, End: last};
  let next = null;
  if (event.key in places) {
    next = listOfSide(side).children[Math.min(last, Math.max(0, places[event.key]))];
  } else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
    const list = listOfSide(event.key === "ArrowLeft" ? "query" : "key");
    next = list.children[Math.min(list.children.length - 1, number)];
  } else if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    onFocus({side, number}, true);
  } else if (event.key === "Escape") {
    onFocus(null, false);
  }
  if (next) {
    event.preventDefault();
    event.stopPropagation();
    next.focus();
  }
}

/** Show the lines of one token alone; of all for null. */
function focusLines(focus) {
  lines.focus = focus;
  const {shown} = lines;
  for (const side of ["query", "key"]) {
    [...listOfSide(side).children].forEach((one, number) => {
      const own = focus && focus.side === side && focus.number === number;
      const at = focus && (focus.side === "query" ? focus.number * shown.keys + number : number * shown.keys + focus.number);
      const level = focus && focus.side !== side ? lineLevel(at) : 0;
      one.setAttribute("aria-selected", String(Boolean(own)));
      one.setAttribute("tabindex", own || (number === 0 && (!focus || focus.side !== side)) ? "0" : "-1");
      one.style.setProperty("--level", `${Math.round(70 * level)}%`);
      one.classList.toggle("far", Boolean(focus) && focus.side !== side && !level);
    });
  }
  paintLines();
}

/** How strong the line of a cell is, 0 to 1; 0 for none: where the mask blocks, and for weights that are too small. */
function lineLevel(at) {
  const {shown, options} = lines;
  const weight = shown.reasons[at] === 0 ? weightAt(shown, at) : 0;
  return weight >= LEAST_OF_TOP * options.top ? Math.min(1, Math.max(0.04, levelOf(weight, options.top, options.scale))) : 0;
}

/** The lines that are seen between two heights: [query, key, level] each; those of padding are seen on request alone. */
function linesBetween(top, bottom) {
  const {shown, focus} = lines;
  const found = [];
  for (let query = 0; query < shown.queries; query += 1) {
    const asked = focus && focus.side === "query" && focus.number === query;
    if ((focus && focus.side === "query" && !asked) || (shown.real[query] === "0" && !asked)) {
      continue;
    }
    for (let key = 0; key < shown.keys; key += 1) {
      const [from, to] = [(query + 0.5) * LINE_ROW, (key + 0.5) * LINE_ROW];
      const seen = Math.max(from, to) >= top && Math.min(from, to) <= bottom;
      const level = seen && (!focus || focus.side === "query" || focus.number === key) ? lineLevel(query * shown.keys + key) : 0;
      if (level) {
        found.push([query, key, level]);
      }
    }
  }
  return found.sort((one, other) => one[2] - other[2]);
}

function paintLines() {
  const ratio = Math.max(1, window.devicePixelRatio || 1);
  const rows = Math.max(lines.shown.queries, lines.shown.keys);
  const [width, height] = [lineCanvas.parentElement.clientWidth && lineCanvas.clientWidth, Math.min(lineFrame.clientHeight, rows * LINE_ROW)];
  const top = lineFrame.scrollTop;
  lineCanvas.width = Math.round(width * ratio);
  lineCanvas.height = Math.round(height * ratio);
  lineCanvas.style.height = `${height}px`;
  const context = lineCanvas.getContext("2d");
  context.scale(ratio, ratio);
  const found = linesBetween(top, top + height);
  strokeLines(context, found, {left: 0, right: width, above: -top});
  lineCanvas.setAttribute("aria-label", linesWords(found.length));
}

function linesWords(count) {
  const {shown, focus} = lines;
  const tokens = focus && (focus.side === "query" ? shown.queryTokens : shown.keyTokens);
  return `${count} line${count === 1 ? "" : "s"}${focus ? ` of ${focus.side} ${named(tokens[focus.number])}` : ""}`;
}

function strokeLines(context, found, {left, right, above}) {
  const bend = (right - left) * 0.4;
  for (const [query, key, level] of found) {
    const [from, to] = [above + (query + 0.5) * LINE_ROW, above + (key + 0.5) * LINE_ROW];
    context.globalAlpha = 0.08 + 0.92 * level;
    context.lineWidth = 0.6 + 3.2 * level;
    context.strokeStyle = styleText(lines.shown.real[query] === "0" ? "--quiet" : "--link");
    context.beginPath();
    context.moveTo(left, from);
    context.bezierCurveTo(left + bend, from, right - bend, to, right, to);
    context.stroke();
  }
  context.globalAlpha = 1;
}

/** The lines with their tokens as a picture of its own. */
function linesPicture() {
  const {shown} = lines;
  const rows = Math.max(shown.queries, shown.keys);
  const ratio = Math.min(2, 16000 / (rows * LINE_ROW));
  const [room, middle] = [170, 360];
  const canvas = document.createElement("canvas");
  canvas.width = Math.ceil((2 * room + middle) * ratio);
  canvas.height = Math.ceil(rows * LINE_ROW * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  strokeLines(context, linesBetween(0, rows * LINE_ROW), {left: room, right: room + middle, above: 0});
  const [queries, keys] = [shown.queryTokens, shown.keyTokens];
  queries.forEach((token, number) => drawEnd(context, token, {x: room - 6, y: (number + 0.5) * LINE_ROW, align: "right"}, shown.real[number] === "1"));
  keys.forEach((token, number) => drawEnd(context, token, {x: room + middle + 6, y: (number + 0.5) * LINE_ROW, align: "left"}, token[1] !== "padding"));
  return {canvas, ratio};
}

function drawEnd(context, token, {x, y, align}, real) {
  context.save();
  context.translate(x, y);
  context.font = `12px ${styleText("--label-font")}`;
  context.textBaseline = "middle";
  context.textAlign = align;
  drawIn(context, cut(context, labelOf(token), 158), 0, real ? "--ink" : "--quiet");
  context.restore();
}

/** What the lines mean. */
function linesLegend(options) {
  const sample = (strong, words) => element("span", {className: "entry"}, element("span", {className: strong ? "strand strong" : "strand", "aria-hidden": "true"}), words);
  const made = element("div", {className: "legend"}, sample(false, `${+(LEAST_OF_TOP * options.top).toPrecision(2)}`),
    sample(true, `${+options.top.toPrecision(3)}, ${options.scale === "log" ? "logarithmic" : "linear"}`),
    element("span", {className: "entry quiet"}, "no line: blocked, or less"));
  if (lines.shown.real.includes("0")) {
    made.append(element("span", {className: "entry quiet"}, "struck through: padding"));
  }
  return made;
}
