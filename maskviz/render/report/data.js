// What the page is about: the report, and its arrays, which are unpacked when they are first needed.

const report = JSON.parse(document.getElementById("data").textContent);
const NOT_A_NUMBER = 255;
// Bytes of unpacked arrays that are kept; more are unpacked again.
const KEPT_BYTES = 256e6;

const weightOf = new Float32Array(256).fill(NaN);
report.levels.forEach((level, code) => { weightOf[code] = level; });

const unpacked = new Map();
let unpackedBytes = 0;

function canUnpack() {
  return typeof DecompressionStream === "function";
}

/** The bytes of an array by its number, as a promise. */
function arrayOf(number) {
  if (!unpacked.has(number)) {
    unpacked.set(number, unpack(number));
  }
  return unpacked.get(number);
}

async function unpack(number) {
  const text = atob(document.getElementById(`array-${number}`).textContent);
  const packed = Uint8Array.from(text, (character) => character.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  unpackedBytes += bytes.length;
  if (unpackedBytes > KEPT_BYTES) {
    unpacked.clear();
    unpackedBytes = bytes.length;
    unpacked.set(number, Promise.resolve(bytes));
  }
  return bytes;
}

/** The codes of all heads of a call for a text, uint8 [head, query, key]; null where it kept no weights. */
async function codesOf(call, text, when) {
  if (!call.pattern) {
    return null;
  }
  const after = await arrayOf(call.pattern[text]);
  if (when !== "before" || !call.before) {
    return after;
  }
  const change = await arrayOf(call.before[text]);
  return after.map((code, place) => code + change[place]);
}

// The number of "all heads of the layer, on average" among a layer's heads.
const MEAN = -1;

/** What there is to draw of one head, or of the mean of a layer's: sizes, tokens, weights and reasons of its cells. */
async function headOf(call, head, text, when) {
  const mask = report.masks[call.mask];
  const view = report.views[call.views[text]];
  const cells = mask.queries * mask.keys;
  const [codes, reasons] = await Promise.all([codesOf(call, text, when), arrayOf(mask.rows[text].array)]);
  const shown = mask.heads > 1 ? head : 0;
  return {
    call, head, text, mask,
    queries: mask.queries,
    keys: mask.keys,
    offset: mask.offset,
    queryTokens: report.axes[view.queries],
    keyTokens: report.axes[view.keys],
    oneAxis: view.queries === view.keys,
    real: view.real,
    ...(codes && (head === MEAN ? meanOf(codes, call.heads, cells) : {codes: codes.subarray(head * cells, (head + 1) * cells)})),
    reasons: shown === MEAN ? commonReasons(reasons, mask.heads, cells) : reasons.subarray(shown * cells, (shown + 1) * cells),
  };
}

/** The mean weight of each cell over some heads, how far it may be off, and the code of the level that is nearest. */
function meanOf(codes, heads, cells) {
  const [weights, off] = [new Float32Array(cells), new Float32Array(cells)];
  for (let at = 0; at < heads * cells; at += 1) {
    const known = codes[at] !== NOT_A_NUMBER;
    weights[at % cells] += known ? weightOf[codes[at]] / heads : NaN;
    off[at % cells] += known ? report.errors[codes[at]] / heads : 0;
  }
  return {weights, off, codes: Uint8Array.from(weights, nearestCode)};
}

function nearestCode(weight) {
  if (Number.isNaN(weight)) {
    return NOT_A_NUMBER;
  }
  let [low, high] = [0, report.levels.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    [low, high] = report.levels[middle] <= weight ? [middle, high] : [low, middle];
  }
  return report.levels[high] - weight < weight - report.levels[low] ? high : low;
}

/** Why cells are blocked in the masks of all heads: 0 where one of them lets the query see the key. */
function commonReasons(reasons, heads, cells) {
  return Uint8Array.from({length: cells}, (_, at) => {
    let common = reasons[at];
    for (let head = 1; head < heads; head += 1) {
      common = reasons[head * cells + at] === 0 ? 0 : common;
    }
    return common;
  });
}

/** The weight of a cell, NaN where it is no number. */
function weightAt(shown, at) {
  return shown.weights ? shown.weights[at] : weightOf[shown.codes[at]];
}

/** The weight of a cell and how far it may be from what the model computed, as text. */
function weightText(shown, at) {
  if (shown.codes[at] === NOT_A_NUMBER) {
    return "not a number";
  }
  const error = shown.off ? shown.off[at] : report.errors[shown.codes[at]];
  const digits = error >= 0.0005 ? 3 : error >= 0.00005 ? 4 : 5;
  const unit = 10 ** -digits;
  return `${weightAt(shown, at).toFixed(digits)} ± ${(Math.ceil(error / unit) * unit).toFixed(digits)}`;
}

/** The same without its error, for places with little room. */
function shortWeight(code) {
  if (code === NOT_A_NUMBER) {
    return "?";
  }
  const weight = weightOf[code];
  return weight >= 0.995 ? "1" : weight < 0.005 ? "" : weight.toFixed(2).slice(1);
}
