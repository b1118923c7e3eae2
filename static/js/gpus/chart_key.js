/* The line above a chart: what each mark stands for, with the value under the cursor, else the newest. */

import { write } from "berth/gpus/numbers";

function item({ name, mark }) {
  const line = document.createElement("li");
  const swatch = document.createElement("span");
  swatch.className = `key-mark ${mark}`;
  swatch.setAttribute("aria-hidden", "true");
  const label = document.createElement("span");
  label.className = "chart-key-name";
  label.textContent = name;
  const value = document.createElement("b");
  line.append(swatch, label, value);
  return [line, value];
}

/** The place of the newest value at or before `time` in the ascending `at`; null is the end. */
export function placeOf(at, time) {
  if (time === null) return at.length - 1;
  let low = 0;
  let high = at.length - 1;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (at[middle] <= time) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Fill `list` with `entries` ({name, mark: its classes, read: place -> text}); gives back what writes the values of a time in `view.series`. */
export function makeKey(list, view, entries) {
  const made = entries.map(item);
  list.replaceChildren(...made.map(([line]) => line));
  return (time) => {
    const place = placeOf(view.series.at, time);
    made.forEach(([, value], each) => write(value, entries[each].read(place)));
  };
}
