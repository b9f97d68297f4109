// Why a query may attend to a key or not, in the words of `maskviz explain`. A clause is a rule as data.

const FUTURE = 2;
const SPARSE = 32;
const USER = 64;

/** The lines of a cell: {what, because, change}. Numbers count from the first token of the text. */
function explained(clause, query, key, bits) {
  const conditions = allHaveToHold(clause).map((part) => ask(part, query, key, false, bits));
  if (bits === 0) {
    return visibleLines(conditions);
  }
  const blocking = conditions.filter((one) => one.holds !== true);
  let lines = blocking.map((one) => ({
    what: reasonWords(one.reasons) || "not known", because: because(one), change: change(one),
  }));
  const told = blocking.reduce((all, one) => all | one.reasons, 0);
  if (bits & ~told) {
    lines = lines.filter((line) => line.what !== "not known");
    lines.push(untold(bits & ~told, blocking));
  }
  return lines;
}

function visibleLines(conditions) {
  if (!conditions.length) {
    return [{what: "visible", because: "the rule blocks nothing", change: ""}];
  }
  const against = conditions.filter((one) => one.holds === false);
  if (against.length) {
    const said = against.map(because).join("; ");
    return [{what: "visible", because: `against the rule, by which it would be blocked: ${said}`, change: ""}];
  }
  return conditions.map((one, number) => ({
    what: number ? "" : "visible",
    because: one.holds ? because(one) : `${one.clause.words}, which could not be read, lets it through`,
    change: "",
  }));
}

function untold(bits, blocking) {
  const unread = blocking.filter((one) => one.holds === null).map((one) => one.clause.words);
  const because = unread.length
    ? `blocked by ${unread.join(" or ")}, which could not be read`
    : "blocked in the mask that was delivered; no rule that was read says why";
  return {what: reasonWords(bits), because, change: "not known"};
}

function reasonWords(bits) {
  return report.look.reasons.filter((one) => one.bit & bits).map((one) => one.word).join(", ");
}

/** The parts of a conjunction, also of one that is asked about positions. */
function allHaveToHold(clause) {
  switch (clause.kind) {
    case "everything": return [];
    case "all": return clause.parts.flatMap(allHaveToHold);
    case "moved": return allHaveToHold(clause.parts[0]).map((part) => ({...clause, words: part.words, parts: [part]}));
    default: return [clause];
  }
}

/** What a clause says of a cell: whether it holds (null where that cannot be read), and why not. */
function ask(clause, query, key, moved, bits) {
  if (clause.kind === "moved") {
    const at = (place) => clause.positions[place] ?? 0;
    return ask(clause.parts[0], at(query), at(key), true, bits);
  }
  const parts = (clause.parts || []).map((part) => ask(part, query, key, moved, bits));
  const answer = {clause, query, key, moved, parts};
  answer.holds = parts.length ? combined(clause, parts) : holds(clause, query, key, bits);
  answer.reasons = reasonsOf(answer);
  return answer;
}

/** One no decides a conjunction, one yes a disjunction. */
function combined(clause, parts) {
  const decisive = clause.kind === "any";
  if (parts.some((part) => part.holds === decisive)) {
    return decisive;
  }
  return parts.some((part) => part.holds === null) ? null : !decisive;
}

function holds(clause, query, key, bits) {
  switch (clause.kind) {
    case "everything": return true;
    case "causal": return key <= query;
    case "window": return query - key < clause.size;
    case "ahead": return key - query <= clause.reach;
    case "band": return Math.abs(query - key) <= clause.reach;
    case "itself": return query === key;
    case "extra": return key >= clause.first;
    case "chunk": return chunkOf(clause, query) === chunkOf(clause, key);
    case "block": return blockOf(clause, key) <= blockOf(clause, query);
    case "prefix": return key < clause.length || key <= query;
    case "diffusion": return seesByDiffusion(clause, query, key);
    case "padding": return isKept(clause, key) && (!clause.queries || isKept(clause, query));
    case "document": return (clause.names[query] ?? -1) === (clause.names[key] ?? -2);
    case "span": return pieceOf(clause, query) >= 0 && pieceOf(clause, query) === pieceOf(clause, key);
    case "user": return (bits & USER) === 0;
    default: return null;
  }
}

const chunkOf = (clause, place) => Math.floor((place - clause.start) / clause.size);
/** The block a position is in; of block diffusion the block of its half, the noisy or the clean one. */
const blockOf = (clause, place) =>
  Math.floor((isClean(clause, place) ? place - clause.length : place) / clause.size);
