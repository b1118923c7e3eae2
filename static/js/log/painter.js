/* Lines and remarks as rows: always text nodes. A row can be painted again when the search or the times change. */

import { pieces } from "berth/log/ansi";
import { words } from "berth/log/words";

const items = new WeakMap();
// Larger line numbers need a wider column.
const MOST_NARROW = 99_999;

function span(className, text) {
  const element = document.createElement("span");
  element.className = className;
  element.textContent = text;
  return element;
}

function digits(number, width) {
  return String(number).padStart(width, "0");
}

// By hand: the formatters of languages are too slow for thousands of lines a second.
function clock(seconds) {
  const date = new Date(seconds * 1000);
  const at = [date.getHours(), date.getMinutes(), date.getSeconds()].map((number) => digits(number, 2)).join(":");
  return `${at}.${digits(date.getMilliseconds(), 3)}`;
}

function since(seconds) {
  const tenths = Math.max(0, Math.round(seconds * 10));
  const minutes = Math.floor(tenths / 600);
  const rest = (tenths % 600) / 10;
  return `+${minutes}:${rest.toFixed(1).padStart(4, "0")}`;
}

// Where `needle` stands in `text`: [from, to] pairs. A letter that changes its length in lower case would shift them.
function found(text, needle) {
  const low = text.toLowerCase();
  if (!needle || low.length !== text.length) return [];
  const ranges = [];
  for (let at = low.indexOf(needle); at >= 0; at = low.indexOf(needle, at + needle.length)) ranges.push([at, at + needle.length]);
  return ranges;
}

function cut(piece, from, ranges) {
  const parts = [];
  let at = 0;
  for (const [start, end] of ranges) {
    const left = Math.max(at, start - from);
    const right = Math.min(piece.text.length, end - from);
    if (right <= left) continue;
    parts.push({ text: piece.text.slice(at, left), marked: false }, { text: piece.text.slice(left, right), marked: true });
    at = right;
  }
  parts.push({ text: piece.text.slice(at), marked: false });
  return parts.filter((part) => part.text);
}

function element({ text, marked }, classes) {
  if (!marked && !classes) return document.createTextNode(text);
  const made = document.createElement(marked ? "mark" : "span");
  if (classes) made.className = classes;
  made.textContent = text;
  return made;
}

/** The item that a row shows: a line { c, t, s, l } or a gap { c, gap }; undefined for a remark. */
export function itemOf(row) {
  return items.get(row);
}

export class Painter {
  constructor(root) {
    this.root = root;
    this.needle = "";
    this.times = "clock";
    this.attempt = root.dataset.attempt;
    this.startedAt = Number(root.dataset.startedAt) || null;
  }

  /** The row of a line, or of so many lines that are missing. */
  row(item) {
    const row = item.gap ? this.remark(words(this.root, "gap", item.gap)) : this.line(item);
    row.dataset.c = item.c;
    items.set(row, item);
    return row;
  }

  remark(text) {
    const row = document.createElement("div");
    row.className = "log-line log-remark";
    row.append(span("log-text", text));
    return row;
  }

  line(item) {
    const row = document.createElement("div");
    row.className = `log-line log-${item.s || "any"}`;
    row.id = `L${item.c}`;
    const number = document.createElement("a");
    number.className = "log-no";
    number.href = `?tab=log&attempt=${this.attempt}&line=${item.c}`;
    number.tabIndex = -1;
    number.textContent = String(item.c);
    if (item.c > MOST_NARROW) this.root.dataset.wide = "";
    const time = document.createElement("time");
    time.className = "log-time";
    if (item.t) {
      time.dateTime = time.title = new Date(item.t * 1000).toISOString();
      // From now on there is a column for them. Written once: each time, all rows are styled anew.
      if (!("timed" in this.root.dataset)) this.root.dataset.timed = "";
    }
    row.append(number, time, span("log-stream", item.s === "err" ? words(this.root, "err") : ""), span("log-text", ""));
    items.set(row, item);
    this.paintTime(row);
    this.paintText(row);
    return row;
  }

  paintTime(row) {
    const item = items.get(row);
    const cell = row.querySelector(".log-time");
    if (!cell || !item.t) return;
    const sinceStart = this.times === "since" && this.startedAt !== null;
    cell.textContent = sinceStart ? since(item.t - this.startedAt) : clock(item.t);
  }

  paintText(row) {
    const item = items.get(row);
    if (!item || item.gap) return;
    const parts = pieces(item.l);
    const ranges = found(parts.map((piece) => piece.text).join(""), this.needle);
    let from = 0;
    const nodes = parts.flatMap((piece) => {
      const made = cut(piece, from, ranges).map((part) => element(part, piece.classes));
      from += piece.text.length;
      return made;
    });
    row.querySelector(".log-text").replaceChildren(...nodes);
    row.classList.toggle("has-match", ranges.length > 0);
  }
}
