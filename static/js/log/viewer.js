/* The log of one attempt: follows its end, rests while the reader reads, finds, and leads to any line of it. */

import { attach } from "berth/attach";
import { Attempts } from "berth/log/attempts";
import { Chosen } from "berth/log/chosen";
import { Edges } from "berth/log/edges";
import { Face } from "berth/log/face";
import { Follower } from "berth/log/follower";
import { listen } from "berth/log/keys";
import { Options } from "berth/log/options";
import { Pages } from "berth/log/pages";
import { Painter } from "berth/log/painter";
import { Search } from "berth/log/search";
import { Tail } from "berth/log/tail";
import { LogWindow } from "berth/log/window";

class LogViewer {
  constructor(root) {
    this.root = root;
    this.scroller = root.querySelector("[data-log-lines]");
    this.painter = new Painter(root);
    this.window = new LogWindow(this.scroller, root.querySelector("[data-log-rows]"), this.painter);
    this.follower = new Follower(this.window);
    this.face = new Face(root, this.follower);
    this.pages = new Pages(root);
    this.edges = new Edges(root, this.follower, this.pages);
    this.chosen = new Chosen(root, this.window);
    this.options = new Options(root, (name) => this.changed(name));
    this.painter.times = this.options.values.times;
    this.search = new Search(root, { pages: this.pages, painter: this.painter, window: this.window, show: (line) => this.show(line) });
    this.attempts = new Attempts(root, () => this.face.tail === "ended" && this.follower.follows);
    this.scroller.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.follower.addEventListener("lines", ({ detail }) => this.came(detail));
    this.follower.addEventListener("moved", () => this.draw());
    this.resized = new ResizeObserver(() => this.follower.follows && this.window.toEnd());
    this.resized.observe(this.scroller);
    this.unlisten = listen(this);
    this.begin();
  }

  async begin() {
    const line = Number(this.root.dataset.line || /^#L(\d{1,15})$/.exec(location.hash)?.[1] || 0);
    if (line) await this.open(line);
    if (!this.isStopped) this.follow(this.follower.attached ? this.window.last : 0);
  }

  // The address names a line: it is shown, not the end.
  async open(line) {
    this.follower.follows = false;
    await this.show(line);
    if (this.isStopped) return;
    if (this.window.isEmpty) this.follower.follows = true;
    this.chosen.choose(line);
    this.root.scrollIntoView({ block: "nearest" });
    this.scroller.focus({ preventScroll: true });
  }

  follow(cursor) {
    const { deployment, attempt } = this.root.dataset;
    const say = (tail) => this.tailIs(tail);
    this.tail = new Tail({ deployment, attempt, cursor, hear: (message) => this.hear(message), say });
  }

  hear(message) {
    if ("silent" in message) this.face.silent = message.silent ?? null;
    else if (message.end) this.follower.push([], () => this.tailIs("ended"));
    else {
      this.face.silent = null;
      this.follower.push(message.gap ? [message] : message.lines, (messages) => this.tail.acknowledge(messages));
    }
    this.draw();
  }

  tailIs(tail) {
    this.face.tail = tail;
    this.draw();
    if (tail === "ended") this.attempts.look();
  }

  came(lines) {
    this.face.mark.came(lines.length);
    this.search.heard(lines);
    this.draw();
  }

  scrolled() {
    const { follower, window } = this;
    if (follower.follows && !window.atEnd && !window.wasMovedUp) window.toEnd();
    else if (!window.atEnd) follower.pause();
    else if (follower.attached && !follower.follows) follower.resume();
    this.edges.scrolled();
  }

  /** Bring a line into view, loading what lies around it where it must. Of several in a row the last one is shown. */
  async show(line) {
    this.root.querySelector(".is-current")?.classList.remove("is-current");
    this.wanted = line;
    if (line !== undefined && !this.window.rowOf(line)) await this.edges.jump(line);
    const row = this.window.rowOf(line);
    if (!row || this.wanted !== line) return;
    this.follower.pause();
    this.window.show(row);
    if (this.painter.needle) row.classList.add("is-current");
  }

  changed(name) {
    if (name === "times") {
      this.painter.times = this.options.values.times;
      for (const row of this.window.lines) this.painter.paintTime(row);
    }
    this.face.draw();
    if (this.follower.follows) this.window.toEnd();
  }

  draw() {
    this.face.draw();
    this.edges.draw();
    this.chosen.draw();
  }

  stop() {
    this.isStopped = true;
    this.unlisten();
    this.resized.disconnect();
    for (const part of [this.options, this.attempts, this.face, this.edges, this.search, this.follower]) part.stop();
    this.tail?.close();
  }
}

attach("[data-log]", (root) => {
  const viewer = new LogViewer(root);
  return () => viewer.stop();
});