const isClean = (clause, place) => clause.kind === "diffusion" && place >= clause.length;
const isKept = (clause, place) => Boolean(clause.keep[place] ?? 0);
const pieceOf = (clause, place) => clause.names[place] ?? -1;

function seesByDiffusion(clause, query, key) {
  const [own, other] = [blockOf(clause, query), blockOf(clause, key)];
  if (isClean(clause, query)) {
    return isClean(clause, key) && other <= own;
  }
  return isClean(clause, key) ? other < own : other === own;
}

function reasonsOf(answer) {
  const {clause, parts, holds} = answer;
  if (clause.kind === "diffusion" && holds === false) {
    return blockOf(clause, answer.key) > blockOf(clause, answer.query) ? FUTURE : SPARSE;
  }
  if (!parts.length) {
    return holds === false ? clause.reason : 0;
  }
  const all = (chosen) => chosen.reduce((bits, part) => bits | part.reasons, 0);
  if (clause.kind === "all") {
    return all(parts);
  }
  // An exception that does not apply is no reason: what it was an exception from is.
  const readable = parts.filter((part) => part.holds !== null);
  if (readable.some((part) => part.holds)) {
    return 0;
  }
  const main = readable.filter((part) => !part.clause.exception);
  return all(main.length ? main : readable);
}

function because(one) {
  const {clause, holds} = one;
  if (one.parts.length) {
    return becauseOfParts(one);
  }
  if (holds === null) {
    return `what ${clause.words} does could not be read`;
  }
  const [query, key] = names(one);
  const distance = one.query - one.key;
  const sign = holds ? "≤" : ">";
  switch (clause.kind) {
    case "causal": return holds ? `${key} ≤ ${query}: not in the future` : `${key} > ${query}: future`;
    case "window": return `${query} − ${key} = ${distance} ${holds ? "<" : "≥"} window ${clause.size}`;
    case "ahead": return `${key} − ${query} = ${-distance} ${sign} reach ${clause.reach}`;
    case "band": return `|${query} − ${key}| = ${Math.abs(distance)} ${sign} reach ${clause.reach}`;
    case "itself": return `${key} is ${holds ? "" : "not "}the query itself`;
    case "extra": return `${key} is ${holds ? "" : "none "}of the model's own keys, which begin at key ${clause.first}`;
    case "chunk": case "document": case "span": return becauseOfPieces(one, query, key);
    case "block": case "diffusion": return becauseOfBlocks(one, query, key);
    case "prefix": return becauseOfPrefix(one, query, key);
    case "padding": return becauseOfPadding(one, query, key);
    case "user": return `the mask that was given ${holds ? "lets" : "does not let"} ${query} see ${key}`;
    case "everything": return "every token may attend to every token";
    default: return `${clause.words} ${holds ? "lets" : "does not let"} ${query} see ${key}`;
  }
}

function becauseOfParts(one) {
  const said = (parts) => parts.map(because).join("; ");
  if (one.clause.kind === "all") {
    return said(one.parts.filter((part) => part.holds === one.holds));
  }
  const main = one.parts.filter((part) => !part.clause.exception);
  const exceptions = one.parts.filter((part) => part.clause.exception);
  const holding = main.some((part) => part.holds) ? main.filter((part) => part.holds)
    : exceptions.filter((part) => part.holds);
  if (main.some((part) => part.holds)) {
    return said(holding);
  }
  if (holding.length) {
    return main.length ? `${said(main)}, but ${said(holding)}` : said(holding);
  }
  if (!exceptions.length) {
    return said(main);
  }
  return main.length ? `${said(main)}; and no exception: ${said(exceptions)}` : said(exceptions);
}

function becauseOfPieces(one, query, key) {
  const [ours, theirs] = [one.query, one.key].map((place) => pieceWords(one.clause, place));
  const place = one.clause.kind === "chunk" ? "in" : "of";
  if (one.holds && ours === theirs) {
    return `${query} and ${key} are ${place} ${ours}`;
  }
  return `${query} is ${place} ${ours}, ${key} ${place} ${theirs}`;
}

