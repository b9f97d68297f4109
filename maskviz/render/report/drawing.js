// Cells as pixels. A map of weights that has to be folded keeps its peaks; a mask is never averaged to grey.

const LOWEST = 1e-4;
const rgbOf = (colour) => [1, 3, 5].map((place) => parseInt(colour.slice(place, place + 2), 16));
const scaleColours = report.look.scale.map(rgbOf);
const reasonColours = new Map(report.look.reasons.map((one) => [one.bit, rgbOf(one.fill)]));

/** What the style names, such as a colour. */
function styleText(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** The colours of both themes that cells need. */
function cellColours() {
  return {
    blocked: [0, 0, 0, 0], // what lies behind shows, in the colour of blocked cells of the theme
    visible: rgbOf(report.look.visible),
    some: rgbOf(report.look.some),
    meaningless: rgbOf(report.look.meaningless),
    notANumber: rgbOf(report.look.notANumber),
    dark: document.documentElement.dataset.theme === "dark",
  };
}

/** The place of a weight on the scale, 0 to 1. */
function levelOf(weight, top, scale) {
  if (scale === "log") {
    const low = Math.log10(LOWEST);
    const high = Math.log10(Math.max(top, LOWEST * 1.000001));
    return (Math.log10(Math.max(weight, LOWEST)) - low) / (high - low);
  }
  return weight / top;
}

/** The colour of each code of a weight: 256 of [red, green, blue]. */
function colourTable(top, scale, colours, greyed) {
  return Array.from({length: 256}, (_, code) => {
    const weight = weightOf[code];
    if (code === NOT_A_NUMBER) {
      return colours.notANumber;
    }
    const level = Math.min(1, Math.max(0, levelOf(weight || 0, top || 1, scale)));
    const colour = scaleColours[Math.round(level * 255)];
    return greyed ? paled(colour, colours.dark) : colour;
  });
}

/** A colour of a row without meaning: grey and pale. */
function paled(colour, dark) {
  const lightness = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2];
  const pale = Math.round(dark ? 60 + lightness * 0.25 : 150 + (lightness * 85) / 255);
  return [pale, pale, pale];
}

/** How many cells one place stands for, so that at most `places` are drawn along an axis. */
function foldFor(cells, places) {
  return Math.max(1, Math.ceil(cells / Math.max(1, places)));
}

/** One head, or its mask, as an image of a pixel per place. */
function imageOf(shown, options) {
  const {fold} = options;
  const [high, wide] = [Math.ceil(shown.queries / fold), Math.ceil(shown.keys / fold)];
  const image = new ImageData(wide, high);
  const colours = cellColours();
  const paint = options.show === "mask" || !shown.codes ? maskPainter(shown, colours) : weightPainter(shown, options, colours);
  for (let row = 0; row < high; row += 1) {
    for (let column = 0; column < wide; column += 1) {
      const colour = paint(row * fold, Math.min(shown.queries, (row + 1) * fold),
        column * fold, Math.min(shown.keys, (column + 1) * fold));
      const at = 4 * (row * wide + column);
      image.data[at] = colour[0];
      image.data[at + 1] = colour[1];
      image.data[at + 2] = colour[2];
      image.data[at + 3] = colour[3] ?? 255;
    }
  }
  return image;
}

/** A function of a tile: the colour of its largest weight, or that of blocked where all of it is. */
function weightPainter(shown, options, colours) {
  const plain = colourTable(options.top, options.scale, colours, false);
  const greyed = colourTable(options.top, options.scale, colours, true);
  return (top, bottom, left, right) => {
    let most = -1;
    let meaningless = true;
    for (let query = top; query < bottom; query += 1) {
      meaningless = meaningless && shown.real[query] === "0";
      for (let at = query * shown.keys + left; at < query * shown.keys + right; at += 1) {
        if (shown.reasons[at] === 0 && shown.codes[at] > most) {
          most = shown.codes[at];
        }
      }
    }
    if (most < 0) {
      return colours.blocked;
    }
    return (meaningless ? greyed : plain)[most];
  };
}

/** A function of a tile: the colour of why all of it is blocked, of visible, or of some. */
function maskPainter(shown, colours) {
  return (top, bottom, left, right) => {
    let visible = 0;
    let first = 0;
    let meaningless = true;
    for (let query = top; query < bottom; query += 1) {
      meaningless = meaningless && shown.real[query] === "0";
      for (let at = query * shown.keys + left; at < query * shown.keys + right; at += 1) {
        visible += shown.reasons[at] === 0 ? 1 : 0;
        first = first || shown.reasons[at];
      }
    }
    if (visible === 0) {
      return reasonColours.get(first & -first);
    }
    if (visible === (bottom - top) * (right - left)) {
      return meaningless ? colours.meaningless : colours.visible;
    }
    return colours.some;
  };
}

/** Draw an image into a canvas of its own size, to be enlarged without smoothing. */
function bitmapOf(image) {
  const canvas = document.createElement("canvas");
  canvas.width = image.width;
  canvas.height = image.height;
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

// How each small picture is painted again in the colours of the theme, at once: paper does not wait.
const repaints = new WeakMap();

// CSS pixels below which a small picture is not read.
const LEAST_SMALL = 48;

/** Draw a head small: about `side` CSS pixels along its longer side, in whole pixels for each cell. */
function drawSmall(canvas, shown, side, options) {
  const ratio = Math.max(1, Math.min(3, window.devicePixelRatio || 1));
  const longest = Math.max(shown.queries, shown.keys);
  const fold = foldFor(longest, Math.floor(side * ratio));
  const image = imageOf(shown, {...options, fold});
  const pixels = Math.max(image.width, image.height);
  const within = Math.max(1, Math.floor((side * ratio) / pixels));
  const zoom = within * pixels < LEAST_SMALL * ratio ? within + 1 : within;
  canvas.width = image.width * zoom;
  canvas.height = image.height * zoom;
  canvas.style.width = `${canvas.width / ratio}px`;
  canvas.style.height = `${canvas.height / ratio}px`;
  const bitmap = bitmapOf(image);
  repaints.set(canvas, () => {
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.fillStyle = styleText("--blocked");
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  });
  repaints.get(canvas)();
}

/** A token as a label: blanks are seen. */
function tokenText(token) {
  return token[0].trim() || (token[0] === "" ? "∅" : "␣");
}

/** A text cut to a width in CSS pixels. */
function cut(context, text, width) {
  if (context.measureText(text).width <= width) {
    return text;
  }
  const characters = Array.from(text);
  while (characters.length > 1 && context.measureText(`${characters.join("")}…`).width > width) {
    characters.pop();
  }
  return `${characters.join("")}…`;
}
