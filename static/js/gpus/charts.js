/* The three charts of one GPU: asked for when they come into view, drawn on with each reading. */

import { attach } from "berth/attach";
import { activityChart } from "berth/gpus/chart_activity";
import { momentWords } from "berth/gpus/chart_base";
import { clockChart } from "berth/gpus/chart_clock";
import { memoryChart } from "berth/gpus/chart_memory";
import { sizeOf } from "berth/gpus/chart_sizes";
import { writeMarks, writeTable } from "berth/gpus/chart_texts";
import { forgoTurn, inTurn } from "berth/gpus/chart_turns";
import { write } from "berth/gpus/numbers";
import { onRange, range } from "berth/gpus/range";
import { append, LENGTH_S, load, presence } from "berth/gpus/series";
import { onTheme } from "berth/gpus/theme";
import { watchNode } from "berth/gpus/watch";
import { words } from "berth/gpus/words";

const AGAIN_MS = { "15m": 60_000, "6h": 20_000, "24h": 60_000, "7d": 300_000 };
const RETRY_MS = 5000;
const MISSED_S = 5;

class GpuCharts {
  constructor(root) {
    this.root = root;
    this.hues = new Map();
    this.time = null;
    // What the charts draw: another range is other columns in the same plots.
    this.view = {
      series: null,
      lengthS: 0,
      memoryTotal: Number(root.dataset.memoryTotal),
      powerLimit: Number(root.dataset.powerLimit),
      clockMax: Number(root.dataset.clockMax),
      point: (time) => this.point(time),
    };
    this.charts = [];
  }

  find(name) {
    return this.root.querySelector(name);
  }

  say(text) {
    const note = this.find("[data-charts-note]");
    note.hidden = text === "";
    write(note, text);
  }

  async ask() {
    clearTimeout(this.timer);
    this.asking?.abort();
    const asking = (this.asking = new AbortController());
    const wanted = range();
    try {
      const series = await load(this.root.dataset.series, wanted, asking.signal);
      if (asking.signal.aborted) return;
      this.take(series);
      this.timer = setTimeout(() => this.ask(), AGAIN_MS[wanted]);
    } catch (error) {
      if (asking.signal.aborted) return;
      this.say(words("unreachable"));
      this.timer = setTimeout(() => this.ask(), RETRY_MS);
    }
  }

  take(series) {
    this.view.series = series;
    this.view.lengthS = LENGTH_S[series.range];
    this.say(series.at.length ? "" : words("no_history"));
    this.draw();
    this.point(null);
    this.root.dataset.drawn = series.range;
    writeMarks(this.find("[data-charts-marks]"), series);
    writeTable(this.find("[data-charts-table]"), series);
  }

  draw() {
    const { view } = this;
    const there = presence(view.series);
    if (this.charts.length && there === this.drawn) for (const chart of this.charts) chart.update();
    else this.make(there);
  }

  make(there) {
    this.clear();
    this.drawn = there;
    for (const place of this.root.querySelectorAll("[data-plot]")) sizeOf(place);
    this.charts = [
      memoryChart(this.find("[data-chart=memory]"), this.view, this.hues),
      activityChart(this.find("[data-chart=activity]"), this.view),
      clockChart(this.find("[data-chart=clock]"), this.view),
    ];
  }

  clear() {
    for (const chart of this.charts) chart.destroy();
    this.charts = [];
  }

  point(time) {
    const { series } = this.view;
    if (!series) return;
    this.time = time;
    for (const chart of this.charts) chart.write(time);
    const place = this.root.parentElement.querySelector("[data-cursor-time]");
    write(place, time === null ? "" : momentWords(time, series.range));
  }

  hear(node) {
    for (const run of node.runs ?? []) this.hues.set(run.deployment_id, run.hue);
    const gpu = node.gpus.find((each) => each.uuid === this.root.dataset.uuid);
    const { series } = this.view;
    if (!gpu || series?.range !== "15m") return;
    const last = series.at.at(-1);
    if (last && node.at - last > MISSED_S) this.ask();
    append(series, gpu, node);
    this.say("");
    this.draw();
    this.point(this.time);
  }

  end() {
    clearTimeout(this.timer);
    this.asking?.abort();
    forgoTurn(this.root);
    this.clear();
  }
}

attach("[data-gpu-charts]", (root) => {
  const charts = new GpuCharts(root);
  const leaving = [];
  const seen = new IntersectionObserver(
    (entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      seen.disconnect();
      const ask = () => inTurn(root, () => charts.ask());
      ask();
      leaving.push(onRange(ask), watchNode(root.dataset.node, (node) => charts.hear(node)), onTheme(() => charts.charts.forEach(({ plot }) => plot.redraw(true, true))));
    },
    { rootMargin: "400px" },
  );
  seen.observe(root);
  return () => {
    seen.disconnect();
    for (const leave of leaving) leave();
    charts.end();
  };
});
