// The page: its head, its list, its keys.
const rows = new Map(types.map((type) => [type, rowOf(type)]));

function showList() {
  const found = chosen();
  const byLook = control("order").value === "look";
  const list = control("list");
  const groups = byLook ? atlas.looks.map((look) => [look, found.filter((type) => type.look === look)]) : [["", found]];
  const parts = [];
  for (const [look, members] of groups) {
    if (!members.length) continue;
    const section = element("section", {});
    if (look) section.append(element("h2", { id: lookId(look) }, look, element("span", { class: "number" }, plural(members.length, "type"))));
    section.append(...members.map((type) => rows.get(type)));
    parts.push(section);
  }
  list.replaceChildren(...parts);
  if (!found.length) list.append(element("p", { class: "quiet" }, "No type is like that. Fewer words find more."));
  control("count").textContent = `${found.length} of ${plural(types.length, "type")}`;
}

// A link to a type shows it, whatever is filtered.
function goToType() {
  const type = byName.get(decodeURIComponent(location.hash.slice(1)));
  if (!type) return;
  if (!rows.get(type).isConnected) {
    control("controls").reset();
    showList();
  }
  rows.get(type).open = true;
  rows.get(type).scrollIntoView({ block: "start" });
  rows.get(type).querySelector("summary").focus({ preventScroll: true });
}

function addHead() {
  const measured = types.filter((type) => !type.problem).length;
  const { transformers, torch, maskviz } = atlas.releases;
  control("subtitle").textContent =
    `What a token may see in each of the ${types.length} model types of transformers ${transformers} that take token ids: ` +
    `${measured} measured, the others listed with the reason. Made by maskviz ${maskviz} with torch ${torch} from what the ` +
    "models' own code does, not from what configs say.";
  const used = new Set(atlas.pictures.join(""));
  for (const [letter, { word, fill }] of Object.entries(atlas.cells)) {
    if (!used.has(letter)) continue;
    const swatch = element("span", { class: "swatch" });
    swatch.style.background = fill;
    const said = letter === "v" ? "visible" : word === "other" ? "blocked, for no rule that is read" : `blocked: ${word}`;
    control("legend").append(element("span", { class: "entry" }, swatch, said));
  }
  control("legend").append(element("span", { class: "quiet" }, "rows are queries, columns are keys"));
}

// Each look with its picture: the page in a glance.
function lookId(look) {
  return `look-${atlas.looks.indexOf(look)}`;
}

function addLooks() {
  for (const look of atlas.looks) {
    const members = types.filter((type) => type.look === look);
    if (!members.length) continue;
    const pictures = distinct(members[0].kinds).slice(0, 3).map((kind) => picture(kind, false));
    const words = element("span", {}, look, " ", element("span", { class: "number" }, `${members.length}`));
    control("looks").append(element("a", { href: `#${lookId(look)}` }, ...pictures, words));
  }
  control("looks").addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (!link || document.querySelector(link.getAttribute("href"))) return;
    control("controls").reset(); // the look is filtered away, or the order is another
    showList();
  });
}

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  control("theme").textContent = name === "dark" ? "Light" : "Dark";
}

addSymbols();
addHead();
addLooks();
fillFilters();
setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
showList();
goToType();

control("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
control("controls").addEventListener("submit", (event) => event.preventDefault());
control("controls").addEventListener("input", showList);
control("controls").addEventListener("reset", () => setTimeout(showList));
window.addEventListener("hashchange", goToType);
document.addEventListener("keydown", (event) => {
  const typing = ["INPUT", "SELECT"].includes(document.activeElement.tagName);
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    control("search").focus();
  } else if (event.key === "Escape" && document.activeElement.id === "search") {
    control("search").value = "";
    showList();
  }
});
