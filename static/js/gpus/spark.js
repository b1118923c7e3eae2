/* The small line of the last 15 minutes: 90 points of 10 s, which go on by themselves. */

const POINTS = 90;
const STEP_S = 10;
const HEIGHT = 20;

function parse(text) {
  const values = text ? text.split(",").map((each) => (each === "" ? null : Number(each))) : [];
  return [...new Array(Math.max(0, POINTS - values.length)).fill(null), ...values].slice(-POINTS);
}

function path(values) {
  let drawn = "";
  values.forEach((value, index) => {
    if (value === null) return;
    const height = (HEIGHT - (Math.min(Math.max(value, 0), 100) * HEIGHT) / 100).toFixed(1);
    const before = values[index - 1] ?? null;
    drawn += `${before === null ? "M" : "L"}${index} ${height}`;
    if (before === null && (values[index + 1] ?? null) === null) drawn += "h.5";
  });
  return drawn;
}

/** A painter for `svg`: call it with a value and its time; the last point is the mean of its 10 s so far. */
export function sparkOf(svg) {
  let told;
  let values = [];
  let slot = null;
  let sum = 0;
  let count = 0;
  return (value, at) => {
    if (told !== svg.dataset.spark) {
      told = svg.dataset.spark;
      values = parse(told);
      slot = null;
    }
    const next = Math.floor(at / STEP_S);
    if (slot === null) [slot, sum, count] = [next, 0, 0];
    for (; slot < next; slot += 1) {
      values = [...values.slice(1), null];
      [sum, count] = [0, 0];
    }
    if (value !== null && value !== undefined) {
      sum += value;
      count += 1;
      values[POINTS - 1] = sum / count;
    }
    svg.querySelector(".spark-line").setAttribute("d", path(values));
  };
}