function pieceWords(clause, place) {
  if (clause.kind !== "chunk") {
    const word = clause.kind === "document" ? "text" : "span";
    return pieceOf(clause, place) < 0 ? `no ${word}` : `${word} ${pieceOf(clause, place) + 1}`;
  }
  const number = chunkOf(clause, place);
  if (!clause.alike) {
    return `chunk ${number}`;
  }
  const first = clause.start + number * clause.size;
  const [from, to] = [Math.max(0, first), first + clause.size - 1];
  return `chunk ${number} (tokens ${endsWords(from, to)})`;
}

function becauseOfBlocks(one, query, key) {
  const [ours, theirs] = [one.query, one.key].map((place) => blockWords(one.clause, place));
  const said = ours === theirs ? `${key} and ${query} are in ${ours}` : `${key} is in ${theirs}, ${query} in ${ours}`;
  return one.reasons & FUTURE ? `${said}: future` : said;
}

function blockWords(clause, place) {
  const number = blockOf(clause, place);
  if (clause.kind === "diffusion") {
    return `${isClean(clause, place) ? "clean" : "noisy"} block ${number}`;
  }
  return `block ${number} (tokens ${endsWords(number * clause.size, (number + 1) * clause.size - 1)})`;
}

function becauseOfPrefix(one, query, key) {
  const {length, alike} = one.clause;
  const tokens = length ? ` (tokens ${endsWords(0, length - 1)})` : " (no token)";
  const which = alike ? tokens : "";
  if (one.key < length) {
    return `${key} is in the prefix${which}`;
  }
  return one.holds ? `${key} ≤ ${query}: not in the future` : `${key} > ${query}: future, and behind the prefix${which}`;
}

const endsWords = (first, last) => (first === last ? `${first}` : `${first}-${last}`);

function becauseOfPadding(one, query, key) {
  if (one.holds) {
    return `${key} is no padding`;
  }
  const said = isKept(one.clause, one.key) ? [] : [`${key} is padding`];
  if (one.clause.queries && !isKept(one.clause, one.query)) {
    said.push(`${query} is padding`);
  }
  return said.join(", and ");
}

/** What would have to change for a condition that blocks to let the cell through. */
function change(one) {
  const {clause, query, key} = one;
  if (one.parts.length) {
    const failing = one.parts.filter((part) => part.holds !== true);
    return failing.map(change).join(clause.kind === "all" ? " and " : " or ");
  }
  if (one.holds === null) {
    return "not known";
  }
  const [queryName, keyName] = names(one);
  switch (clause.kind) {
    case "causal": return `the query would have to be ${one.moved ? "at position " : ""}${key} or later`;
    case "block": return `the query would have to be ${one.moved ? "at position " : ""}${blockOf(clause, key) * clause.size} or later`;
    case "prefix": return `a prefix of at least ${key + 1} would show it`;
    case "diffusion": return isClean(clause, query) ? "a clean query sees the clean blocks up to its own"
      : "a noisy query sees its own noisy block and the clean blocks before it";
    case "window": return `a window of at least ${query - key + 1} would show it`;
    case "ahead": return `a reach of at least ${key - query} would show it`;
    case "band": return `a window of at least ±${Math.abs(query - key)} would show it`;
    case "chunk": return changeOfChunk(clause, query, key);
    case "padding": return changeOfPadding(one);
    case "document": return "they would have to be of one text";
    case "span": return "they would have to be of one span";
    case "user": return `the mask that is given would have to let ${queryName} see ${keyName}`;
    default: return `${queryName} and ${keyName} would have to meet '${clause.words}'`;
  }
}

function changeOfChunk(clause, query, key) {
  const [first, last] = [Math.min(query, key), Math.max(query, key)];
  const behind = Math.max(last - clause.start, clause.start - first) + 2;
  for (let size = clause.size + 1; size < behind; size += 1) {
    const one = {...clause, size};
    if (chunkOf(one, first) === chunkOf(one, last)) {
      return `chunks of ${size} would hold both`;
    }
  }
  return "no size of chunks would do: the first begins between them";
}

function changeOfPadding(one) {
  const tokens = isKept(one.clause, one.key) ? [] : [one.key];
  if (one.clause.queries && !isKept(one.clause, one.query) && !tokens.includes(one.query)) {
    tokens.push(one.query);
  }
  return `the attention mask of ${tokens.map((token) => `token ${token}`).join(" and ")} would have to be 1`;
}

function names(one) {
  const at = one.moved ? " at position" : "";
  return [`query${at} ${one.query}`, `key${at} ${one.key}`];
}
