// The data of this page, and where each type stands in them.
const atlas = JSON.parse(document.getElementById("data").textContent);
const types = atlas.types;
const byName = new Map(types.map((type) => [type.name, type]));

// Elements are made of text alone: nothing of the data is read as markup.
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== "" && child !== null && child !== undefined));
  return made;
}

function plural(count, word) {
  return `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
}
