/* Markers on the lines of a chart: a shape for each run, so that colour is never the only difference. */

const SIZE = 4.5;

const SHAPES = {
  circle: (path, x, y, r) => path.arc(x, y, r, 0, 2 * Math.PI),
  square: (path, x, y, r) => path.rect(x - r, y - r, 2 * r, 2 * r),
  triangle: (path, x, y, r) => polygon(path, [[x, y - r * 1.2], [x + r * 1.15, y + r], [x - r * 1.15, y + r]]),
  diamond: (path, x, y, r) => polygon(path, [[x, y - r * 1.3], [x + r * 1.3, y], [x, y + r * 1.3], [x - r * 1.3, y]]),
  cross: (path, x, y, r) => strokes(path, [[x - r, y - r, x + r, y + r], [x + r, y - r, x - r, y + r]]),
  plus: (path, x, y, r) => strokes(path, [[x, y - r * 1.3, x, y + r * 1.3], [x - r * 1.3, y, x + r * 1.3, y]]),
};

function polygon(path, points) {
  points.forEach(([x, y], index) => (index ? path.lineTo(x, y) : path.moveTo(x, y)));
  path.closePath();
}

function strokes(path, lines) {
  for (const [fromX, fromY, toX, toY] of lines) {
    path.moveTo(fromX, fromY);
    path.lineTo(toX, toY);
  }
}

/** Options of a series that draw `marker` at each of its values, in the colour that `stroke` gives. */
export function drawMarkers(marker, stroke) {
  const draw = SHAPES[marker] ?? SHAPES.circle;
  const points = {
    show(plot, series, first, last) {
      const { ctx } = plot;
      const ratio = devicePixelRatio;
      const path = new Path2D();
      const values = plot.data[series];
      for (let index = first; index <= last; index += 1) {
        const value = values[index];
        if (value === null || value === undefined) continue;
        const x = Math.round(plot.valToPos(plot.data[0][index], "x", true));
        const piece = new Path2D();
        draw(piece, x, Math.round(plot.valToPos(value, "y", true)), SIZE * ratio);
        path.addPath(piece);
      }
      ctx.save();
      ctx.setLineDash([]);
      ctx.lineWidth = 2 * ratio;
      ctx.fillStyle = ctx.strokeStyle = stroke();
      if (marker !== "cross" && marker !== "plus") ctx.fill(path);
      ctx.stroke(path);
      ctx.restore();
      return false;
    },
  };
  return { points };
}
