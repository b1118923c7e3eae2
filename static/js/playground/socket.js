/* The socket of answers under way. Each delta has a number; after a lost connection the page says which it has. */

const RETRY_MS = [250, 500, 1000, 2000, 4000];
const SIGN_IN_AGAIN = 4401;

export class AnswerSocket {
  /** `hear(message)` for each message that fits to what is there; `state(connected)` when that changes. */
  constructor({ hear, state }) {
    this.hear = hear;
    this.state = state;
    this.followed = new Map();
    this.name = Math.random().toString(36).slice(2);
    this.early = null;
    this.conversation = null;
    this.failures = 0;
    this.retry = () => !this.socket && this.wanted && this.connect();
    addEventListener("online", this.retry);
    document.addEventListener("visibilitychange", this.retry);
  }

  get wanted() {
    return this.conversation !== null || this.followed.size > 0;
  }

  /** This page asks for an answer under its name: what comes of it is kept until its number is known. */
  expect() {
    this.early = [];
  }

  /** The number is followed, or there is none: take what was kept. */
  known() {
    const early = this.early ?? [];
    this.early = null;
    for (const message of early) this.take(message);
  }

  /** Follow `answer` from its delta number `have` on; null: from its row. */
  follow(answer, have = null) {
    if (!this.followed.has(answer)) this.followed.set(answer, have);
    this.tell();
  }

  /** Hear of changes that other tabs make. */
  watch(conversation) {
    this.conversation = conversation;
    this.tell();
  }

  /** Once for all that is asked for in one go: each message makes the server wait anew. */
  tell() {
    if (!this.socket) this.connect();
    else if (!this.isTelling) {
      this.isTelling = true;
      queueMicrotask(() => {
        this.isTelling = false;
        if (this.socket?.readyState !== WebSocket.OPEN) return;
        this.socket.send(JSON.stringify({ follow: Object.fromEntries(this.followed), conversation: this.conversation, page: this.name }));
      });
    }
  }

  connect() {
    clearTimeout(this.timer);
    const address = new URL("/ws/answers/", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = (this.socket = new WebSocket(address));
    socket.addEventListener("open", () => {
      this.failures = 0;
      this.state(true);
      this.tell();
    });
    socket.addEventListener("message", ({ data }) => this.socket === socket && this.take(JSON.parse(data)));
    socket.addEventListener("close", ({ code }) => this.socket === socket && this.lost(code));
  }

  take(message) {
    const { type, answer, sequence } = message;
    if (type === "changed") return this.hear(message);
    if (!this.followed.has(answer)) return this.early?.push(message);
    if (type === "delta") {
      const have = this.followed.get(answer) ?? 0;
      if (sequence <= have) return undefined;
      if (message.after !== have) return this.again(answer);
    }
    if (type === "delta" || type === "snapshot") this.followed.set(answer, sequence);
    else this.followed.delete(answer);
    return this.hear(message);
  }

  /** Something is missing: begin with the row. */
  again(answer) {
    this.followed.set(answer, null);
    const socket = this.socket;
    this.socket = undefined;
    socket.close();
    this.connect();
  }

  lost(code) {
    this.socket = undefined;
    if (code === SIGN_IN_AGAIN) location.reload();
    if (this.failures > 0) this.state(false);
    this.timer = setTimeout(() => this.connect(), RETRY_MS[Math.min(this.failures, RETRY_MS.length - 1)]);
    this.failures += 1;
  }

  stop() {
    removeEventListener("online", this.retry);
    document.removeEventListener("visibilitychange", this.retry);
    clearTimeout(this.timer);
    const socket = this.socket;
    this.socket = undefined;
    socket?.close();
  }
}
