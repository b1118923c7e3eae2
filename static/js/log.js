/* A followed log: goes on by cursor after a lost connection, rests while the reader scrolls up, goes over to the next attempt. */

import { attach } from "berth/attach";
import { appendBounded, holdBounded, lineElement, remarkElement } from "berth/log_lines";

const RETRY_MS = [500, 1000, 2000, 4000, 8000];
const NEAR_END_PX = 24;
const REFUSALS = [4401, 4403];

class LogView {
  constructor(root) {
    this.root = root;
    this.list = root.querySelector("[data-log-lines]");
    this.status = root.querySelector("[data-log-status]");
    this.button = root.querySelector("[data-log-new]");
    this.attempt = Number(root.dataset.attempt);
    this.cursor = 0;
    this.failures = 0;
    this.held = [];
    this.newLines = 0;
    this.follows = true;
    this.ended = false;
    this.missing = 0;
    this.top = remarkElement("");
    this.list.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.button.addEventListener("click", () => this.resume());
    document.addEventListener("berth:changed", this.changed, { capture: true });
    this.connect();
  }

  connect() {
    const address = new URL(`/ws/log/${this.root.dataset.deployment}/${this.attempt}/?cursor=${this.cursor}`, location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(address);
    this.socket = socket;
    socket.addEventListener("open", () => this.say(this.cursor ? "textFollowing" : "textWaiting"));
    socket.addEventListener("message", ({ data }) => {
      if (socket !== this.socket) return;
      this.failures = 0;
      this.hear(JSON.parse(data));
      if (socket.readyState === WebSocket.OPEN) socket.send('{"ack":1}');
    });
    socket.addEventListener("close", (event) => {
      if (socket === this.socket) this.lost(event);
    });
  }

  lost({ code }) {
    if (this.ended || REFUSALS.includes(code)) return;
    this.say("textLost");
    const wait = RETRY_MS[Math.min(this.failures, RETRY_MS.length - 1)];
    this.failures += 1;
    this.timer = setTimeout(() => this.connect(), wait);
  }

  hear(message) {
    if (message.type === "lines") {
      const fresh = message.lines.filter((line) => line.c > this.cursor);
      if (fresh.length) this.cursor = fresh.at(-1).c;
      this.show(fresh.map((line) => lineElement(line, this.root.dataset.textErr)));
      this.say("textFollowing");
    } else if (message.type === "gap") {
      if (this.list.childElementCount === 0) this.missed(message.lines);
      else this.show([remarkElement(this.gapText(message.lines))]);
    } else if (message.type === "end") {
      this.ended = true;
      this.say("textEnded");
      this.nextAttempt();
    }
  }

  show(elements) {
    if (this.follows) {
      this.top.remove();
      this.missed(appendBounded(this.list, elements));
      this.list.scrollTop = this.list.scrollHeight;
      return;
    }
    this.missing += holdBounded(this.held, elements);
    this.newLines += elements.length;
    this.button.querySelector("[data-log-new-text]").textContent = this.root.dataset.textNew.replace("{n}", String(this.newLines));
    this.button.hidden = this.newLines === 0;
  }

  gapText(count) {
    return this.root.dataset.textGap.replace("{n}", count.toLocaleString(document.documentElement.lang));
  }

  // The first line says how many before it are not shown.
  missed(count) {
    this.missing += count;
    if (!this.missing) return;
    this.top.firstElementChild.textContent = this.gapText(this.missing);
    this.list.prepend(this.top);
  }

  scrolled() {
    const atEnd = this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < NEAR_END_PX;
    if (atEnd && !this.follows) this.resume();
    else this.follows = atEnd;
  }

  resume() {
    this.follows = true;
    this.newLines = 0;
    this.button.hidden = true;
    this.show(this.held.splice(0));
  }

  // The head of the page knows the newest attempt; a log that its reader did not choose goes on with that one.
  changed = () => setTimeout(() => this.nextAttempt(), 1000);

  nextAttempt() {
    const latest = Number(document.getElementById("head")?.dataset.latestAttempt);
    if (!this.ended || !this.root.hasAttribute("data-follows-attempts") || !(latest > this.attempt)) return;
    const download = this.root.querySelector("[data-log-download]");
    download.href = download.getAttribute("href").replace(/\d+\/$/, `${latest}/`);
    this.attempt = latest;
    this.cursor = 0;
    this.ended = false;
    this.show([remarkElement(this.root.dataset.textAttempt.replace("{n}", String(latest)))]);
    this.connect();
  }

  say(name) {
    const text = this.root.dataset[name];
    if (this.status.textContent !== text) this.status.textContent = text;
  }

  stop() {
    clearTimeout(this.timer);
    document.removeEventListener("berth:changed", this.changed, { capture: true });
    const socket = this.socket;
    this.socket = undefined;
    socket.close();
  }
}

attach("[data-log]", (root) => {
  const view = new LogView(root);
  return () => view.stop();
});
