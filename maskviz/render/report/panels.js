// Notes, tables and matrices as elements. Text is only ever set as text.

/** An element with a class, attributes and children (elements or texts). */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) {
      made.setAttribute(key === "className" ? "class" : key, value === true ? "" : value);
    }
  }
  made.append(...children);
  return made;
}

function noteElement(note) {
  const className = `note ${note.tone}`;
  if (!note.details.length) {
    return element("div", {className}, element("p", {}, note.text));
  }
  return element("details", {className}, element("summary", {}, note.text),
    element("ul", {}, ...note.details.map((detail) => element("li", {}, detail))));
}

function tableElement(panel) {
  const right = panel.columns.map((title) => title.endsWith(">"));
  const cell = (name, text, number) => element(name, {className: right[number] ? "number" : null}, element("bdi", {}, text));
  const head = panel.columns.map((title, number) => cell("th", title.replace(/>$/, ""), number));
  head.forEach((one) => one.setAttribute("scope", "col"));
  const rows = panel.rows.map((row) => element("tr", {}, ...row.map((text, number) => cell("td", text, number))));
  const table = element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
  return titled(panel, table);
}

/** A panel's title, what it holds (which scrolls where it is wide) and its caption. */
function titled(panel, content) {
  const made = element("figure", {className: "panel"});
  if (panel.title) {
    made.append(element("h3", {}, panel.title));
  }
  made.append(element("div", {className: "scroll", tabindex: "0", role: "region", "aria-label": panel.title || "table"}, content));
  if (panel.caption) {
    made.append(element("figcaption", {className: "quiet"}, panel.caption));
  }
  return made;
}

/** A matrix as a table whose cells are coloured by the scale of the page. */
function matrixElement(panel) {
  const head = ["", ...panel.columnNames].map((name) => element("th", {scope: "col"}, name));
  const rows = panel.values.map((row, number) => element("tr", {},
    element("th", {scope: "row"}, panel.rowNames[number]),
    ...row.map((value) => matrixCell(value, panel.top))));
  const table = element("table", {className: "matrix"},
    element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
  return titled(panel, table);
}

function matrixCell(value, top) {
  if (value === null) {
    return element("td");
  }
  const made = element("td", {className: "number"}, value.toFixed(2));
  const colour = scaleColours[Math.round(255 * Math.min(1, Math.max(0, value / (top || 1))))];
  made.style.backgroundColor = `rgb(${colour.join(" ")})`;
  made.style.color = isLight(colour) ? "#000" : "#fff";
  return made;
}

/** Whether black is read better on a colour than white: by its relative luminance, WCAG 2.2. */
function isLight(colour) {
  const [red, green, blue] = colour.map((part) => part / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179;
}

const PANELS = {note: noteElement, table: tableElement, matrix: matrixElement};

/** Put panels into a section, which is hidden without any. */
function fillSection(id, panels) {
  const section = document.getElementById(id);
  section.hidden = panels.length === 0;
  section.append(...panels.map((panel) => PANELS[panel.kind](panel)));
}

/** What the colours of the map mean. */
function legendElement(shown, options) {
  const made = element("div", {className: "legend"});
  const swatch = (colour, text) => {
    const box = element("span", {className: "swatch", "aria-hidden": "true"});
    box.style.backgroundColor = colour;
    return element("span", {className: "entry"}, box, text);
  };
  if (options.show === "mask") {
    made.append(swatch(report.look.visible, `visible ${share(shown, 0)}`));
    for (const reason of report.look.reasons) {
      if (shown.reasons.some((bits) => bits & reason.bit)) {
        made.append(swatch(reason.fill, `${reason.word} ${share(shown, reason.bit)}`));
      }
    }
    if (shown.reasons.some((bits, at) => bits === 0 && shown.real[Math.floor(at / shown.keys)] === "0")) {
      made.append(swatch(report.look.meaningless, "visible to padding, without meaning"));
    }
    return made;
  }
  const [low, high] = options.scale === "log" ? [String(LOWEST), String(+options.top.toPrecision(3))] : ["0", String(+options.top.toPrecision(3))];
  const bar = element("canvas", {className: "bar", width: "256", height: "1", role: "img", "aria-label": `colours from ${low} to ${high}, ${options.scale}`});
  const image = new ImageData(256, 1);
  scaleColours.forEach((colour, place) => image.data.set([...colour, 255], 4 * place));
  bar.getContext("2d").putImageData(image, 0, 0);
  made.append(element("span", {className: "entry"}, low, bar, high));
  if (shown.reasons.some((bits) => bits)) {
    made.append(swatch(styleText("--blocked"), "blocked"));
  }
  if (shown.real.includes("0")) {
    made.append(element("span", {className: "entry quiet"}, "grey rows: padding queries"));
  }
  return made;
}

/** The share of the cells of real queries that a reason blocks, or for no bit that are visible. */
function share(shown, bit) {
  const counted = shown.reasons.filter((_, at) => shown.real[Math.floor(at / shown.keys)] === "1");
  const count = counted.reduce((sum, bits) => sum + (bit ? (bits & bit) !== 0 : bits === 0), 0);
  return counted.length ? `${((100 * count) / counted.length).toFixed(1)}%` : "none";
}
