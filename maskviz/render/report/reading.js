// What is said of the marked cell: a sentence, why, the tokens with their numbers, and its row as a table.

/** A token with its number, such as 7 ‘tired’. */
function named(token) {
  const text = tokenText(token);
  return token[2] === null || text === String(token[2]) ? text : `${token[2]} ‘${text}’`;
}

/** A bidi-isolated token, its whole text on hover where it is cut. */
function tokenElement(token) {
  return element("bdi", {title: token[0]}, tokenText(token));
}

/** Say what there is to say of the marked cell. */
function readCell(shown, mark) {
  const at = mark.query * shown.keys + mark.key;
  const bits = shown.reasons[at];
  const [query, key] = [shown.queryTokens[mark.query], shown.keyTokens[mark.key]];
  document.getElementById("cell").replaceChildren(...cellSentence(shown, {query, key, bits, at}));
  const clause = shown.mask.rows[shown.text].clause;
  const lines = explained(clause, mark.query + shown.offset, mark.key, bits);
  const padding = shown.real[mark.query] === "0" ? [element("li", {}, "the query is padding, so its row has no meaning")] : [];
  document.getElementById("why").replaceChildren(...padding, ...lines.map(whyElement));
}

function cellSentence(shown, {query, key, bits, at}) {
  const verb = bits ? " cannot attend to key " : " may attend to key ";
  const said = ["Query ", element("bdi", {}, named(query)), verb, element("bdi", {}, named(key))];
  if (bits) {
    said.push(": ", element("strong", {}, reasonWords(bits)));
    if (shown.codes && shown.codes[at]) {
      said.push(`, and yet it gives it ${weightText(shown, at)}`);
    }
  } else if (shown.codes) {
    said.push(", and gives it ", element("strong", {}, weightText(shown, at)));
  }
  return [...said, "."];
}

function whyElement(line) {
  const made = element("li", {});
  if (line.what && line.what !== "visible") {
    made.append(element("span", {className: "reason"}, line.what), " ");
  }
  made.append(line.because);
  if (line.change) {
    made.append(element("span", {className: "quiet"}, ` — ${line.change}`));
  }
  return made;
}

/** Build the tokens: one strip where queries and keys are the same tokens, else two. */
function buildStrips(shown, onToken) {
  const place = document.getElementById("strips");
  const strips = shown.oneAxis
    ? [stripElement("Tokens", shown.keyTokens, "both", onToken)]
    : [stripElement("Queries", shown.queryTokens, "query", onToken), stripElement("Keys", shown.keyTokens, "key", onToken)];
  const hint = shown.codes ? element("p", {className: "quiet"},
    "Below a token: what the marked query gives it. Above: what it gives the marked key.") : "";
  place.replaceChildren(...strips, hint);
}

function stripElement(title, tokens, side, onToken) {
  const list = element("ol", {className: "strip", "data-side": side, "aria-label": title});
  tokens.forEach((token, number) => {
    const chip = element("li", {className: `token ${token[1]}`},
      element("span", {className: "weight by"}), tokenElement(token), element("span", {className: "weight to"}));
    chip.addEventListener("pointerenter", () => onToken(side, number, false));
    chip.addEventListener("click", () => onToken(side, number, true));
    list.append(chip);
  });
  return element("div", {}, element("h3", {}, title), list);
}

/** Light the row and the column of the marked cell in the strips, with numbers. */
function markStrips(shown, mark) {
  for (const list of document.querySelectorAll("ol.strip")) {
    const {side} = list.dataset;
    Array.from(list.children).forEach((chip, number) => {
      if (side !== "key") {
        markChip(chip, ".by", shown, number * shown.keys + mark.key);
      }
      if (side !== "query") {
        markChip(chip, ".to", shown, mark.query * shown.keys + number);
      }
      chip.classList.toggle("is-query", side !== "key" && number === mark.query);
      chip.classList.toggle("is-key", side !== "query" && number === mark.key);
    });
    reveal(list, list.children[side === "query" ? mark.query : mark.key]);
  }
}

/** Scroll a strip, and nothing around it, to a token; not below somebody's pointer. */
function reveal(list, chip) {
  const [top, bottom] = [chip.offsetTop, chip.offsetTop + chip.offsetHeight];
  if (!list.matches(":hover") && (top < list.scrollTop || bottom > list.scrollTop + list.clientHeight)) {
    list.scrollTop = top - list.clientHeight / 2;
  }
}

function markChip(chip, which, shown, at) {
  const place = chip.querySelector(which);
  const blocked = shown.reasons[at] !== 0;
  const text = blocked ? "×" : shown.codes ? shortWeight(shown.codes[at]) : "";
  if (place.textContent !== text) {
    place.textContent = text;
  }
  const level = blocked || !shown.codes ? 0 : Math.sqrt(Math.min(1, weightOf[shown.codes[at]] || 0));
  place.style.setProperty("--level", `${Math.round(level * 100)}%`);
  chip.classList.toggle(which === ".to" ? "unseen" : "unseeing", blocked);
}

/** The row of the marked query as a table, built only while it is open. */
function fillRow(shown, mark) {
  const details = document.getElementById("row");
  const query = shown.queryTokens[mark.query];
  details.querySelector("summary").replaceChildren("Row of query ", element("bdi", {}, named(query)), " as a table");
  if (!details.open) {
    return;
  }
  const columns = shown.codes ? ["key", "token", "weight", "blocked"] : ["key", "token", "blocked"];
  const rows = shown.keyTokens.map((token, key) => {
    const at = mark.query * shown.keys + key;
    const cells = [
      element("th", {scope: "row", className: "number"}, String(token[2] ?? key)),
      element("td", {}, tokenElement(token)),
      element("td", {}, reasonWords(shown.reasons[at])),
    ];
    if (shown.codes) {
      cells.splice(2, 0, element("td", {className: "number"}, weightText(shown, at)));
    }
    return element("tr", {"aria-current": key === mark.key ? "true" : null}, ...cells);
  });
  details.querySelector("table").replaceChildren(
    element("thead", {}, element("tr", {}, ...columns.map((name) => element("th", {scope: "col"}, name)))),
    element("tbody", {}, ...rows));
}
