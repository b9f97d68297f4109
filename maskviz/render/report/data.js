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

/** What there is to draw of one head: sizes, tokens, weights and reasons of its cells. */
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
    codes: codes && codes.subarray(head * cells, (head + 1) * cells),
    reasons: reasons.subarray(shown * cells, (shown + 1) * cells),
  };
}

/** A weight and how far it may be from what the model computed, as text. */
function weightText(code) {
  if (code === NOT_A_NUMBER) {
    return "not a number";
  }
  const [weight, error] = [weightOf[code], report.errors[code]];
  const digits = error >= 0.0005 ? 3 : error >= 0.00005 ? 4 : 5;
  const unit = 10 ** -digits;
  return `${weight.toFixed(digits)} ± ${(Math.ceil(error / unit) * unit).toFixed(digits)}`;
}

/** The same without its error, for places with little room. */
function shortWeight(code) {
  if (code === NOT_A_NUMBER) {
    return "?";
  }
  const weight = weightOf[code];
  return weight >= 0.995 ? "1" : weight < 0.005 ? "" : weight.toFixed(2).slice(1);
}
