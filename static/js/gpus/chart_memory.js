/* Memory as a stack: each deployment in its hue, foreign hatched, what nobody explains grey, reserved on top. */

import { baseOptions, makePlot, valueAxis } from "berth/gpus/chart_base";
import { colourOf } from "berth/gpus/chart_colours";
import { makeKey } from "berth/gpus/chart_key";
import { gib, toGib, whole } from "berth/gpus/numbers";
import { hatch } from "berth/gpus/patterns";
import { words } from "berth/gpus/words";

const GIB = 1024 ** 3;

function rest(series) {
  return series.used.map((used, index) => {
    if (used === null) return null;
    let held = series.foreign[index] ?? 0;
    for (const run of series.runs.values()) held += run.values[index] ?? 0;
    return Math.max(0, used - held);
  });
}

function layersOf(series, hues) {
  const ofRun = (id) => (drawn) => drawn.runs.get(id).values;
  const layers = [...series.runs].map(([id, run]) => ({ name: `${run.config} #${id}`, ink: hues.get(id) ?? "hue-none", mark: "key-held", values: ofRun(id) }));
  if (series.foreign.some((bytes) => bytes > 0)) layers.push({ name: words("foreign"), ink: "ink-foreign", mark: "key-foreign", hatch: "falling", values: (drawn) => drawn.foreign });
  layers.push({ name: words("used"), ink: "ink-used", mark: "key-used", values: rest, minor: true });
  layers.push({ name: words("reserved"), ink: "ink-reserved", mark: "key-reserved", hatch: "rising", values: (drawn) => drawn.reserved, minor: true });
  return layers;
}

/** Sums from below, in GiB. Null where nothing is known. */
function stack(series, layers) {
  const sums = [];
  let below = series.at.map(() => 0);
  for (const layer of layers) {
    layer.now = layer.values(series);
    below = below.map((sum, index) => (series.used[index] === null ? null : sum + (layer.now[index] ?? 0) / GIB));
    sums.push(below);
  }
  return [series.at, ...sums];
}

/** The chart; `update()` draws the columns anew. */
export function memoryChart(chart, view, hues) {
  const layers = layersOf(view.series, hues);
  const shown = layers.filter((layer) => !layer.minor);
  const entries = [
    { name: words("memory"), mark: "key-none", read: (index) => gib(view.series.used[index]) },
    ...shown.map((layer) => ({ name: layer.name, mark: `${layer.mark} ${layer.ink}`, read: (index) => gib(layer.now[index]) })),
  ];
  const fill = (layer) => () => (layer.hatch ? hatch(colourOf(chart, layer.ink), layer.hatch) : colourOf(chart, layer.ink));
  const total = toGib(view.memoryTotal) ?? 0;
  const options = baseOptions(chart, view, view.point);
  options.scales.y = { range: (_plot, _low, high) => [0, total || Math.max(1, high)] };
  options.axes.push(valueAxis(chart, { values: (_plot, splits) => splits.map(whole) }));
  options.series = [{}, ...layers.map((layer, place) => ({ stroke: "transparent", width: 0, points: { show: false }, ...(place === 0 && { fill: fill(layer) }) }))];
  options.bands = layers.slice(1).map((layer, place) => ({ series: [place + 2, place + 1], fill: fill(layer) }));
  options.cursor.points = { show: false };
  const data = () => stack(view.series, layers);
  const made = makePlot(chart, options, data());
  return {
    ...made,
    write: makeKey(chart.querySelector("[data-chart-key]"), view, entries),
    update: () => made.plot.setData(data()),
  };
}
