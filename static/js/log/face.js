/* What surrounds the rows: the state of the log's end, the way back to it, the pause button, and what an empty log says. */

import { StateMark } from "berth/log/state";
import { words } from "berth/log/words";

export class Face {
  constructor(root, follower) {
    Object.assign(this, { root, follower });
    this.mark = new StateMark(root);
    this.toEnd = root.querySelector("[data-log-new]");
    this.pause = root.querySelector("[data-log-pause]");
    this.empty = root.querySelector("[data-log-empty]");
    // Of the tail: connecting, open, lost, refused or ended. For how many seconds the node has been silent, or null.
    this.tail = "connecting";
    this.silent = null;
    this.toEnd.addEventListener("click", () => follower.resume());
    this.pause.addEventListener("click", () => this.togglePause());
  }

  togglePause() {
    if (this.follower.follows) this.follower.pause();
    else this.follower.resume();
  }

  get word() {
    if (this.tail !== "open") return this.tail;
    if (this.silent !== null) return "delayed";
    if (!this.follower.follows) return "paused";
    return this.follower.window.isEmpty ? "waiting" : "live";
  }

  draw() {
    const { follows, unseen, attached, window } = this.follower;
    this.mark.show(this.word, this.silent ?? undefined);
    this.toEnd.hidden = follows || (unseen === 0 && attached);
    const text = unseen ? words(this.root, "new", unseen) : words(this.root, "toEnd");
    if (this.toEnd.lastElementChild.textContent !== text) this.toEnd.lastElementChild.textContent = text;
    this.pause.hidden = this.tail === "ended";
    this.pause.setAttribute("aria-pressed", String(!follows));
    this.empty.hidden = !window.isEmpty || !["open", "ended"].includes(this.tail);
    this.empty.dataset.over = this.tail === "ended" ? "yes" : "no";
    this.drawNothing(window);
  }

  // A filter that hides every row says so. Asked only while there is one: it looks at the rows.
  drawNothing({ rows, isEmpty }) {
    const { streams } = this.root.dataset;
    const hidesAll = streams !== "all" && !isEmpty && !rows.querySelector(`.log-${streams}, .log-any`);
    if (hidesAll) this.root.dataset.nothing = streams;
    else delete this.root.dataset.nothing;
  }

  stop() {
    this.mark.stop();
  }
}
