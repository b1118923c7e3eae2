/* Reads a growing answer to screen readers: finished sentences, not each token. */

const PAUSE_MS = 1500;
const SENTENCE_END = /[.!?。！？](?=["')\]”’」]*\s|$)|[。！？]|\n/g;

export class Speaker {
  constructor(region) {
    this.region = region;
    this.forget();
  }

  /** Another answer begins. */
  forget() {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.said = 0;
    this.waiting = "";
  }

  /** The answer is `text` now; `done`: the rest is read too, and then `last`. */
  feed(text, { done = false, last = "" } = {}) {
    const rest = text.slice(this.said);
    const ends = [...rest.matchAll(SENTENCE_END)];
    // The last mark may stand within a number: only what follows tells.
    const whole = done ? rest.length : (ends.at(-2)?.index ?? -1) + 1;
    if (whole > 0) {
      this.waiting += rest.slice(0, whole);
      this.said += whole;
    }
    if (done && last) this.waiting += `\n${last}`;
    if (this.waiting) this.timer ??= setTimeout(() => this.speak(), done ? 0 : PAUSE_MS);
  }

  speak() {
    this.timer = undefined;
    this.region.textContent = this.waiting.trim();
    this.waiting = "";
  }
}
