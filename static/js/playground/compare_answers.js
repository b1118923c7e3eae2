/* The answers of the round that is looked at: one in each column, growing from the socket. */

import { grow, settle } from "berth/playground/growth";
import { noteRate } from "berth/playground/figures";
import { AnswerSocket } from "berth/playground/socket";
import { TurnView } from "berth/playground/turn_view";
import { words } from "berth/playground/words";

const TICK_MS = 500;

export class Answers {
  /** `changed(over)` when figures may be others; `connected(yes)`. */
  constructor(columns, context, { changed, connected }) {
    this.columns = columns;
    this.context = context;
    this.changed = changed;
    this.messages = [];
    this.socket = new AnswerSocket({ hear: (message) => this.hear(message), state: connected });
    this.socket.tell();
    this.timer = setInterval(() => this.tick(), TICK_MS);
  }

  get live() {
    return this.messages.filter((message) => message.answer.live);
  }

  /** Show these messages, one for each column. */
  show(messages) {
    this.messages = messages;
    this.socket.followed.clear();
    messages.forEach((message, index) => {
      const column = this.columns.all[index];
      column.view?.remove();
      column.view = new TurnView(message, this.context);
      column.view.showVersions([message]);
      column.part("body").replaceChildren(column.view.element);
      column.view.draw();
      if (message.answer.live) this.socket.followed.set(message.id, message.answer.sequence);
    });
    this.socket.tell();
    this.refresh(false);
  }

  refresh(over) {
    this.messages.forEach((message, index) => {
      this.columns.all[index].part("stop-one").hidden = !message.answer.live;
    });
    this.changed(over);
  }

  hear(told) {
    const index = this.messages.findIndex((message) => message.id === told.answer);
    if (index < 0) return;
    const { answer } = this.messages[index];
    const { view } = this.columns.all[index];
    if (told.type === "delta") grow(answer, told);
    else settle(answer, told.type === "gone" ? { type: "over", error: words("gone"), state: "failed" } : told);
    noteRate(answer, performance.now());
    if (answer.live) view.drawSoon();
    else {
      view.draw();
      this.refresh(this.live.length === 0);
    }
  }

  tick() {
    if (this.live.length === 0) return;
    for (const { view } of this.columns.all) if (view?.message.answer.live) view.drawFacts();
    this.changed(false);
  }

  stop() {
    clearInterval(this.timer);
    this.socket.stop();
  }
}
