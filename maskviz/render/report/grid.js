// The small pictures: all heads of a stack, and the different masks.

// Sides of a small map in CSS pixels: up to so many heads, this large.
const TILES = [[4, 96], [8, 72], [Infinity, 46]];
const MASK_TILE = 132;
let drawn = 0;

/** Build the table of heads of a stack, layers down; each head is a button. */
function buildGrid(calls, state, choose) {
  const section = document.getElementById("grid");
  const withWeights = calls.filter((call) => call.pattern);
  section.hidden = withWeights.length === 0 || !canUnpack();
  const heads = Math.max(0, ...withWeights.map((call) => call.heads));
  const numbers = Array.from({length: heads}, (_, head) => element("th", {scope: "col"}, String(head)));
  const rows = withWeights.map((call) => element("tr", {},
    element("th", {scope: "row"}, `layer ${call.layer}`),
    ...Array.from({length: call.heads}, (_, head) => element("td", {}, headButton(call, head, tileSide(withWeights), choose)))));
  const table = element("table", {className: "heads"},
    element("thead", {}, element("tr", {}, element("th", {scope: "col"}, "head"), ...numbers)),
    element("tbody", {}, ...rows));
  document.getElementById("tiles").replaceChildren(table);
  markTile(state);
}

function headButton(call, head, side, choose) {
  const gate = call.gates.length ? call.gates[head] : 1;
  const gated = gate === 1 ? "" : gate === 0 ? ", silenced" : `, scaled to ${gate}`;
  const name = `layer ${call.layer}, head ${head}${gated}`;
  const button = element("button", {
    type: "button", className: `tile${gate === 1 ? "" : " gated"}`, title: name, "aria-label": name,
    "data-call": report.calls.indexOf(call), "data-head": head,
  }, element("canvas", {"aria-hidden": "true", width: side, height: side}));
  button.addEventListener("click", () => choose(call, head));
  return button;
}

function tileSide(calls) {
  const heads = Math.max(...calls.map((call) => call.heads));
  return TILES.find(([most]) => heads <= most)[1];
}

/** Mark the button of the head that is shown large. */
function markTile(state) {
  for (const button of document.querySelectorAll("button.tile")) {
    const chosen = Number(button.dataset.call) === state.call && Number(button.dataset.head) === state.head;
    button.setAttribute("aria-pressed", String(chosen));
  }
}

/** Draw the small pictures one after the other, and leave the page its time in between. */
async function drawTiles(calls, state) {
  drawn += 1;
  const turn = drawn;
  const withWeights = calls.filter((call) => call.pattern);
  const top = Math.max(...withWeights.map((call) => call.tops[state.text])) || 1;
  const scale = state.scale === "log" ? "logarithmic" : "linear";
  document.getElementById("grid-caption").textContent =
    `Queries down, keys across; one ${scale} scale up to ${+top.toPrecision(3)}. Where cells share a pixel, it shows the largest.`;
  for (const call of withWeights) {
    const codes = await codesOf(call, state.text, state.when);
    const shown = await headOf(call, 0, state.text, state.when);
    if (turn !== drawn) {
      return;
    }
    drawRow(call, shown, codes, {show: "attention", top, scale: state.scale, side: tileSide(withWeights)});
    await new Promise((resolve) => { setTimeout(resolve, 0); });
  }
}

function drawRow(call, first, codes, options) {
  const cells = first.queries * first.keys;
  const number = report.calls.indexOf(call);
  for (const button of document.querySelectorAll(`button.tile[data-call="${number}"]`)) {
    const head = Number(button.dataset.head);
    const one = {...first, codes: codes.subarray(head * cells, (head + 1) * cells)};
    drawSmall(button.firstChild, one, options.side, options);
  }
}

/** One picture for each different mask of a stack, for the text that is shown. */
async function buildMasks(calls, state, choose) {
  const section = document.getElementById("masks");
  const numbers = [...new Set(calls.map((call) => call.mask))];
  section.hidden = numbers.length === 0 || !canUnpack();
  const place = document.getElementById("mask-tiles");
  place.replaceChildren();
  if (section.hidden) {
    return;
  }
  for (const number of numbers) {
    const sharing = calls.filter((call) => call.mask === number);
    const shown = await headOf({...sharing[0], pattern: null}, 0, state.text, "after");
    const canvas = element("canvas", {"aria-hidden": "true"});
    const seen = share(shown, 0);
    const words = `${layerWords(sharing, calls)}: ${report.masks[number].rule}`;
    const button = element("button", {type: "button", className: "mask-tile"}, canvas,
      element("span", {className: "words"}, element("strong", {}, words),
        element("span", {className: "quiet"}, `${seen} of ${[...shown.real].filter((real) => real === "1").length} × ${shown.keys} cells visible`)));
    button.addEventListener("click", () => choose(sharing[0]));
    drawSmall(canvas, shown, MASK_TILE, {show: "mask"});
    place.append(button);
  }
}

/** The layers of some calls, such as "layers 0-2, 5". */
function layerWords(sharing, all) {
  if (sharing.length === all.length && all.length > 1) {
    return "all layers";
  }
  const runs = [];
  for (const {layer} of sharing) {
    const last = runs[runs.length - 1];
    if (last && layer === last[1] + 1) {
      last[1] = layer;
    } else {
      runs.push([layer, layer]);
    }
  }
  const said = runs.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(", ");
  return `layer${sharing.length > 1 ? "s" : ""} ${said}`;
}
