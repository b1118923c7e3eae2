/* A line of a terminal as pieces of text with classes. Colours and weights (SGR) count; every other escape is dropped.
   ECMA-48 8.3.117 and, for 38 and 48, ITU-T T.416 as xterm reads it: https://invisible-island.net/xterm/ctlseqs */

import { indexed, nearest } from "berth/log/palette";

// Group 1: the parameters of an SGR. Then other control sequences, strings (titles, links), two-character escapes, and
// what is left of control characters; tabs stay.
const ESCAPES =
  // eslint-disable-next-line no-control-regex
  /\u001b\[([0-9;:]*)m|\u001b\[[0-?]*[ -/]*[@-~]|\u001b[\]PX^_][^\u0007\u001b]*(?:\u0007|\u001b\\)?|\u001b[ -/]*[0-~]|[\u0000-\u0008\u000a-\u001f\u007f-\u009f]/g;
// They reorder what is read: shown by name instead.
const BIDI_CONTROLS = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
const ON = { 1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse", 9: "strike" };
const OFF = { 21: ["bold"], 22: ["bold", "dim"], 23: ["italic"], 24: ["underline"], 27: ["inverse"], 29: ["strike"] };
const EXTENDED = { 38: "fg", 48: "bg" };
const DEFAULTS = { 39: "fg", 49: "bg" };

function isByte(value) {
  return Number.isInteger(value) && value >= 0 && value <= 255;
}

// What follows 38 or 48: a number of the 256 colours, or red, green and blue. Undefined for anything else.
function colour([kind, ...rest]) {
  const values = rest.slice(0, kind === 2 ? 3 : 1);
  if (!values.every(isByte)) return undefined;
  if (kind === 5 && values.length === 1) return indexed(values[0]);
  return kind === 2 && values.length === 3 ? nearest(...values) : undefined;
}

function colon(style, [code, ...rest]) {
  const side = EXTENDED[code];
  // With colons a colour space may stand before red.
  if (side) style[side] = colour(rest[0] === 2 && rest.length > 4 ? [2, ...rest.slice(2)] : rest) ?? style[side];
  else if (code === 4) style.underline = rest[0] !== 0;
}

function simple(style, code) {
  if (code in ON) style[ON[code]] = true;
  else if (code in OFF) for (const name of OFF[code]) style[name] = false;
  else if (code in DEFAULTS) style[DEFAULTS[code]] = undefined;
  else if (code >= 30 && code <= 37) style.fg = code - 30;
  else if (code >= 40 && code <= 47) style.bg = code - 40;
  else if (code >= 90 && code <= 97) style.fg = code - 82;
  else if (code >= 100 && code <= 107) style.bg = code - 92;
}

function apply(style, parameters) {
  const parts = parameters.split(";");
  let after = style;
  for (let at = 0; at < parts.length; at += 1) {
    const numbers = parts[at].split(":").map((part) => (part === "" ? 0 : Number(part)));
    const [code] = numbers;
    if (numbers.length > 1) colon(after, numbers);
    else if (code === 0) after = {};
    else if (code in EXTENDED) {
      const rest = parts.slice(at + 1, at + 5).map(Number);
      after[EXTENDED[code]] = colour(rest) ?? after[EXTENDED[code]];
      at += rest[0] === 2 ? 4 : 2;
    } else simple(after, code);
  }
  return after;
}

function classesOf(style) {
  const names = Object.values(ON).filter((name) => style[name]);
  if (style.fg !== undefined) names.push(`fg-${style.fg}`);
  if (style.bg !== undefined) names.push(`bg-${style.bg}`);
  return names.map((name) => `ansi-${name}`).join(" ");
}

function named(control) {
  return `⟨U+${control.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`;
}

/** The pieces of a line: `text`, and `classes`, empty for plain text. */
export function pieces(line) {
  // Of a line that was drawn over with carriage returns, the last state counts.
  const text = line.replace(/\r+$/, "").split("\r").at(-1);
  const found = [];
  let style = {};
  let end = 0;
  const add = (part) => {
    if (part) found.push({ text: part.replace(BIDI_CONTROLS, named), classes: classesOf(style) });
  };
  for (const match of text.matchAll(ESCAPES)) {
    add(text.slice(end, match.index));
    end = match.index + match[0].length;
    if (match[1] !== undefined) style = apply(style, match[1]);
  }
  add(text.slice(end));
  return found;
}

/** The line as it is read: without colours. */
export function plain(line) {
  return pieces(line).map((piece) => piece.text).join("");
}
