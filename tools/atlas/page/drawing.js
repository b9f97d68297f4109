// Masks as pictures: each is drawn once, and shown wherever a type has it.
const SVG = "http://www.w3.org/2000/svg";

function drawn(tag, attributes, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// The letter of each cell of "16x16:vf15v2...", row by row.
function cellsOf(text) {
  const [size, runs] = text.split(":");
  const [rows, columns] = size.split("x").map(Number);
  let letters = "";
  for (const [, letter, count] of runs.matchAll(/([a-z])(\d*)/g)) letters += letter.repeat(Number(count || 1));
  return { rows, columns, letters };
}

// A path of rectangles for each letter, one rectangle for neighbours of one row.
function symbolOf(text, number) {
  const { rows, columns, letters } = cellsOf(text);
  const paths = new Map();
  for (let row = 0; row < rows; row += 1) {
    for (let start = 0; start < columns; ) {
      const letter = letters[row * columns + start];
      let end = start;
      while (end < columns && letters[row * columns + end] === letter) end += 1;
      paths.set(letter, `${paths.get(letter) || ""}M${start} ${row}h${end - start}v1h${start - end}z`);
      start = end;
    }
  }
  const shapes = [...paths].map(([letter, path]) => drawn("path", { d: path, fill: atlas.cells[letter].fill }));
  return drawn("symbol", { id: `mask-${number}`, viewBox: `0 0 ${columns} ${rows}`, preserveAspectRatio: "none" }, ...shapes);
}

function addSymbols() {
  const store = drawn("svg", { width: 0, height: 0, "aria-hidden": "true", "shape-rendering": "crispEdges" });
  store.append(...atlas.pictures.map(symbolOf));
  document.body.append(store);
}

function picture(kind, large) {
  const { rows, columns, letters } = cellsOf(atlas.pictures[kind.picture]);
  const visible = letters.split("v").length - 1;
  const said = `${kind.drawn || kind.rule}: ${visible} of ${rows * columns} cells visible, ${rows} queries by ${columns} keys`;
  const image = drawn("svg", { class: large ? "mask large" : "mask", role: "img", "aria-label": said, "shape-rendering": "crispEdges" });
  image.append(drawn("title", {}, said), drawn("use", { href: `#mask-${kind.picture}` }));
  return image;
}
