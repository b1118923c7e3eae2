/* What the charts say without being seen: a table of the range, and the list of what happened. */

import { momentWords } from "berth/gpus/chart_base";
import { isKnown, tenth, toGib, whole } from "berth/gpus/numbers";
import { markWord, words } from "berth/gpus/words";

const ROWS = [
  ["memory", "used", "GiB", (value) => tenth(toGib(value))],
  ["utilisation", "busy", "%", whole],
  ["sm", "sm", "%", whole],
  ["power", "power", "W", whole],
  ["temperature", "temperature", "°C", whole],
  ["clock", "clock", "MHz", whole],
];
const MOST_MARKS = 12;

function cell(text) {
  const made = document.createElement("td");
  made.className = "number";
  made.textContent = text;
  return made;
}

function row(series, [name, column, unit, format]) {
  const known = series[column].filter(isKnown);
  const lows = (series.low?.[column] ?? series[column]).filter(isKnown);
  const highs = (series.high?.[column] ?? series[column]).filter(isKnown);
  const least = lows.reduce((low, value) => Math.min(low, value), Infinity);
  const most = highs.reduce((high, value) => Math.max(high, value), -Infinity);
  const numbers = known.length ? [known.at(-1), known.reduce((sum, value) => sum + value, 0) / known.length, least, most] : [null, null, null, null];
  const line = document.createElement("tr");
  const head = document.createElement("th");
  head.scope = "row";
  head.textContent = `${words(name)}, ${unit}`;
  line.append(head, ...numbers.map((value) => cell(format(value))));
  return line;
}

/** Write the table. */
export function writeTable(body, series) {
  body.replaceChildren(...ROWS.map((each) => row(series, each)));
}

/** Write what happened, the newest last; the list is hidden while it is empty. */
export function writeMarks(list, series) {
  const shown = series.markers.slice(-MOST_MARKS);
  list.hidden = shown.length === 0;
  list.replaceChildren(
    ...shown.map((mark) => {
      const line = document.createElement("li");
      const time = document.createElement("time");
      time.dateTime = new Date(mark.at * 1000).toISOString();
      time.textContent = momentWords(mark.at, series.range);
      line.className = `charts-mark mark-${mark.kind}`;
      line.append(time, ` ${[mark.config, markWord(mark.kind)].filter(Boolean).join(" ")}`, mark.text ? ` – ${mark.text}` : "");
      return line;
    }),
  );
}
