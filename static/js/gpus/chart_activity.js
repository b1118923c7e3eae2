/* Utilisation in percent with SM activity, and power in watts at the right. Lines differ by their dashes too. */

import { baseOptions, makePlot, RIGHT_AXIS, valueAxis } from "berth/gpus/chart_base";
import { colourOf } from "berth/gpus/chart_colours";
import { makeKey } from "berth/gpus/chart_key";
import { whole } from "berth/gpus/numbers";
import { smoothed } from "berth/gpus/smoothed";
import { words } from "berth/gpus/words";

const faint = (colour, percent) => `color-mix(in oklab, ${colour} ${percent}%, transparent)`;

/** The chart: the mean as a line, and behind it from the lowest to the highest. The key has the exact values. */
export function activityChart(chart, view) {
  const ink = (name) => () => colourOf(chart, name);
  const options = baseOptions(chart, view, view.point);
  options.scales.y = { range: [0, 100] };
  options.scales.w = { range: (_plot, _low, high) => [0, view.powerLimit || Math.max(100, high ?? 0)] };
  options.axes.push(
    valueAxis(chart, { splits: () => [0, 50, 100] }),
    valueAxis(chart, { scale: "w", side: 1, size: RIGHT_AXIS, grid: false, splits: (_plot, _axis, _low, high) => [0, high / 2, high], values: (_plot, splits) => splits.map(whole) }),
  );
  const hidden = { stroke: "transparent", width: 0, points: { show: false } };
  options.series = [
    {},
    hidden,
    hidden,
    { stroke: ink("ink-busy"), width: 1.75, points: { show: false } },
    { stroke: ink("ink-sm"), width: 1.25, dash: [4, 3], points: { show: false } },
    { scale: "w", stroke: ink("ink-power"), width: 1.25, dash: [1, 2.5], points: { show: false } },
  ];
  options.bands = [{ series: [1, 2], fill: () => faint(colourOf(chart, "ink-busy"), 16) }];
  const data = () => smoothed(view.series, ["busy", "sm", "power"]);
  const made = makePlot(chart, options, data());
  const percent = (column) => (place) => `${whole(view.series[column][place])} %`;
  const entries = [
    { name: words("utilisation"), mark: "key-line ink-busy", read: percent("busy") },
    { name: words("sm"), mark: "key-line key-dashed ink-sm", read: percent("sm") },
    { name: words("power"), mark: "key-line key-dotted ink-power", read: (place) => `${whole(view.series.power[place])} W` },
  ];
  return { ...made, write: makeKey(chart.querySelector("[data-chart-key]"), view, entries), update: () => made.plot.setData(data()) };
}
