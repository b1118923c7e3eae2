/* The charts of load tests: throughput and waiting against users at once, a line a run. What is drawn stands in data-load-lines. */

import uPlot from "uplot";

import { attach } from "berth/attach";
import { colourOf } from "berth/gpus/chart_colours";
import { onTheme } from "berth/gpus/theme";
import { drawMarkers } from "berth/playground/load_markers";

const HEIGHT = 270;
const DASHES = { solid: [], dashed: [8, 4], dotted: [2, 3], "dash-dot": [8, 3, 2, 3] };
const strings = JSON.parse(document.getElementById("load-strings")?.textContent ?? "{}");
const language = document.documentElement.lang;
const figure = new Intl.NumberFormat(language, { maximumSignificantDigits: 4 });
const short = new Intl.NumberFormat(language, { notation: "compact", maximumFractionDigits: 1 });
//: What each chart draws: the first of these that any run has.
const WANTED = { throughput: ["tokens_per_s", "requests_per_s"], latency: ["first_token_ms", "total_ms"] };

const known = (line, metric) => line[metric].some((value) => value !== null);

function table(lines, users, metric) {
  return [users, ...lines.map((line) => users.map((each) => line[metric][line.users.indexOf(each)] ?? null))];
}

function axis(chart, more) {
  const grid = { stroke: () => colourOf(chart, "ink-line"), width: 1 };
  return { stroke: () => colourOf(chart, "ink-quiet"), font: "11px system-ui, sans-serif", gap: 4, grid, ticks: { show: false }, ...more };
}

function options(chart, lines, users, hear) {
  return {
    width: Math.max(200, chart.querySelector("[data-plot]").clientWidth),
    height: HEIGHT,
    padding: [10, 14, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
    scales: {
      x: { time: false, distr: 3, log: 2, range: () => [users[0] / 1.15, users.at(-1) * 1.15] },
      y: { range: (_plot, _min, max) => [0, max > 0 ? max * 1.1 : 1] },
    },
    axes: [
      axis(chart, { size: 24, label: strings.axis, labelSize: 20, labelGap: 0, labelFont: "11px system-ui, sans-serif", splits: () => users, filter: (_plot, splits) => splits, values: (_plot, splits) => splits.map((each) => figure.format(each)) }),
      axis(chart, { size: 44, values: (_plot, splits) => splits.map((each) => short.format(each)) }),
    ],
    series: [{}, ...lines.map((line) => series(chart, line))],
    hooks: { setCursor: [({ cursor }) => hear(cursor.idx)] },
  };
}

function series(chart, line) {
  const stroke = () => colourOf(chart, line.hue);
  return { stroke, width: 2, dash: DASHES[line.dash], spanGaps: true, ...drawMarkers(line.marker, stroke) };
}

function say(lines, users, metric, index) {
  for (const line of lines) {
    const place = document.querySelector(`[data-value="${line.number}"]`);
    const value = index === null || index === undefined ? null : line[metric][line.users.indexOf(users[index])];
    if (place) place.textContent = value === null || value === undefined ? "" : figure.format(value);
  }
}

function draw(chart, lines) {
  const metric = WANTED[chart.dataset.chart].find((name) => lines.some((line) => known(line, name)));
  const shown = metric ? lines.filter((line) => known(line, metric)) : [];
  chart.hidden = shown.length === 0;
  if (chart.hidden) return null;
  const users = [...new Set(shown.flatMap((line) => line.users))].sort((one, other) => one - other);
  const title = chart.querySelector("[data-title]");
  title.textContent = strings[metric];
  const hear = (index) => {
    title.textContent = index === null || index === undefined ? strings[metric] : `${strings[metric]} · ${strings.users.replace("{n}", figure.format(users[index]))}`;
    say(shown, users, metric, index);
  };
  return new uPlot(options(chart, shown, users, hear), table(shown, users, metric), chart.querySelector("[data-plot]"));
}

attach("[data-load-charts]", (place) => {
  let plots = [];
  let drawn = "";
  const clear = () => plots.splice(0).forEach((plot) => plot.destroy());
  const show = ({ anew = false } = {}) => {
    const text = document.querySelector("[data-load-lines]")?.dataset.loadLines ?? "[]";
    if (text === drawn && !anew) return;
    drawn = text;
    clear();
    const lines = JSON.parse(text).filter((line) => line.users.length > 0);
    plots = [...place.querySelectorAll("[data-chart]")].map((chart) => draw(chart, lines)).filter(Boolean);
    place.querySelector("[data-none]").hidden = plots.length > 0;
  };
  const sizes = new ResizeObserver(() => {
    for (const plot of plots) plot.setSize({ width: Math.max(200, plot.root.parentElement.clientWidth), height: HEIGHT });
  });
  sizes.observe(place);
  const changes = new MutationObserver(() => show());
  changes.observe(document.getElementById("main"), { subtree: true, attributeFilter: ["data-load-lines"], childList: true });
  const leave = onTheme(() => show({ anew: true }));
  show();
  return () => {
    sizes.disconnect();
    changes.disconnect();
    leave();
    clear();
  };
});
