/* A conversation under way: the tree, what is asked, and what arrives. Knows nothing of the page but what it is given. */

import { post, read } from "berth/playground/api";
import { grow, settle } from "berth/playground/growth";
import { AnswerSocket } from "berth/playground/socket";
import { Tree } from "berth/playground/tree";
import { words } from "berth/playground/words";

export class Session {
  /** `shown()` after the branch changed, `changed(id, {over})` for an answer, `connected(yes)`, `begun(url)` once. */
  constructor(base, state, { shown, changed, connected, begun }) {
    this.base = base;
    this.tell = { shown, changed, begun };
    this.tree = new Tree(state.messages);
    this.leaf = state.leaf ?? state.messages.at(-1)?.id ?? null;
    this.conversation = state.conversation;
    this.socket = new AnswerSocket({ hear: (message) => this.hear(message), state: connected });
    // A new conversation has its socket before its first question: the first word waits for no handshake.
    if (this.conversation === null) this.socket.tell();
    else this.socket.watch(this.conversation);
    this.followLive();
  }

  get path() {
    return this.tree.pathTo(this.leaf);
  }

  get growing() {
    return this.path.filter((message) => message.answer?.live);
  }

  url(what) {
    return `${this.base}c/${this.conversation}/${what}`;
  }

  followLive() {
    for (const { answer } of this.tree.nodes.values()) if (answer?.live) this.socket.follow(answer.answer, answer.sequence);
  }

  /** Say something; `edits` is the message that it replaces. */
  async say({ text, pictures, edits }, question) {
    const parent = edits ? edits.parent : this.path.findLast((message) => message.role === "assistant")?.id ?? null;
    await this.ask("say/", { conversation: this.conversation, parent, text, pictures, ...question });
  }

  async again(message, question) {
    await this.ask("again/", { message: message.id, ...question });
  }

  /** Word of what this tab asks may come before the answer to it. */
  async ask(address, question) {
    this.asking = post(`${this.base}${address}`, question);
    this.take(await this.asking);
  }

  take(asked) {
    this.tree.add(asked.messages);
    this.leaf = asked.leaf;
    const isNew = this.conversation === null;
    this.conversation = asked.conversation;
    this.followLive();
    if (isNew) this.socket.watch(this.conversation);
    this.tell.shown();
    if (isNew) this.tell.begun(asked.url);
  }

  stopAll() {
    return Promise.all(this.growing.map((message) => post(`${this.base}answers/${message.id}/stop/`)));
  }

  /** Look at the branch of another version. */
  lookAt(message, step) {
    const versions = this.tree.versions(message);
    const next = versions[versions.findIndex((each) => each.id === message.id) + step];
    if (!next) return;
    this.leaf = this.tree.newestUnder(next.id);
    this.tell.shown();
    post(this.url("look/"), { leaf: this.leaf }).catch(() => {});
  }

  hear(message) {
    if (message.type === "changed") this.heard(message.leaf);
    else if (message.type === "gone") this.end(message.answer, { error: words("gone"), state: "failed" });
    else if (message.type === "delta") this.grow(message);
    else this.end(message.answer, message);
  }

  grow(delta) {
    const answer = this.tree.get(delta.answer)?.answer;
    if (!answer) return;
    grow(answer, delta);
    this.tell.changed(delta.answer);
  }

  end(id, row) {
    const answer = this.tree.get(id)?.answer;
    if (!answer) return;
    settle(answer, row);
    this.tell.changed(id, { over: !answer.live });
  }

  /** Somebody said something: this tab itself, where it knows what. */
  async heard(leaf) {
    await this.asking?.catch(() => {});
    if (leaf === null || !this.tree.nodes.has(leaf)) await this.reload();
  }

  /** Another tab said something. Whoever looks at the branch that grew goes along. */
  async reload() {
    try {
      const state = await read(this.url("messages/"));
      this.tree.add(state.messages);
      this.followLive();
      const next = this.tree.pathTo(state.leaf);
      const grew = this.leaf === null || (state.leaf !== this.leaf && next.some((message) => message.id === this.leaf));
      if (grew) this.leaf = state.leaf;
      this.tell.shown();
    } catch {
      // The next hint, or the next page, tells again.
    }
  }

  stop() {
    this.socket.stop();
  }
}
