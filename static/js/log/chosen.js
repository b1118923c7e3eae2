/* The line that was chosen: marked, in the address (so that the address leads back to it), and ready to be copied. */

import { copyText } from "berth/copy";
import { plain } from "berth/log/ansi";
import { itemOf } from "berth/log/painter";
import { count } from "berth/log/words";

const SHOWN_MS = 1500;

export class Chosen {
  constructor(root, window) {
    Object.assign(this, { root, window });
    this.bar = root.querySelector("[data-log-chosen]");
    this.rows = root.querySelector("[data-log-rows]");
    this.line = 0;
    this.rows.addEventListener("click", (event) => this.pressed(event));
    this.button("line").addEventListener("click", () => this.copy("line", this.text));
    this.button("link").addEventListener("click", () => this.copy("link", this.address.href));
    this.button("close").addEventListener("click", () => this.choose(0));
  }

  button(name) {
    return this.bar.querySelector(`[data-log-chosen-${name}]`);
  }

  get text() {
    const row = this.window.rowOf(this.line);
    return row ? plain(itemOf(row).l) : "";
  }

  get address() {
    const address = new URL(location.href);
    address.searchParams.set("tab", "log");
    address.searchParams.set("attempt", this.root.dataset.attempt);
    if (this.line) address.searchParams.set("line", String(this.line));
    else address.searchParams.delete("line");
    address.hash = "";
    return address;
  }

  // A press with a key held, or another button of the mouse, is the browser's: a new tab, the link's menu.
  pressed(event) {
    const number = event.target.closest(".log-no");
    if (!number || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const line = Number(number.closest("[data-c]").dataset.c);
    this.choose(line === this.line ? 0 : line);
  }

  /** Mark `line`; 0 for none. */
  choose(line) {
    this.line = line;
    history.replaceState(history.state, "", this.address);
    this.draw();
  }

  /** Mark it again: rows come and go. */
  draw() {
    const row = this.line ? this.window.rowOf(this.line) : null;
    const before = this.rows.querySelector(".is-chosen");
    if (before !== row) {
      before?.classList.remove("is-chosen");
      before?.removeAttribute("aria-current");
    }
    row?.classList.add("is-chosen");
    row?.setAttribute("aria-current", "true");
    this.bar.hidden = !this.line;
    this.bar.querySelector("[data-log-chosen-word]").textContent = this.bar.dataset.textLine.replace("{n}", count(this.line));
    this.button("line").disabled = !row;
  }

  /** Choose the line before or after, within what is loaded. */
  step(by) {
    const { lines } = this.window;
    const chosen = this.line && this.window.rowOf(this.line);
    let at = chosen ? [...lines].indexOf(chosen) + by : [...lines].indexOf(this.window.rowOf(this.window.firstInView));
    while (lines[at] && (lines[at].offsetParent === null || itemOf(lines[at])?.gap)) at += by;
    const row = lines[at];
    if (!row) return null;
    this.choose(Number(row.dataset.c));
    row.scrollIntoView({ block: "nearest" });
    return row;
  }

  async copy(name, text) {
    if (!text) return;
    await copyText(text);
    const button = this.button(name);
    const word = button.querySelector("[data-log-word]");
    this.before ??= new Map();
    if (!this.before.has(word)) this.before.set(word, word.textContent);
    word.textContent = button.dataset.textCopied;
    setTimeout(() => {
      word.textContent = this.before.get(word);
    }, SHOWN_MS);
  }
}
