/* The branch that is looked at, on the page: a view for each message, and what grows among them. */

import { noteRate } from "berth/playground/figures";
import { attachEnd } from "berth/playground/end";
import { warmUp } from "berth/playground/growing";
import { TurnView } from "berth/playground/turn_view";
import { write } from "berth/write";

const TICK_MS = 500;
/* Long chats are drawn from their end; the rest while nothing else is to be done. */
const DRAWN_AT_ONCE = 12;
/* Turns stand in groups: the browser asks of each group whether it is in view, and of turns only within those that are. */
const GROUP = 20;

const idle = globalThis.requestIdleCallback ?? ((work) => setTimeout(() => work({ timeRemaining: () => 8 }), 16));

export class Thread {
  constructor(element, context) {
    this.element = element;
    this.context = context;
    this.views = new Map();
    this.waiting = [];
    this.timer = setInterval(() => this.tick(), TICK_MS);
    this.end = attachEnd(element);
    idle(warmUp);
  }

  /** Show these messages, in this order; `versionsOf(message)` gives the branches beside one. */
  show(path, versionsOf) {
    this.rename();
    const wanted = new Set(path.map((message) => message.id));
    for (const [id, view] of this.views) {
      if (wanted.has(id)) continue;
      view.remove();
      this.views.delete(id);
    }
    path.forEach((message, index) => {
      let view = this.views.get(message.id);
      if (!view) {
        view = new TurnView(message, this.context);
        this.views.set(message.id, view);
        if (index >= path.length - DRAWN_AT_ONCE) view.draw();
        else this.waiting.push(view);
      } else view.draw();
      this.place(view.element, index);
      if (versionsOf) view.showVersions(versionsOf(message));
    });
    for (const group of this.element.querySelectorAll(".turn-group:empty")) group.remove();
    this.last = path.at(-1);
    if (this.waiting.length > 0) idle((deadline) => this.drawWaiting(deadline));
  }

  /** What was drawn before the server had it has a number now. */
  rename() {
    for (const [id, view] of [...this.views]) {
      if (view.message.id === id) continue;
      this.views.delete(id);
      this.views.set(view.message.id, view);
      view.name();
    }
  }

  /** What goes away is the end of a branch, so that the groups before stay full. */
  place(turn, index) {
    const group = this.element.children[Math.floor(index / GROUP)] ?? this.element.appendChild(document.createElement("div"));
    write(group, "className", "turn-group");
    const there = group.children[index % GROUP];
    if (there !== turn) group.insertBefore(turn, there ?? null);
  }

  drawWaiting(deadline) {
    do this.waiting.pop()?.draw();
    while (this.waiting.length > 0 && deadline.timeRemaining() > 4);
    if (this.waiting.length > 0) idle((next) => this.drawWaiting(next));
  }

  view(id) {
    return this.views.get(id);
  }

  get growing() {
    return [...this.views.values()].filter((view) => view.message.answer?.live);
  }

  /** An answer got more, or ended. */
  changed(id, { over = false } = {}) {
    const view = this.views.get(id);
    if (!view) return;
    noteRate(view.message.answer, performance.now());
    // Its first words do not wait for the frame to begin.
    if (over || (!view.hasWords && view.message.answer.text)) view.draw();
    else view.drawSoon();
  }

  tick() {
    for (const view of this.growing) {
      noteRate(view.message.answer, performance.now());
      view.drawFacts();
    }
  }

  stop() {
    clearInterval(this.timer);
    this.end.stop();
    this.views.forEach((view) => view.remove());
  }
}
