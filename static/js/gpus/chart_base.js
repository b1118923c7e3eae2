/* What all charts share: one cursor, one time axis, colours out of the style sheet, and the marks of what happened. */

import uPlot from "uplot";

import { colourOf } from "berth/gpus/chart_colours";
import { onSize, sizeOf } from "berth/gpus/chart_sizes";
import { now } from "berth/gpus/numbers";

const SYNC = "berth-gpus";
const HEIGHT = 132;
export const RIGHT_AXIS = 36;
const MARKS = { start: "▷", ready: "●", stop: "■", crash: "✕", xid: "⚡" };
const language = document.documentElement.lang;
const hour = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const second = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(language, { day: "numeric", month: "short" });
const minuteOfDay = new Intl.DateTimeFormat(language, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const DAY_S = 86_400;
//: Room at the right of a chart without an axis there, in px.
const EDGE = 8;

uPlot.sync(SYNC);

/** A moment as the readout shows it: with the day where the range has several. */
export function momentWords(at, range) {
  return (range === "7d" || range === "24h" ? minuteOfDay : second).format(at * 1000);
}

/** None so near the end that the chart would cut it off. */
function timeLabels(plot, splits, step) {
  const { min, max } = plot.scales.x;
  const [words, halfPx] = step >= DAY_S ? [day, 26] : [hour, 18];
  const last = max - ((max - min) * (halfPx - EDGE)) / plot.width;
  return splits.map((at) => (at > last ? "" : words.format(at * 1000)));
}

function timeAxis(chart) {
  return {
    stroke: () => colourOf(chart, "ink-quiet"),
    font: "11px system-ui, sans-serif",
    size: 22,
    gap: 4,
    space: 64,
    grid: { stroke: () => colourOf(chart, "ink-line"), width: 1 },
    ticks: { show: false },
    incrs: [60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, DAY_S, 2 * DAY_S],
    values: (plot, splits, _axis, _space, step) => timeLabels(plot, splits, step),
  };
}

/** An axis of values at the left (side 3) or right (side 1). */
export function valueAxis(chart, { scale = "y", side = 3, size = 38, grid = true, splits, values } = {}) {
  return {
    scale,
    side,
    size,
    gap: 4,
    stroke: () => colourOf(chart, "ink-quiet"),
    font: "11px system-ui, sans-serif",
    grid: { show: grid, stroke: () => colourOf(chart, "ink-line"), width: 1 },
    ticks: { show: false },
    splits,
    values,
  };
}

function drawMarks(chart, plot, marks) {
  const { ctx, bbox } = plot;
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = colourOf(chart, "ink-mark");
  ctx.lineWidth = ratio;
  ctx.font = `${10 * ratio}px system-ui, sans-serif`;
  ctx.textAlign = "center";
  ctx.setLineDash([3 * ratio, 3 * ratio]);
  for (const mark of marks) {
    const x = Math.round(plot.valToPos(mark.at, "x", true));
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.fillText(MARKS[mark.kind] ?? "•", x, bbox.top - 2 * ratio);
  }
  ctx.restore();
}

/** Room at the right: below each other, charts with and without a right axis have one axis of time. */
function roomAtRight(place) {
  return (plot) => EDGE + (sizeOf(place).isBelow && !plot.axes.some((axis) => axis.side === 1) ? RIGHT_AXIS : 0);
}

/** Options that every chart has; `view` has the `series` that is drawn and its `lengthS`, `hear` is called with the time under the cursor or null. */
export function baseOptions(chart, view, hear) {
  const place = chart.querySelector("[data-plot]");
  return {
    width: sizeOf(place).width,
    height: HEIGHT,
    padding: [14, roomAtRight(place), 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 }, sync: { key: SYNC, scales: ["x", null], setSeries: false } },
    scales: { x: { time: true, range: () => [now() - view.lengthS, now()] } },
    axes: [timeAxis(chart)],
    hooks: { draw: [(drawn) => drawMarks(chart, drawn, view.series.markers)], setCursor: [({ cursor, data }) => hear(data[0][cursor.idx] ?? null)] },
  };
}

/** Make a chart that keeps the width of its place; `destroy` of what is given back ends it. */
export function makePlot(chart, options, data) {
  const place = chart.querySelector("[data-plot]");
  const plot = new uPlot(options, data, place);
  const leave = onSize(place, ({ width }) => {
    if (width !== plot.width) plot.setSize({ width, height: HEIGHT });
  });
  return {
    plot,
    destroy() {
      leave();
      plot.destroy();
    },
  };
}
