// What is said of a type, in words.
const HEARD = {
  "opaque(unrecognised)": "no rule that maskviz can read: the cells as they were seen",
  "opaque(its own choice)": "keys the layer chooses itself",
};

function ruleWords(rule) {
  return Object.entries(HEARD).reduce((text, [from, to]) => text.replaceAll(from, to), rule);
}

function layersOf(type, kind) {
  const several = new Set([...type.kinds, ...type.silent].map((one) => one.stack)).size > 1;
  const stack = several ? `${kind.stack} ` : "";
  const only = [...type.kinds, ...type.silent].filter((one) => one.stack === kind.stack).length === 1;
  if (only && kind.count > 1) return several ? `${stack}layers` : "every layer";
  return `${stack}layer${kind.count === 1 ? "" : "s"} ${kind.layers}`;
}

// The same in a line of the list, where many numbers are only counted.
function layersInShort(type, kind) {
  const all = [...type.kinds, ...type.silent].filter((one) => one.stack === kind.stack).reduce((sum, one) => sum + one.count, 0);
  const words = layersOf(type, kind);
  return words.length > 24 ? `${words.startsWith("layer") ? "" : `${kind.stack} `}${kind.count} of ${all} layers` : words;
}

// [class, what is broken or not in two words, the sentence]
const PADDED = {
  same: ["good", "same outputs", "The outputs of a padded row are those of the row alone, without padding."],
  positions: ["part", "needs positions", "The outputs of a padded row move, unless position_ids count the real tokens: pass them, as generate() does."],
  moved: ["bad", "outputs move", "The outputs of a padded row are not those of the row alone."],
  seen: ["bad", "padding is seen", "Real tokens may attend to padding, though the attention_mask hides it."],
};
const PACKED = {
  apart: ["good", "kept apart", "Two texts in one row with positions that restart do not see each other, and the first does not move the other's outputs."],
  seen: ["bad", "see each other", "Two texts in one row see each other, though their positions restart."],
  moved: ["bad", "moved by others", "The masks keep two texts in one row apart, but layers without a mask carry the first over into the other."],
};
const FLASH = {
  meant: ["good", "as meant", "flash_attention_2 lets through the cells that are meant."],
  other: ["bad", "other cells", "flash_attention_2 lets through other cells than are meant."],
  unknown: ["", "cannot be said", "What flash_attention_2 lets through could not be said."],
  refused: ["", "not supported", "Transformers refuses flash_attention_2."],
  byhand: ["", "by hand", "The attention is written by hand and never reaches flash_attention_2."],
  none: ["", "no attention", "No layer has an attention matrix."],
};
const SINKS = ["part", "sinks dropped", "flash_attention_2 lets through the cells that are meant, and drops the layers' attention sinks."];
const TRIALS = [
  ["left", "left padding", PADDED],
  ["packed", "packing", PACKED],
  ["flash", "flash", FLASH],
];

function dropsSinks(answer) {
  return (answer.groups || []).some((group) => group.words.includes("its sinks are dropped"));
}

function verdictOf(answer, words) {
  if (answer.verdict === "meant" && dropsSinks(answer)) return SINKS;
  return answer.problem ? ["", "not measured", `Not measured: ${answer.problem}.`] : words[answer.verdict];
}

function share(number) {
  if (number === 0) return "nothing";
  if (number < 0.0001) return "less than 0.01 %";
  return `${Number((number * 100).toPrecision(2))} %`;
}

function paddedWords(answer) {
  const [, , said] = verdictOf(answer, PADDED);
  if (answer.problem || answer.verdict === "same") return said;
  const moved = ` They move by up to ${share(answer.moved)} of the largest output`;
  const rules = answer.rules ? ` With padding in the batch its rule is another: ${answer.rules.map(ruleWords).join("; ")}.` : "";
  const counted = answer.counted === null ? "" : `; with position_ids that count real tokens by ${share(answer.counted)}`;
  return `${said}${moved}${counted}.${rules}`;
}

function packedWords(answer) {
  let [, , said] = verdictOf(answer, PACKED);
  if (answer.problem) return said;
  if (answer.cells) said += ` ${plural(answer.cells, "visible cell")} have their query in one text and their key in the other.`;
  if (answer.verdict !== "apart" && answer.moved !== null) said += ` Another first text moves the other's outputs by up to ${share(answer.moved)} of the largest.`;
  return said + (answer.how ? ` Run ${answer.how}.` : "");
}

function flashWords(answer) {
  const [, , said] = verdictOf(answer, FLASH);
  return answer.why ? `${said.slice(0, -1)}: ${answer.why}.` : said;
}

function groupWords(group) {
  const parts = [];
  if (group.added) parts.push(`${plural(group.added, "cell")} visible that are meant to be blocked`);
  if (group.lost) parts.push(`${group.lost} blocked that are meant to be visible`);
  const cells = parts.length ? `: ${parts.join(" and ")}, of ${group.cells}${group.why.length ? ` (${group.why.join(", ")})` : ""}` : "";
  return `${group.stack} ${group.layers}: ${group.words}${cells}`;
}

function factsOf(type) {
  const own = type.default;
  const facts = own.layers ? ["default config"] : [];
  const each = (numbers) => numbers.map((one) => one.toLocaleString("en")).join(" + ");
  const counted = (numbers, word) => `${each(numbers)} ${word}${each(numbers) === "1" ? "" : "s"}`;
  if (own.layers) facts.push(counted(own.layers, "layer"));
  if (own.heads) facts.push(counted(own.heads, "head"));
  if (own.keyHeads && each(own.keyHeads) !== each(own.heads || [])) facts.push(counted(own.keyHeads, "key head"));
  if (own.width) facts.push(`width ${own.width.toLocaleString("en")}`);
  if (own.positions) facts.push(`${own.positions.toLocaleString("en")} positions`);
  return facts;
}

function commandOf(type) {
  const file = type.default.file;
  return file ? `echo '${JSON.stringify(file)}' > config.json\nmaskviz info config.json --length ${atlas.alikeAt}` : "";
}
