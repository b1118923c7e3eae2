/* Search over the whole log: the server finds the lines, the rows show the words, Enter and Shift+Enter go from match to match.

   Lines that come later are looked at here, so the count stays true while the log grows. */

import { plain } from "berth/log/ansi";
import { LogError } from "berth/log/pages";
import { count, words } from "berth/log/words";

const DEBOUNCE_MS = 250;

export class Search {
  constructor(root, { pages, painter, window, show }) {
    Object.assign(this, { root, pages, painter, window, show });
    this.input = root.querySelector("[data-log-search]");
    this.output = root.querySelector("[data-log-count]");
    this.steps = [...root.querySelectorAll("[data-log-step]")];
    this.clear();
    this.input.addEventListener("input", () => this.typed());
    this.input.addEventListener("keydown", (event) => this.key(event));
    for (const button of this.steps) button.addEventListener("click", () => this.step(Number(button.dataset.logStep)));
  }

  clear() {
    this.lines = [];
    this.total = 0;
    this.upto = Infinity;
    this.current = undefined;
  }

  typed() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.find(), DEBOUNCE_MS);
  }

  key(event) {
    if (event.key === "Enter") {
      event.preventDefault();
      if (this.input.value === this.asked) this.step(event.shiftKey ? -1 : 1);
      else this.find();
    } else if (event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      if (this.input.value) {
        this.input.value = "";
        this.find();
      } else this.input.blur();
    }
  }

  async find() {
    clearTimeout(this.timer);
    const text = this.input.value;
    this.asked = text;
    this.request?.abort();
    this.request = new AbortController();
    this.clear();
    this.paint(text);
    if (!text.trim()) return this.say("");
    this.say(words(this.root, "searching"));
    try {
      const { total, lines, upto } = await this.pages.search(text, this.request.signal);
      Object.assign(this, { total, lines, upto });
    } catch (error) {
      if (error.name === "AbortError") return undefined;
      if (!(error instanceof LogError)) throw error;
      return this.say(error.message || words(this.root, "unreachable"));
    }
    const from = this.window.firstInView;
    return this.go(this.lines.find((line) => line >= from) ?? this.lines.at(-1));
  }

  paint(text) {
    this.painter.needle = text.trim() ? text.toLowerCase() : "";
    for (const row of this.window.lines) this.painter.paintText(row);
  }

  /** Lines came from the tail: those that were not searched yet are. */
  heard(lines) {
    if (!this.painter.needle) return;
    const fresh = lines.filter((line) => line.c > this.upto && plain(line.l).toLowerCase().includes(this.painter.needle));
    if (!fresh.length) return;
    this.lines.push(...fresh.map((line) => line.c));
    this.total += fresh.length;
    this.draw();
  }

  step(by) {
    if (!this.lines.length) return;
    const at = this.lines.indexOf(this.current);
    this.go(this.lines.at((at + by) % this.lines.length));
  }

  go(line) {
    this.current = line;
    this.draw();
    this.show(line);
  }

  draw() {
    // Of very many matches only the newest have a place to go to.
    const place = this.lines.indexOf(this.current) + 1 + this.total - this.lines.length;
    const none = this.total === 0;
    this.say(none ? words(this.root, "none") : `${this.current === undefined ? "–" : count(place)} / ${count(this.total)}`);
    for (const button of this.steps) button.disabled = none;
  }

  say(text) {
    this.output.textContent = text;
    this.output.title = text;
    if (!text) for (const button of this.steps) button.disabled = true;
  }

  stop() {
    clearTimeout(this.timer);
    this.request?.abort();
  }
}
