// The large map: one head or its mask, with tokens along both sides and a mark on one cell.

const LABEL_STEP = 13;
const LARGEST_CELL = 42;
const TALLEST = 760;

const mapCanvas = document.getElementById("map");
const large = {shown: null, options: null, bitmap: null, layout: null};

/** Show a head; `options` are show, top and scale. */
function drawMap(shown, options, mark) {
  large.shown = shown;
  large.options = options;
  large.layout = layoutOf(shown);
  large.bitmap = bitmapOf(imageOf(shown, {...options, fold: large.layout.fold}));
  drawMark(mark, options.lit);
}

function layoutOf(shown) {
  const ratio = Math.max(1, window.devicePixelRatio || 1);
  const room = mapCanvas.parentElement.clientWidth - 6;
  const context = mapCanvas.getContext("2d");
  context.font = labelFont(false);
  const widest = (tokens) => Math.max(...tokens.slice(0, 600).map((token) => context.measureText(labelOf(token)).width));
  const left = Math.ceil(Math.min(room < 500 ? 78 : 132, widest(shown.queryTokens) + 14));
  const above = Math.ceil(Math.min(112, widest(shown.keyTokens) + 14));
  const across = Math.max(40, room - left - 2) * ratio;
  const down = Math.max(40, TALLEST - above) * ratio;
  const fold = Math.max(foldFor(shown.keys, across), foldFor(shown.queries, down));
  const pixels = Math.min(across / Math.ceil(shown.keys / fold), down / Math.ceil(shown.queries / fold));
  const place = Math.max(1, Math.min(Math.floor(pixels), LARGEST_CELL * ratio));
  const [wide, high] = [Math.ceil(shown.keys / fold) * place, Math.ceil(shown.queries / fold) * place];
  return {ratio, left, above, fold, place, wide, high, cell: place / fold / ratio};
}

function labelFont(marked) {
  return `${marked ? "600 " : ""}11px ${styleText("--label-font")}`;
}

function labelOf(token) {
  return token[2] === null ? tokenText(token) : `${tokenText(token)} ${token[2]}`;
}

/** Draw the map again with another cell marked; null for none. */
function drawMark(mark, lit) {
  const {shown, layout, bitmap} = large;
  if (!shown) {
    return;
  }
  const {ratio, left, above} = layout;
  const [width, height] = [left + layout.wide / ratio + 2, above + layout.high / ratio + 2];
  mapCanvas.width = Math.round(width * ratio);
  mapCanvas.height = Math.round(height * ratio);
  mapCanvas.style.width = `${width}px`;
  mapCanvas.style.height = `${height}px`;
  const context = mapCanvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.fillStyle = styleText("--blocked");
  context.fillRect(left * ratio, above * ratio, layout.wide, layout.high);
  context.drawImage(bitmap, left * ratio, above * ratio, layout.wide, layout.high);
  context.scale(ratio, ratio);
  drawFrame(context);
  drawLabels(context, mark);
  if (mark) {
    drawCross(context, mark, lit);
  }
}

function drawFrame(context) {
  const {ratio, left, above, wide, high} = large.layout;
  context.strokeStyle = styleText("--line");
  context.lineWidth = 1;
  context.strokeRect(left - 0.5, above - 0.5, wide / ratio + 1, high / ratio + 1);
}

function drawLabels(context, mark) {
  const {shown, layout} = large;
  for (const query of labelled(shown.queries, layout.cell, mark && mark.query)) {
    const y = layout.above + (query + 0.5) * layout.cell;
    drawLabel(context, shown.queryTokens[query], layout.left - 6, {x: layout.left - 5, y, turn: 0}, mark && mark.query === query);
  }
  for (const key of labelled(shown.keys, layout.cell, mark && mark.key)) {
    const x = layout.left + (key + 0.5) * layout.cell;
    drawLabel(context, shown.keyTokens[key], layout.above - 6, {x, y: layout.above - 5, turn: 1}, mark && mark.key === key);
  }
}

/** The places of an axis that have room for a label; the marked one always, and none that would touch it. */
function labelled(count, cell, marked) {
  const step = Math.max(1, Math.ceil(LABEL_STEP / cell));
  const places = [];
  for (let place = 0; place < count; place += step) {
    if (marked === null || marked === undefined || place === marked || Math.abs(place - marked) * cell >= LABEL_STEP) {
      places.push(place);
    }
  }
  if (marked !== null && marked !== undefined && !places.includes(marked)) {
    places.push(marked);
  }
  return places;
}

function drawLabel(context, token, width, at, marked) {
  context.save();
  context.translate(at.x, at.y);
  context.rotate(at.turn ? -Math.PI / 2 : 0);
  context.font = labelFont(marked);
  context.textBaseline = "middle";
  context.textAlign = at.turn ? "left" : "right";
  const number = token[2] === null ? "" : ` ${token[2]}`;
  const text = cut(context, tokenText(token), width - context.measureText(number).width);
  const ink = marked ? "--accent" : token[1] === "text" ? "--ink" : "--quiet";
  if (at.turn) {
    drawIn(context, text, 0, ink);
    drawIn(context, number, context.measureText(text).width, marked ? "--accent" : "--quiet");
  } else {
    drawIn(context, number, 0, marked ? "--accent" : "--quiet");
    drawIn(context, text, -context.measureText(number).width, ink);
  }
  context.restore();
}

// The first letter that has a direction has one of these scripts: the text runs from right to left.
const FROM_THE_RIGHT = /^[^\p{L}]*[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}]/u;

function drawIn(context, text, x, ink) {
  context.direction = FROM_THE_RIGHT.test(text) ? "rtl" : "ltr";
  context.fillStyle = styleText(ink);
  context.fillText(text, x, 0);
}

/** Mark a cell, and light its row and its column where somebody looks: all else is veiled. */
function drawCross(context, mark, lit) {
  const {layout} = large;
  const [wide, high] = [layout.wide / layout.ratio, layout.high / layout.ratio];
  const size = Math.max(layout.cell, 1);
  const [x, y] = [layout.left + mark.key * layout.cell, layout.above + mark.query * layout.cell];
  context.fillStyle = lit ? styleText("--veil") : "transparent";
  context.fillRect(layout.left, layout.above, x - layout.left, y - layout.above);
  context.fillRect(x + size, layout.above, layout.left + wide - x - size, y - layout.above);
  context.fillRect(layout.left, y + size, x - layout.left, layout.above + high - y - size);
  context.fillRect(x + size, y + size, layout.left + wide - x - size, layout.above + high - y - size);
  const grown = Math.max(0, 5 - size) / 2;
  context.lineWidth = 2;
  context.strokeStyle = styleText("--accent");
  context.strokeRect(x - grown - 1, y - grown - 1, size + 2 * grown + 2, size + 2 * grown + 2);
}

/** The cell below a point of the window, or null; on a label, that token's own row or column. */
function cellAt(event, mark) {
  const {shown, layout} = large;
  if (!shown) {
    return null;
  }
  const box = mapCanvas.getBoundingClientRect();
  const key = Math.floor((event.clientX - box.left - layout.left) / layout.cell);
  const query = Math.floor((event.clientY - box.top - layout.above) / layout.cell);
  const [inRow, inColumn] = [query >= 0 && query < shown.queries, key >= 0 && key < shown.keys];
  if (inRow && inColumn) {
    return {query, key};
  }
  if (inRow && key < 0) {
    return {query, key: mark ? mark.key : 0};
  }
  return inColumn && query < 0 ? {query: mark ? mark.query : 0, key} : null;
}
