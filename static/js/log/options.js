/* How the log is shown: which streams, which times, wrapped or not, over the whole window. Remembered, but for the last. */

const STORED = "berth_log";
const CHOICES = { streams: ["all", "out", "err"], times: ["clock", "since", "off"] };

function recall() {
  try {
    return JSON.parse(localStorage.getItem(STORED)) ?? {};
  } catch {
    return {};
  }
}

export class Options {
  /** `change(name)` is called after each choice, `before()` before it. */
  constructor(root, change) {
    Object.assign(this, { root, change });
    const kept = recall();
    this.values = { streams: "all", times: CHOICES.times.includes(kept.times) ? kept.times : "clock", wrap: kept.wrap !== false };
    this.full = root.querySelector("[data-log-full]");
    root.addEventListener("change", ({ target }) => {
      if (target.matches("[data-log-choice]")) this.set(target.dataset.logChoice, target.type === "checkbox" ? target.checked : target.value);
    });
    this.full.addEventListener("click", () => this.toggleFull());
    this.draw();
  }

  set(name, value) {
    this.values[name] = value;
    localStorage.setItem(STORED, JSON.stringify({ times: this.values.times, wrap: this.values.wrap }));
    this.draw();
    this.change(name);
  }

  /** The next of a choice, as its key does. */
  next(name) {
    if (name === "wrap") return this.set(name, !this.values.wrap);
    const all = CHOICES[name];
    return this.set(name, all[(all.indexOf(this.values[name]) + 1) % all.length]);
  }

  draw() {
    const { streams, times, wrap } = this.values;
    Object.assign(this.root.dataset, { streams, times, wrap: wrap ? "on" : "off" });
    for (const input of this.root.querySelectorAll("[data-log-choice]")) {
      if (input.type === "checkbox") input.checked = wrap;
      else input.checked = this.values[input.dataset.logChoice] === input.value;
    }
  }

  get isFull() {
    return this.root.classList.contains("is-full");
  }

  toggleFull() {
    const full = this.root.classList.toggle("is-full");
    // A rule with ":has(.is-full)" would have the whole page styled anew at each line.
    document.documentElement.classList.toggle("has-full-log", full);
    this.full.setAttribute("aria-pressed", String(full));
    this.change("full");
  }

  stop() {
    document.documentElement.classList.remove("has-full-log");
  }
}
