/* The SM clock, and bands where something held it back: each kind hatched its own way. */

import { baseOptions, makePlot, valueAxis } from "berth/gpus/chart_base";
import { colourOf } from "berth/gpus/chart_colours";
import { makeKey } from "berth/gpus/chart_key";
import { whole } from "berth/gpus/numbers";
import { hatch } from "berth/gpus/patterns";
import { bit } from "berth/gpus/series";
import { smoothed } from "berth/gpus/smoothed";
import { words } from "berth/gpus/words";

const BANDS = [
  { name: "power_band", mask: bit("power_cap") | bit("power_brake"), ink: "ink-capped", kind: "rising" },
  { name: "heat_band", mask: bit("thermal_software") | bit("thermal_hardware"), ink: "ink-heat", kind: "crossed" },
  { name: "hardware_band", mask: bit("hardware"), ink: "ink-heat", kind: "falling" },
];

function share(series, mask) {
  const known = series.limiters.filter((value) => value !== null);
  return known.length ? (100 * known.filter((value) => value & mask).length) / known.length : null;
}

function drawBands(chart, plot, series) {
  const { ctx, bbox } = plot;
  ctx.save();
  for (const band of BANDS) {
    ctx.fillStyle = hatch(colourOf(chart, band.ink), band.kind);
    series.at.forEach((at, index) => {
      if (!((series.limiters[index] ?? 0) & band.mask)) return;
      const from = Math.max(plot.valToPos(at, "x", true), bbox.left);
      const next = series.at[index + 1] ?? at + series.step;
      const to = Math.min(plot.valToPos(Math.min(next, at + 2 * series.step), "x", true), bbox.left + bbox.width);
      if (to > from) ctx.fillRect(from, bbox.top, to - from, bbox.height);
    });
  }
  ctx.restore();
}

/** The chart; the key tells for how much of the range each kind held. */
export function clockChart(chart, view) {
  const options = baseOptions(chart, view, view.point);
  options.scales.y = { range: (_plot, _low, high) => [0, Math.max(view.clockMax, high ?? 0, 100)] };
  options.axes.push(valueAxis(chart, { values: (_plot, splits) => splits.map(whole) }));
  const hidden = { stroke: "transparent", width: 0, points: { show: false } };
  options.series = [{}, hidden, hidden, { stroke: () => colourOf(chart, "ink-clock"), width: 1.5, points: { show: false } }];
  options.bands = [{ series: [1, 2], fill: () => `color-mix(in oklab, ${colourOf(chart, "ink-clock")} 16%, transparent)` }];
  options.hooks.drawClear = [(plot) => drawBands(chart, plot, view.series)];
  const data = () => smoothed(view.series, ["clock"]);
  const made = makePlot(chart, options, data());
  const entries = [
    { name: words("clock"), mark: "key-line ink-clock", read: (index) => whole(view.series.clock[index]) },
    ...BANDS.filter((band, place) => place === 0 || view.series.limiters.some((value) => value & band.mask)).map((band) => ({ name: words(band.name), mark: `key-band key-${band.kind} ${band.ink}`, read: () => `${whole(share(view.series, band.mask))} %` })),
  ];
  return { ...made, write: makeKey(chart.querySelector("[data-chart-key]"), view, entries), update: () => made.plot.setData(data()) };
}
