// What speaks for a class, drawn over the picture in grey: red for it, blue against it.

const RED = [214, 39, 40];
const BLUE = [31, 119, 180];
const STRONGEST = 0.75;  // how much of the picture the largest value covers
const SIDE = 448;  // pixels

/**
 * Draws a map.
 *
 * `source` is what the browser can draw, or null; `size` is [width, height] of it; `network` has the
 * img_size and crop_pct by which the server cut the same picture.
 */
export function draw(canvas, source, size, network, { rows, columns, contributions }) {
  const [height, width] = network.img_size ?? [1, 1];
  const scale = SIDE / Math.min(width, height);
  canvas.width = Math.round(scale * width);
  canvas.height = Math.round(scale * height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  if (source) {
    context.drawImage(source, ...seen(size, [width, height], network.crop_pct ?? 1), 0, 0, canvas.width, canvas.height);
    turnGrey(context, canvas);
  }
  context.drawImage(colours(rows, columns, contributions), 0, 0, canvas.width, canvas.height);
}

/** The part of a picture that a network sees: [left, top, width, height]. */
export function seen([width, height], [inWidth, inHeight], crop) {
  // The server scales the shorter side to the network's, larger by 1 / crop, and cuts the middle out.
  const shorter = Math.min(width, height);
  const perPixel = (crop * shorter) / Math.min(inWidth, inHeight);
  const [partWidth, partHeight] = [perPixel * inWidth, perPixel * inHeight];
  return [(width - partWidth) / 2, (height - partHeight) / 2, partWidth, partHeight];
}

function turnGrey(context, { width, height }) {
  const pixels = context.getImageData(0, 0, width, height);
  const { data } = pixels;
  for (let i = 0; i < data.length; i += 4) {
    // The weights are those of ITU-R BT.601, which pictures are turned grey by elsewhere, too.
    data[i] = data[i + 1] = data[i + 2] = 0.299 * data[i] + 0.587 * data[i + 1] + 0.114 * data[i + 2];
  }
  context.putImageData(pixels, 0, 0);
}

/** One pixel a patch; the largest value sets the scale. */
function colours(rows, columns, contributions) {
  const values = contributions.flat();
  const largest = Math.max(...values.map(Math.abs)) || 1;
  const canvas = document.createElement("canvas");
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(columns, rows);
  values.forEach((value, index) => {
    const cover = (255 * STRONGEST * Math.abs(value)) / largest;
    pixels.data.set([...(value > 0 ? RED : BLUE), cover], 4 * index);
  });
  context.putImageData(pixels, 0, 0);
  return canvas;
}

/** The map in a sentence, for those who do not see it. */
export function inWords({ label, rows, columns, contributions }) {
  const values = contributions.flat();
  const largest = Math.max(...values);
  if (largest <= 0) return `No part of the picture speaks for ${label}.`;
  const index = values.indexOf(largest);
  const [row, column] = [Math.floor(index / columns), index % columns];
  return `What speaks most for ${label} is ${place(row / (rows - 1), column / (columns - 1))} of the picture.`;
}

function place(down, right) {
  const third = (share, names) => names[Number.isNaN(share) ? 1 : Math.min(2, Math.floor(3 * share))];
  const vertical = third(down, ["at the top", "", "at the bottom"]);
  const horizontal = third(right, ["on the left", "", "on the right"]);
  return [vertical, horizontal].filter(Boolean).join(", ") || "in the middle";
}
