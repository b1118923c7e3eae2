/* The lines of a log as elements: bounded in number, always text nodes. */

const MOST_LINES = 4000;
// Terminal colours and cursor moves; of a line that was drawn over with carriage returns, the last state counts.
const ESCAPES = /\u001b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-Z\\-_])/g;

function clean(text) {
  return text.replace(ESCAPES, "").replace(/\r+$/, "").split("\r").at(-1);
}

function span(className, text) {
  const element = document.createElement("span");
  element.className = className;
  element.textContent = text;
  return element;
}

function clock(seconds) {
  const date = new Date(seconds * 1000);
  return date.toLocaleTimeString("en-GB", { hour12: false });
}

/** One line: its time, "err" for the error stream, and its text. */
export function lineElement(line, errorWord) {
  const element = document.createElement("div");
  element.className = `log-line log-${line.s}`;
  const time = span("log-time", line.t === null ? "" : clock(line.t));
  if (line.t !== null) time.title = new Date(line.t * 1000).toISOString();
  element.append(time, span("log-stream", line.s === "err" ? errorWord : ""), span("log-text", clean(line.l)));
  return element;
}

/** A remark between lines: a gap, another attempt. */
export function remarkElement(text) {
  const element = document.createElement("div");
  element.className = "log-line log-remark";
  element.append(span("log-text", text));
  return element;
}

/** Append `elements` to `list` and drop the oldest beyond the bound; returns how many were dropped. */
export function appendBounded(list, elements) {
  const kept = elements.slice(-MOST_LINES);
  list.append(...kept);
  let dropped = elements.length - kept.length;
  for (; list.childElementCount > MOST_LINES; dropped += 1) list.firstElementChild.remove();
  return dropped;
}

/** Hold back `elements` while the reader reads; the same bound, and returns how many were dropped. */
export function holdBounded(held, elements) {
  held.push(...elements);
  const dropped = Math.max(0, held.length - MOST_LINES);
  held.splice(0, dropped);
  return dropped;
}
