// What is known of heads: their roles, and which of them stand out.

// A role in one word, for places with little room.
const SHORT_ROLES = {
  "previous token": "previous", "next token": "next", "same token": "itself", "special tokens": "special", "duplicate token": "duplicate",
};
const NOTHING_KNOWN = {roles: [], standsOut: ""};
const knownHeads = new Map(report.heads.map((one) => [`${one.call}.${one.head}`, one]));

function knownOf(call, head) {
  return knownHeads.get(`${call}.${head}`) || NOTHING_KNOWN;
}

/** A head by its number, with its stack where there are several. */
function headWords({call, head}) {
  const {stack, layer} = report.calls[call];
  const several = new Set(report.calls.map((one) => one.stack)).size > 1;
  return `${several ? `${stack} ` : ""}${layer}.${head}`;
}

/** The roles of a head with their scores. */
function roleWords(known) {
  return known.roles.map(([role, score]) => `${role} ${score.toFixed(2)}`).join(", ");
}

/** What attention of a head's roles looks like. */
function roleMeaning(known) {
  return known.roles.map(([role]) => `${role}: ${report.roles[role]}`).join("; ");
}

/** The role that says most, in a word; a head that stands out without a role by what it is instead. */
function shortRole(known) {
  if (known.roles.length === 0) {
    return known.standsOut.split(",")[0];
  }
  const [role, score] = known.roles.find(([one]) => known.standsOut.startsWith(one)) || known.roles[0];
  return `${SHORT_ROLES[role] || role} ${score.toFixed(2)}`;
}

/** List the heads that stand out, each a button that shows it. */
function fillStanding(choose) {
  const standing = report.heads.filter((one) => one.standsOut);
  document.getElementById("standing").hidden = standing.length === 0;
  const where = report.texts.length > 1 ? ` on text ${report.opens.text + 1}` : "";
  document.getElementById("standing-title").textContent = `Heads that stand out${where}`;
  document.getElementById("standing-heads").replaceChildren(...standing.map((one) => {
    const button = element("button", {
      type: "button", className: "chip", title: roleMeaning(one), "data-call": one.call, "data-head": one.head,
    }, element("strong", {}, headWords(one)), ` ${one.standsOut}`);
    button.addEventListener("click", () => choose(one));
    return element("li", {}, button);
  }));
}

/** A list of the roles there are; heads without the chosen one step back. */
function fillRoleFilter() {
  const counts = new Map();
  report.heads.forEach((one) => one.roles.forEach(([role]) => counts.set(role, (counts.get(role) || 0) + 1)));
  const place = document.getElementById("role-filter");
  place.hidden = counts.size === 0;
  const list = element("select", {id: "choose-role"}, element("option", {value: ""}, "any"),
    ...[...counts].map(([role, count]) => element("option", {value: role}, `${role} (${count})`)));
  list.addEventListener("change", dimOthers);
  place.replaceChildren(element("label", {for: "choose-role"}, "role"), list);
}

/** Let the heads that have not the chosen role step back. */
function dimOthers() {
  const role = document.getElementById("choose-role")?.value;
  for (const button of document.querySelectorAll("button.tile")) {
    const known = knownOf(button.dataset.call, button.dataset.head);
    button.classList.toggle("dimmed", Boolean(role) && !known.roles.some(([one]) => one === role));
  }
}
