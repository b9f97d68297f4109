// Which types are shown: by words, and by what was measured.
const BREAKS = [
  ["left", "left padding breaks it", (type) => ["moved", "seen"].includes(type.left.verdict)],
  ["positions", "left padding needs position_ids", (type) => type.left.verdict === "positions"],
  ["right", "right padding breaks it", (type) => ["moved", "seen"].includes(type.right.verdict)],
  ["packed", "packing breaks it", (type) => ["moved", "seen"].includes(type.packed.verdict)],
  ["flash", "flash attention breaks it", (type) => type.flash.verdict === "other"],
  ["sinks", "flash attention drops sinks", (type) => dropsSinks(type.flash)],
  ["refused", "flash attention is refused", (type) => type.flash.verdict === "refused"],
  ["good", "nothing breaks it", (type) => type.left.verdict === "same" && type.packed.verdict === "apart" && type.flash.verdict === "meant" && !dropsSinks(type.flash)],
];

// What the words of a search are looked for in.
function wordsOf(type) {
  const kinds = [...type.kinds, ...type.more].flatMap((kind) => [kind.rule, ruleWords(kind.rule), kind.is, kind.window]);
  return [type.name, type.class, type.family, ...type.traits, ...kinds, ...type.silent.map((one) => one.is)].join(" ").toLowerCase();
}
const searched = new Map(types.map((type) => [type, wordsOf(type)]));

const control = (id) => document.getElementById(id);

function filled(id, every, choices) {
  const options = [["", every, types.length], ...choices].map(([value, words, count]) => element("option", { value }, `${words} (${count})`));
  control(id).replaceChildren(...options);
}

function counted(choose) {
  return types.filter(choose).length;
}

function fillFilters() {
  const families = [...new Set(types.map((type) => type.family).filter(Boolean))].sort();
  filled("family", "any family", families.map((one) => [one, one, counted((type) => type.family === one)]));
  const traits = atlas.traits.filter((one) => types.some((type) => type.traits.includes(one)));
  filled("trait", "any mask", traits.map((one) => [one, one, counted((type) => type.traits.includes(one))]));
  filled("breaks", "any outcome", BREAKS.map(([id, words, test]) => [id, words, counted(test)]));
}

function chosen() {
  const words = control("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const family = control("family").value;
  const trait = control("trait").value;
  const test = BREAKS.find(([id]) => id === control("breaks").value);
  return types.filter(
    (type) =>
      words.every((word) => searched.get(type).includes(word)) &&
      (!family || type.family === family) &&
      (!trait || type.traits.includes(trait)) &&
      (!test || test[2](type)),
  );
}
