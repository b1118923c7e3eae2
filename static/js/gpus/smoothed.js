/* Bursts are a solid block at three points a pixel: so lines are drawn as means of 180th parts of the range, with the
   lowest and the highest of each part behind them. A gap stays one. */

import { isKnown } from "berth/gpus/numbers";
import { LENGTH_S } from "berth/gpus/series";

const PARTS = 180;

function mean(values) {
  const known = values.filter(isKnown);
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
}

function edge(values, pick) {
  const known = values.filter(isKnown);
  return known.length ? known.reduce((one, other) => pick(one, other)) : null;
}

/** Columns for uPlot: time, the highest and the lowest of the first of `names`, then the means of all. */
export function smoothed(series, names) {
  const { at } = series;
  const step = LENGTH_S[series.range] / PARTS;
  const [first] = names;
  const highs = series.high?.[first] ?? series[first];
  const lows = series.low?.[first] ?? series[first];
  const columns = [[], [], [], ...names.map(() => [])];
  let from = 0;
  const close = (to) => {
    const part = (column) => column.slice(from, to);
    const row = [at[from], edge(part(highs), Math.max), edge(part(lows), Math.min), ...names.map((name) => mean(part(series[name])))];
    row.forEach((value, place) => columns[place].push(value));
    from = to;
  };
  const isThere = (place) => names.some((name) => isKnown(series[name][place]));
  for (let place = 1; place < at.length; place += 1) {
    if (isThere(place) !== isThere(place - 1) || Math.floor(at[place] / step) !== Math.floor(at[from] / step)) close(place);
  }
  if (at.length) close(at.length);
  return columns;
}
