// One type as a line, and what it opens.
function verdict(type, [trial, name, words]) {
  const [tone, said] = verdictOf(type[trial], words);
  return element("span", { class: `verdict ${tone}` }, element("b", {}, name), said);
}

function silentWords(type, one, where = layersOf) {
  return `${where(type, one)}: ${one.is || "no attention was heard"}`;
}

function rowOf(type) {
  const row = element("details", { class: "type", id: type.name });
  const pictures = element("span", { class: "pictures" }, ...distinct(type.kinds).slice(0, 3).map((kind) => picture(kind, false)));
  if (!type.kinds.length) pictures.append(element("span", { class: "none" }, type.problem ? "not measured" : "no mask"));
  const rules = element("span", { class: "rules" });
  if (type.problem) rules.append(element("div", { class: "quiet" }, type.problem));
  for (const kind of type.kinds.slice(0, 4)) {
    rules.append(element("div", {}, `${layersInShort(type, kind)}: `, element("span", { class: "rule" }, ruleWords(kind.rule))));
  }
  if (type.kinds.length > 4) rules.append(element("div", { class: "quiet" }, `and ${type.kinds.length - 4} more`));
  for (const one of type.silent) rules.append(element("div", { class: "quiet" }, silentWords(type, one, layersInShort)));
  const name = element("span", { class: "name" }, type.name, element("small", {}, type.class));
  const verdicts = element("span", { class: "verdicts" });
  if (!type.problem) verdicts.append(...TRIALS.map((trial) => verdict(type, trial)));
  row.append(element("summary", {}, pictures, name, rules, verdicts));
  row.addEventListener("toggle", () => {
    if (row.open && row.childElementCount === 1) row.append(bodyOf(type));
  });
  return row;
}

// Kinds that look different: one picture is shown once.
function distinct(kinds) {
  return kinds.filter((kind, place) => kinds.findIndex((one) => one.picture === kind.picture) === place);
}

function bodyOf(type) {
  const body = element("div", { class: "body" });
  if (type.problem) {
    body.append(element("p", { class: "note" }, `Not measured: ${type.problem}.`), actionsOf(type));
    return body;
  }
  body.append(element("p", { class: "facts" }, [type.family, ...factsOf(type)].filter(Boolean).join(" · ")));
  if (type.default.problem) {
    body.append(element("p", { class: "note" }, `Its default config was not run: ${type.default.problem}. The layers are those of a tiny model of the type.`));
  }
  body.append(kindsOf(type, type.kinds));
  if (type.more.length) {
    const few = type.default.tokens ? `${type.default.tokens} tokens of the default config do not show` : "the default config does not show";
    body.append(element("h3", {}, `Masks of a tiny model of the type that ${few}`), kindsOf(type, type.more));
  }
  for (const one of type.silent) body.append(element("p", { class: "quiet" }, `${silentWords(type, one)}, which has no attention matrix to mask.`));
  for (const note of type.default.notes || []) body.append(element("p", { class: "note" }, note));
  body.append(measuresOf(type), alikeOf(type), actionsOf(type));
  return body;
}

function kindsOf(type, kinds) {
  const list = element("div", { class: "kinds" });
  for (const kind of kinds) {
    const said = element("div", {});
    const where = type.kinds.includes(kind) ? layersOf(type, kind) : `${kind.stack} layers`;
    said.append(element("h3", {}, where[0].toUpperCase() + where.slice(1)), element("p", { class: "rule" }, ruleWords(kind.rule)));
    if (kind.is && kind.is !== kind.rule) said.append(element("p", {}, `${kind.is}${kind.window ? `, ${kind.window} tokens` : ""}`));
    const drawnAs = kind.drawn ? `drawn as a tiny model has it: ${ruleWords(kind.drawn)}` : "";
    const heads = kind.perHead ? "heads have masks of their own, the first is drawn" : "";
    const quiet = [drawnAs, heads].filter(Boolean).join("; ");
    if (quiet) said.append(element("p", { class: "quiet" }, quiet));
    list.append(element("div", { class: "kind" }, picture(kind, true), said));
  }
  return list;
}

function measuresOf(type) {
  const list = element("dl", { class: "measures" });
  const add = (name, said, found = []) => {
    const more = found.map((one) => element("div", { class: "quiet" }, `maskviz check: ${one.rule}, ${one.says}`));
    list.append(element("dt", {}, name), element("dd", {}, said, ...more));
  };
  add("Left padding", paddedWords(type.left), type.left.found);
  add("Right padding", paddedWords(type.right), type.right.found);
  add("Packing", packedWords(type.packed), type.packed.found);
  add("Flash attention", flashWords(type.flash));
  for (const group of type.flash.groups || []) list.lastChild.append(element("div", { class: "rule" }, groupWords(group)));
  for (const note of type.flash.notes || []) list.lastChild.append(element("div", { class: "quiet" }, note));
  return list;
}

function links(names) {
  return names.flatMap((name, place) => [place ? ", " : "", element("a", { href: `#${name}` }, name)]);
}

// Types by name, or their number, which opens into their names.
const MOST_NAMED = 24;

function named(where, names, whole) {
  if (whole) return element("p", {}, `${where}: `, ...links(names));
  return element("details", {}, element("summary", {}, `${where}: ${plural(names.length, "type")}`), ...links(names));
}

function alikeOf(type) {
  const box = element("div", { class: "alike" });
  if (type.alike === undefined) return box;
  const own = atlas.sets[type.alike];
  const same = own.types.filter((name) => name !== type.name);
  const end = own.until === null ? "of any length" : `of up to ${own.until.toLocaleString("en")} tokens`;
  box.append(element("h3", {}, type.silent.length ? "Looks the same, in the layers that have an attention matrix" : "Looks the same"));
  if (!same.length) box.append(element("p", {}, `No other type has the same masks for texts ${end}.`));
  else box.append(named(`For texts ${end}`, same, same.length <= MOST_NAMED));
  const byEnd = new Map();
  for (const [number, until] of own.others) byEnd.set(until, [...(byEnd.get(until) || []), ...atlas.sets[number].types]);
  for (const [until, names] of [...byEnd].sort(([one], [other]) => (other ?? Infinity) - (one ?? Infinity))) {
    const upTo = until === null ? "At any length" : `Up to ${until.toLocaleString("en")} tokens`;
    box.append(named(upTo, names.sort(), names.length <= 3));
  }
  return box;
}

function actionsOf(type) {
  const box = element("div", {});
  const command = commandOf(type);
  const actions = element("div", { class: "actions" });
  if (command) {
    box.append(element("h3", {}, "See it yourself, without a network"), element("pre", {}, command));
    actions.append(copying("Copy the command", () => command));
  }
  actions.append(copying("Copy a link to this type", () => `${location.href.split("#")[0]}#${type.name}`));
  box.append(actions);
  return box;
}

function copying(words, textOf) {
  const button = element("button", { type: "button" }, words);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(textOf());
      button.textContent = "Copied";
    } catch {
      button.textContent = textOf(); // a page from disk may not be allowed to: the text is there to be selected
    }
    setTimeout(() => { button.textContent = words; }, 2500);
  });
  return button;
}
