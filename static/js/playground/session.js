/* A conversation under way: the tree, what is asked, and what arrives. Knows nothing of the page but what it is given. */

import { post, read } from "berth/playground/api";
import { grow, settle } from "berth/playground/growth";
import { AnswerSocket } from "berth/playground/socket";
import { Tree } from "berth/playground/tree";
import { words } from "berth/playground/words";

/* What was asked and has no number of the server's yet is newer than everything that has one. */
const SAID = Number.MAX_SAFE_INTEGER - 1;
const ANSWER = Number.MAX_SAFE_INTEGER;

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
    for (const { id, answer } of this.tree.nodes.values()) if (answer?.live && id !== ANSWER) this.socket.follow(answer.answer, answer.sequence);
  }

  /** Say something; `edits` is the message that it replaces. */
  async say({ text, pictures, edits }, question) {
    const parent = edits ? edits.parent : this.path.findLast((message) => message.role === "assistant")?.id ?? null;
    const asked = { conversation: this.conversation, parent, text, pictures: pictures.map(({ id }) => id), ...question };
    await this.ask("say/", asked, [{ id: SAID, parent, role: "user", text, pictures }, answerTo(SAID, question)]);
  }

  async again(message, question) {
    const said = message.role === "user" ? message.id : message.parent;
    await this.ask("again/", { message: message.id, ...question }, [answerTo(said, question)]);
  }

  /** Ask, and show `messages` meanwhile. Word of what this tab asks may come before the answer to it. */
  async ask(address, question, messages) {
    const before = this.leaf;
    this.socket.expect();
    this.asking = post(`${this.base}${address}`, { ...question, page: this.socket.name });
    this.tree.add(messages);
    this.leaf = ANSWER;
    this.tell.shown();
    try {
      this.take(await this.asking);
    } catch (error) {
      for (const { id } of messages) this.tree.remove(id);
      this.leaf = before;
      this.socket.known();
      this.tell.shown();
      throw error;
    }
  }

  take(asked) {
    for (const message of asked.messages) this.tree.rename(message.role === "user" ? SAID : ANSWER, message);
    this.leaf = asked.leaf;
    const isNew = this.conversation === null;
    this.conversation = asked.conversation;
    this.tell.shown();
    if (isNew) this.tell.begun(asked.url);
    this.followLive();
    this.socket.known();
    if (isNew) this.socket.watch(this.conversation);
  }

  async stopAll() {
    await this.asking?.catch(() => {});
    await Promise.all(this.growing.map((message) => post(`${this.base}answers/${message.id}/stop/`)));
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

/** What an answer is until the server tells of it. */
function answerTo(parent, { config }) {
  const answer = { answer: ANSWER, config, text: "", reasoning: "", facts: {}, state: "asked", live: true, sequence: 0 };
  return { id: ANSWER, parent, role: "assistant", text: "", pictures: [], answer };
}
