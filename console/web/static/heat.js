// Heat maps on canvases: transparent where nothing is wrong, then purple, red, orange and yellow (after "inferno").

const STOPS = [
  [0, 40, 11, 84],
  [0.35, 136, 34, 106],
  [0.6, 214, 70, 60],
  [0.8, 251, 149, 30],
  [1, 252, 255, 164],
];

const colours = new Uint8ClampedArray(256 * 3);
for (let level = 0; level < 256; level++) {
  const at = level / 255;
  const high = Math.max(1, STOPS.findIndex(([stop]) => stop >= at));
  const [from, to] = [STOPS[high - 1], STOPS[high]];
  const share = (at - from[0]) / (to[0] - from[0]);
  for (let channel = 0; channel < 3; channel++) {
    colours[level * 3 + channel] = from[channel + 1] + share * (to[channel + 1] - from[channel + 1]);
  }
}

/** The bytes of base64. */
export const unpack = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

/** A canvas of rows × cols for `heat` as the API gives it; values well below `threshold` are transparent. */
export function paint(heat, threshold) {
  const values = unpack(heat.values);
  const floor = 255 * Math.min(0.9, (0.4 * threshold) / heat.scale);
  // a colour for each level first: fifty maps come at once, and a cell must cost no more than a look into a table
  const levels = new Uint8ClampedArray(256 * 4);
  for (let level = 0; level < 256; level++) {
    levels.set(colours.subarray(level * 3, level * 3 + 3), level * 4);
    levels[level * 4 + 3] = 255 * Math.min(1, Math.max(0, (level - floor) / (255 - floor)) * 1.6);
  }
  const table = new Uint32Array(levels.buffer);
  const image = new ImageData(heat.cols, heat.rows);
  const cells = new Uint32Array(image.data.buffer);
  for (let cell = 0; cell < cells.length; cell++) cells[cell] = table[values[cell]];
  const canvas = document.createElement("canvas");
  canvas.width = heat.cols;
  canvas.height = heat.rows;
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

/** Draws a painted heat map over the whole of `context`'s canvas. */
export function lay(context, painted, opacity) {
  context.globalAlpha = opacity;
  context.imageSmoothingEnabled = true;
  context.drawImage(painted, 0, 0, context.canvas.width, context.canvas.height);
  context.globalAlpha = 1;
}
