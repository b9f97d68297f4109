// The small pictures: all heads of a stack, and the different masks.

// Sides of a small map in CSS pixels: as wide as the page allows, wider where cells would be smaller than a pixel.
const [LEAST_TILE, WIDE_TILE, LARGEST_TILE] = [64, 112, 160];
const MASK_TILE = 132;
let drawn = 0;

/** Build the table of heads of a stack, layers down; each head is a button. */
function buildGrid(calls, state, choose) {
  const section = document.getElementById("grid");
  const withWeights = calls.filter((call) => call.pattern);
  section.hidden = withWeights.length === 0 || !canUnpack();
  const heads = Math.max(0, ...withWeights.map((call) => call.heads));
  const side = tileSide(withWeights);
  const numbers = Array.from({length: heads}, (_, head) => element("th", {scope: "col"}, String(head)));
  const rows = withWeights.map((call) => element("tr", {},
    element("th", {scope: "row"}, `layer ${call.layer}`),
    ...Array.from({length: call.heads}, (_, head) => element("td", {}, headButton(call, head, side, choose)))));
  const table = element("table", {className: "heads"},
    element("thead", {}, element("tr", {}, element("th", {scope: "col"}, "head"), ...numbers)),
    element("tbody", {}, ...rows));
  document.getElementById("tiles").replaceChildren(table);
  dimOthers();
  markTile(state);
}

/** A head as a button: its small map, unless that would be too small to be read, and what is known of it. */
function headButton(call, head, side, choose) {
  const gate = call.gates.length ? call.gates[head] : 1;
  const gated = gate === 1 ? "" : gate === 0 ? ", silenced" : `, scaled to ${gate}`;
  const number = report.calls.indexOf(call);
  const known = knownOf(number, head);
  const words = [roleWords(known), known.standsOut && "stands out"].filter(Boolean).join(", ");
  const name = `layer ${call.layer}, head ${head}${gated}${words ? `, ${words}` : ""}`;
  const classes = ["tile", gate === 1 ? "" : "gated", known.standsOut ? "standing" : "", side ? "" : "words-only"];
  const role = element("span", {className: "role", "aria-hidden": "true"}, shortRole(known) || (side ? "" : "·"));
  const button = element("button", {
    type: "button", className: classes.filter(Boolean).join(" "), title: [name, roleMeaning(known)].filter(Boolean).join("\n"),
    "aria-label": name, "data-call": number, "data-head": head,
  }, ...(side ? [element("canvas", {"aria-hidden": "true", width: side, height: side})] : []), role);
  role.style.width = `${Math.max(side, LEAST_TILE)}px`;
  button.addEventListener("click", () => choose(call, head));
  return button;
}

/** The side of a small map in CSS pixels; 0 where its cells would still share pixels. */
function tileSide(calls) {
  const heads = Math.max(1, ...calls.map((call) => call.heads));
  const longest = Math.max(1, ...calls.map((call) => Math.max(report.masks[call.mask].queries, report.masks[call.mask].keys)));
  const fitting = Math.floor((document.getElementById("tiles").clientWidth - 70) / heads) - 10;
  const side = Math.max(LEAST_TILE, Math.min(WIDE_TILE, fitting), longest / (window.devicePixelRatio || 1));
  return side > LARGEST_TILE ? 0 : Math.ceil(side);
}

/** Mark the button of the head that is shown large. */
function markTile(state) {
  for (const button of document.querySelectorAll("button.tile, button.chip")) {
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
  const side = tileSide(withWeights);
  document.getElementById("grid-caption").textContent = gridCaption(state, side, top);
  if (!side) {
    return;
  }
  for (const call of withWeights) {
    const codes = await codesOf(call, state.text, state.when);
    const shown = await headOf(call, 0, state.text, state.when);
    if (turn !== drawn) {
      return;
    }
    drawRow(call, shown, codes, {show: "attention", top, scale: state.scale, side});
    await new Promise((resolve) => { setTimeout(resolve, 0); });
  }
}

function gridCaption(state, side, top) {
  const roles = report.heads.length
    ? ` Words: what a head does${report.texts.length > 1 ? ` on text ${report.opens.text + 1}` : ""}, by its score; bold where it stands out.` : "";
  const scale = state.scale === "log" ? "logarithmic" : "linear";
  return side
    ? `Queries down, keys across; one ${scale} scale for all heads, up to ${+top.toPrecision(3)}.${roles}`
    : `Small maps of so many tokens could not be read: choose a head to see its map.${roles}`;
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

/** Let an element that scrolls fade where it goes on, and say so in a sentence where there is one. */
function watchEdges(place, hint) {
  const look = () => {
    const right = place.scrollLeft + place.clientWidth < place.scrollWidth - 1;
    const below = place.scrollTop + place.clientHeight < place.scrollHeight - 1;
    place.classList.toggle("more-right", right);
    place.classList.toggle("more-below", below);
    if (hint) {
      const [wide, high] = [place.scrollWidth > place.clientWidth + 1, place.scrollHeight > place.clientHeight + 1];
      hint.hidden = !wide && !high;
      hint.textContent = `The grid goes on: scroll ${[wide && "sideways → for more heads", high && "down ↓ for more layers"].filter(Boolean).join(", ")}.`;
    }
  };
  place.addEventListener("scroll", look, {passive: true});
  const observer = new ResizeObserver(look);
  observer.observe(place);
  new MutationObserver(() => { look(); if (place.firstElementChild) { observer.observe(place.firstElementChild); } })
    .observe(place, {childList: true});
  look();
}
