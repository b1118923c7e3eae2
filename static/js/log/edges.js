/* What stands above the first row and below the last: more to load, the beginning, or why it could not be loaded. */

import { LogError } from "berth/log/pages";
import { words } from "berth/log/words";

const NEAR_TOP_PX = 240;

export class Edges {
  constructor(root, follower, pages) {
    Object.assign(this, { root, follower, pages });
    this.scroller = root.querySelector("[data-log-lines]");
    this.top = root.querySelector("[data-log-top]");
    this.bottom = root.querySelector("[data-log-bottom]");
    this.top.querySelector("button").addEventListener("click", () => this.loadOlder());
    this.bottom.querySelector("button").addEventListener("click", () => this.loadNewer());
  }

  /** Load what the reader is about to reach. */
  scrolled() {
    const { window, older, attached } = this.follower;
    if (this.failed || window.isEmpty) return;
    if (older && this.scroller.scrollTop < NEAR_TOP_PX) this.loadOlder();
    else if (!attached && window.atEnd) this.loadNewer();
  }

  loadOlder() {
    return this.load({ before: this.follower.window.first }, (page) => this.follower.addOlder(page), this.top);
  }

  loadNewer() {
    return this.load({ after: this.follower.window.last }, (page) => this.follower.addNewer(page), this.bottom);
  }

  /** Show the stretch around a line; true when it could be loaded. */
  async jump(line) {
    while (this.loading) await this.loaded;
    const loaded = await this.load({ around: line }, (page) => this.follower.jump(page), this.top);
    return Boolean(loaded && this.follower.window.rowOf(line));
  }

  // One request at a time: what it answers fits the rows that are there only if nothing else moved them.
  load(place, use, edge) {
    if (this.loading) return false;
    this.loading = edge;
    this.failed = undefined;
    this.draw();
    this.loaded = this.fetch(place, use, edge);
    return this.loaded;
  }

  async fetch(place, use, edge) {
    try {
      const page = await this.pages.page(place);
      if (this.isStopped) return false;
      use(page);
      return true;
    } catch (error) {
      if (!(error instanceof LogError)) throw error;
      this.failed = { edge, text: error.message || words(this.root, "unreachable") };
      return false;
    } finally {
      this.loading = undefined;
      this.draw();
    }
  }

  draw() {
    const { window, older, attached } = this.follower;
    this.drawEdge(this.top, older && !window.isEmpty, window.isEmpty ? "" : words(this.root, "beginning"));
    this.drawEdge(this.bottom, !attached, "");
  }

  drawEdge(edge, more, otherwise) {
    const failed = this.failed?.edge === edge ? this.failed.text : "";
    const loading = this.loading === edge;
    const full = more && this.follower.window.isFull ? words(this.root, "full") : "";
    const text = failed || (loading ? words(this.root, "loading") : more ? full : otherwise);
    edge.querySelector("[data-log-edge-text]").textContent = text;
    edge.querySelector("button").hidden = !(more || failed) || loading;
    edge.classList.toggle("is-failed", Boolean(failed));
    edge.hidden = !(more || text);
  }

  stop() {
    this.isStopped = true;
  }
}
