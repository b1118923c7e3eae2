/* The end of a log as it grows: a websocket that goes on by cursor after a lost connection.

   `hear` gets { lines }, { gap }, { end } or { silent: seconds or null }; `say` gets connecting, open, lost or refused.
   Each message is acknowledged by the reader once it is shown, so that a fast log waits for a slow page. */

const RETRY_MS = [500, 1000, 2000, 4000, 8000];
const REFUSALS = [4401, 4403];

export class Tail {
  constructor({ deployment, attempt, cursor, hear, say }) {
    Object.assign(this, { deployment, attempt, cursor, hear, say });
    this.failures = 0;
    this.ended = false;
    this.connect();
  }

  connect() {
    const address = new URL(`/ws/log/${this.deployment}/${this.attempt}/?cursor=${this.cursor}`, location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(address);
    this.socket = socket;
    if (this.failures === 0) this.say("connecting");
    socket.addEventListener("open", () => socket === this.socket && this.say("open"));
    socket.addEventListener("message", ({ data }) => socket === this.socket && this.take(JSON.parse(data)));
    socket.addEventListener("close", (event) => socket === this.socket && this.lost(event));
  }

  take(message) {
    this.failures = 0;
    if (message.type === "lines") {
      const lines = message.lines.filter((line) => line.c > this.cursor);
      if (lines.length) this.cursor = lines.at(-1).c;
      this.hear({ lines });
    } else if (message.type === "gap") {
      this.cursor += message.lines;
      this.hear({ gap: message.lines, c: this.cursor });
    } else if (message.type === "end") {
      this.ended = true;
      this.hear({ end: true });
    } else {
      this.hear({ silent: message.type === "silent" ? message.age_s : undefined });
      this.acknowledge(1);
    }
  }

  acknowledge(messages) {
    if (this.socket?.readyState !== WebSocket.OPEN) return;
    for (let n = 0; n < messages; n += 1) this.socket.send('{"ack":1}');
  }

  lost({ code }) {
    if (this.ended) return;
    if (REFUSALS.includes(code)) {
      this.say("refused");
      return;
    }
    this.say("lost");
    const wait = RETRY_MS[Math.min(this.failures, RETRY_MS.length - 1)];
    this.failures += 1;
    this.timer = setTimeout(() => this.connect(), wait);
  }

  close() {
    clearTimeout(this.timer);
    const { socket } = this;
    this.socket = undefined;
    socket?.close();
  }
}
