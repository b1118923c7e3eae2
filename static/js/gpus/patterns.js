/* Fills that differ without their colour: hatched one way, the other, or crossed. */

const SIZE = 8;
const made = new Map();

function stroke(context, points) {
  context.beginPath();
  for (const [x, y] of points) (x === points[0][0] && y === points[0][1] ? context.moveTo(x, y) : context.lineTo(x, y));
  context.stroke();
}

/** A canvas pattern: `kind` is rising, falling or crossed. */
export function hatch(colour, kind) {
  const key = `${colour} ${kind} ${devicePixelRatio}`;
  if (made.has(key)) return made.get(key);
  const size = SIZE * devicePixelRatio;
  const canvas = new OffscreenCanvas(size, size);
  const context = canvas.getContext("2d");
  context.globalAlpha = 0.14;
  context.fillStyle = context.strokeStyle = colour;
  context.fillRect(0, 0, size, size);
  context.globalAlpha = 0.5;
  context.lineWidth = devicePixelRatio * 1.25;
  for (const shift of [-size, 0, size]) {
    if (kind !== "falling") stroke(context, [[shift, size], [shift + size, 0]]);
    if (kind !== "rising") stroke(context, [[shift, 0], [shift + size, size]]);
  }
  const pattern = context.createPattern(canvas, "repeat");
  made.set(key, pattern);
  return pattern;
}
