/* The three charts of one GPU: asked for when they come into view, drawn on with each reading. */

import { attach } from "berth/attach";
import { activityChart } from "berth/gpus/chart_activity";
import { momentWords } from "berth/gpus/chart_base";
import { clockChart } from "berth/gpus/chart_clock";
import { memoryChart } from "berth/gpus/chart_memory";
import { writeMarks, writeTable } from "berth/gpus/chart_texts";
import { now, write } from "berth/gpus/numbers";
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
    this.view = {
      marks: [],
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
    this.series = series;
    this.view.lengthS = LENGTH_S[series.range];
    this.view.marks = series.markers;
    this.say(series.at.length ? "" : words("no_history"));
    this.draw();
    writeMarks(this.find("[data-charts-marks]"), series);
    writeTable(this.find("[data-charts-table]"), series);
    this.root.dataset.drawn = series.range;
  }

  draw() {
    this.clear();
    const { series, view } = this;
    this.drawn = presence(series);
    this.charts = [
      memoryChart(this.find("[data-chart=memory]"), series, view, this.hues),
      activityChart(this.find("[data-chart=activity]"), series, view),
      clockChart(this.find("[data-chart=clock]"), series, view),
    ];
    this.point(null);
  }

  clear() {
    for (const chart of this.charts) chart.destroy();
    this.charts = [];
  }

  point(time) {
    if (!this.series) return;
    this.time = time;
    for (const chart of this.charts) chart.write(time);
    const place = document.querySelector(`[data-cursor-time="${CSS.escape(this.root.dataset.uuid)}"]`);
    write(place, time === null ? "" : momentWords(time, this.series.range));
  }

  hear(node) {
    for (const run of node.runs ?? []) this.hues.set(run.deployment_id, run.hue);
    const gpu = node.gpus.find((each) => each.uuid === this.root.dataset.uuid);
    if (!gpu || this.series?.range !== "15m") return;
    const last = this.series.at.at(-1);
    if (last && node.at - last > MISSED_S) this.ask();
    append(this.series, gpu, node);
    this.say("");
    if (presence(this.series) !== this.drawn) return this.draw();
    for (const chart of this.charts) chart.update();
    if (this.time === null) this.point(null);
  }

  redraw() {
    for (const chart of this.charts) chart.plot.redraw(true, true);
  }

  end() {
    clearTimeout(this.timer);
    this.asking?.abort();
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
      charts.ask();
      leaving.push(onRange(() => charts.ask()), watchNode(root.dataset.node, (node) => charts.hear(node)), onTheme(() => charts.redraw()));
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
