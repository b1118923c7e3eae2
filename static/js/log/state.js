/* What is true of the log's end, as icon and word; and what a screen reader hears of new lines: how many, now and then. */

import { words } from "berth/log/words";

const SAID_EVERY_MS = 15000;

export class StateMark {
  constructor(root) {
    this.root = root;
    this.mark = root.querySelector("[data-log-state]");
    this.word = root.querySelector("[data-log-state-word]");
    this.status = root.querySelector("[data-log-said]");
    this.lines = 0;
  }

  /** Show `state`; `number` fills in its {n}. */
  show(state, number) {
    const text = words(this.root, state, number);
    if (this.word.textContent !== text) this.word.textContent = text;
    if (this.mark.dataset.state === state) return;
    this.mark.dataset.state = state;
    this.say(text);
  }

  say(text) {
    this.status.textContent = text;
  }

  /** So many lines came. */
  came(lines) {
    this.lines += lines;
    if (!this.lines) return;
    this.timer ??= setTimeout(() => {
      this.say(words(this.root, "new", this.lines));
      this.lines = 0;
      this.timer = undefined;
    }, SAID_EVERY_MS);
  }

  stop() {
    clearTimeout(this.timer);
  }
}
