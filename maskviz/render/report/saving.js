// What can be taken away: the explanation of a cell, the picture and its numbers.

/** The explanation of the marked cell as text. */
function cellText() {
  const why = [...document.querySelectorAll("#why li")].map((line) => `- ${line.textContent}`);
  return [`${report.title} (${document.getElementById("map-title").textContent})`, document.getElementById("cell").textContent, ...why].join("\n");
}

/** Put text on the clipboard; whether that went well. */
async function copied(text) {
  // a browser that is asked for leave may say nothing at all, and the older way needs a click that is seconds old
  const silent = new Promise((_, fail) => { setTimeout(fail, 1000); });
  try {
    await Promise.race([navigator.clipboard.writeText(text), silent]);
    return true;
  } catch {
    const box = element("textarea", {className: "skip", readonly: true, "aria-hidden": "true"}, text);
    document.body.append(box);
    box.select();
    const done = document.execCommand("copy"); // in a frame of a notebook the newer way is closed
    box.remove();
    return done;
  }
}

/** Offer a file as a download. */
function offer(name, blob) {
  const address = URL.createObjectURL(blob);
  const link = element("a", {href: address, download: name});
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

/** What is drawn as part of a file's name, such as head-1.2-text-2. */
function fileStem() {
  return document.getElementById("map-title").textContent.toLowerCase().replace(/[^a-z0-9.]+/g, "-").replace(/^-|-$/g, "");
}

/** The picture that is drawn, without a mark, under its title. */
function savedPicture(linesDrawn, mark, lit) {
  let picture = null;
  if (linesDrawn) {
    picture = linesPicture();
  } else {
    drawMark(null, false);
    picture = {canvas: bitmapOf(mapCanvas.getContext("2d").getImageData(0, 0, mapCanvas.width, mapCanvas.height)), ratio: large.layout.ratio};
    drawMark(mark, lit);
  }
  const {canvas, ratio} = picture;
  const whole = document.createElement("canvas");
  const context = whole.getContext("2d");
  const words = [document.getElementById("map-title").textContent, report.title, document.getElementById("map-caption").textContent];
  context.font = labelFont(true);
  const widest = Math.min(900, Math.max(...words.map((one) => context.measureText(one).width)));
  whole.width = Math.ceil(Math.max(canvas.width, (widest + 4) * ratio) + 24 * ratio);
  whole.height = Math.ceil(canvas.height + 76 * ratio);
  context.fillStyle = styleText("--paper");
  context.fillRect(0, 0, whole.width, whole.height);
  context.drawImage(canvas, 12 * ratio, 64 * ratio);
  context.scale(ratio, ratio);
  context.textBaseline = "top";
  words.forEach((line, number) => {
    context.font = labelFont(number === 0);
    context.fillStyle = styleText(number === 2 ? "--quiet" : "--ink");
    context.fillText(cut(context, line, whole.width / ratio - 24), 12, 10 + 16 * number);
  });
  return whole;
}

/** A field of a table in CSV: in quotation marks where it needs them, RFC 4180. */
function csvField(value) {
  const text = String(value);
  return /[",\r\n]/.test(text) || text !== text.trim() ? `"${text.replaceAll('"', '""')}"` : text;
}

/** What is drawn as a table: a line for each query, a column for each key; what the mask blocks is empty. */
function csvText(shown, asMask) {
  const number = (at) => {
    if (asMask || !shown.codes) {
      return shown.reasons[at] === 0 ? 1 : 0;
    }
    const weight = weightAt(shown, at);
    if (shown.reasons[at] !== 0 && !weight) {
      return "";
    }
    return Number.isNaN(weight) ? "nan" : +weight.toPrecision(5);
  };
  const label = (token) => (token[2] === null ? token[0] : `${token[2]} ${token[0]}`);
  const head = ["query \\ key", ...shown.keyTokens.map(label)];
  const rows = shown.queryTokens.map((token, query) => [
    label(token), ...shown.keyTokens.map((_, key) => number(query * shown.keys + key))]);
  return [head, ...rows].map((row) => row.map(csvField).join(",")).join("\r\n").concat("\r\n");
}

function listenToTools() {
  const say = (text) => { byId("copied").textContent = text; };
  byId("copy").addEventListener("click", async () => { say(await copied(cellText()) ? "copied" : "this browser lets no page copy"); });
  byId("save-picture").addEventListener("click", () => {
    savedPicture(linesDrawn(), state.mark, state.lit).toBlob((blob) => offer(`${fileStem()}.png`, blob), "image/png");
  });
  byId("save-numbers").addEventListener("click", () => {
    offer(`${fileStem()}.csv`, new Blob([csvText(shown, optionsNow().show === "mask")], {type: "text/csv;charset=utf-8"}));
  });
}
