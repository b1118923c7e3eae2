/* What came of a raw request: head, times, and the body as text nodes, drawn at most once a frame. */

import { words } from "berth/playground/words";

/* Rows of a stream on the page; what comes after them is counted. */
const MOST_FRAMES = 2000;
const LARGEST_PRETTY = 500_000;

function tone(status) {
  if (status < 300) return "chip-good";
  return status < 500 ? "chip-warn" : "chip-bad";
}

function pretty(text) {
  if (text.length > LARGEST_PRETTY) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

export class RawAnswer {
  constructor(root) {
    this.root = root;
  }

  part(name) {
    return this.root.querySelector(`[data-${name}]`);
  }

  begin() {
    Object.assign(this, { head: null, first: null, last: null, bytes: 0, frames: 0, waiting: [], over: false });
    this.part("none").hidden = true;
    this.part("answer").hidden = false;
    this.part("shown").replaceChildren();
    this.part("headers").replaceChildren();
    this.part("times").textContent = "";
    this.part("status").textContent = "";
    this.note("");
  }

  note(text) {
    this.part("note").textContent = text;
    this.part("note").hidden = !text;
  }

  take({ head, frame, end, error }) {
    if (head) this.showHead(head);
    if (frame) {
      this.first ??= frame.ms;
      this.bytes += frame.bytes;
      this.frames += 1;
      this.waiting.push(frame);
      this.drawSoon();
    }
    if (end) {
      this.last = end.ms;
      this.isCut = end.is_cut;
    }
    if (error) this.failed = error;
  }

  showHead(head) {
    this.head = head;
    this.streams = /event-stream|ndjson/.test(head.headers.find(([name]) => name === "content-type")?.[1] ?? "");
    const status = this.part("status");
    status.className = `chip ${tone(head.status)}`;
    status.textContent = `${head.status} ${head.reason}`.trim();
    for (const [name, value] of head.headers) {
      const [term, told] = [document.createElement("dt"), document.createElement("dd")];
      term.textContent = name;
      told.textContent = value;
      this.part("headers").append(term, told);
    }
    this.drawSoon();
  }

  drawSoon() {
    this.drawing ||= requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.drawing = 0;
    const shown = this.part("shown");
    const atEnd = shown.scrollHeight - shown.scrollTop - shown.clientHeight < 40;
    const frames = this.waiting.splice(0);
    if (this.streams) shown.append(...frames.slice(0, Math.max(0, MOST_FRAMES - shown.childElementCount)).map(row));
    else for (const { text } of frames) shown.append(text);
    if (atEnd && this.streams) shown.scrollTop = shown.scrollHeight;
    this.showTimes();
  }

  showTimes() {
    const told = [
      this.head && words("head", { ms: this.head.ms }),
      this.first !== null && words("first", { ms: this.first }),
      this.last !== null && words("total", { ms: this.last }),
      this.frames > 0 && words("size", { bytes: this.bytes, frames: this.frames }),
    ];
    this.part("times").textContent = told.filter(Boolean).join(" · ");
  }

  /** Nothing comes any more; `why` where that is not its own end. */
  end(why = "") {
    cancelAnimationFrame(this.drawing);
    if (!this.head && !this.waiting) this.begin();
    this.draw();
    const shown = this.part("shown");
    if (!this.streams && this.head?.is_text) shown.textContent = pretty(shown.textContent);
    const notes = [why, this.failed, this.isCut && words("cut")];
    if (this.streams && this.frames > MOST_FRAMES) notes.push(words("more", { n: this.frames - MOST_FRAMES }));
    if (this.head && !this.head.is_text && this.bytes > 0) notes.push(words("binary"));
    this.note(notes.filter(Boolean).join(" "));
    Object.assign(this, { failed: "", isCut: false });
  }
}

function row({ text, ms }) {
  const [line, time, told] = [document.createElement("div"), document.createElement("time"), document.createElement("span")];
  line.className = "raw-frame";
  time.textContent = `${ms} ms`;
  told.textContent = text.trimEnd();
  line.append(time, told);
  return line;
}
