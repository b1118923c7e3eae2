/* Which stretch of the log is in the page: its end while the reader follows, or what the reader scrolled or jumped to.

   `attached`: the last row is the newest line. While it is not, the newest lines are held back, bounded, so that going to
   the end needs no request. Rows are added once a frame, and only then acknowledged. */

const MOST_HELD = 1000;
//: By the server's clock, as the lines' times are.
const DRAWN_AT_S = Number(document.documentElement.dataset.now);

export class Follower extends EventTarget {
  constructor(window) {
    super();
    this.window = window;
    this.queue = [];
    this.messages = 0;
    this.held = [];
    this.unseen = 0;
    this.follows = true;
    this.attached = true;
    this.older = false;
  }

  /** Take items of the tail; `shown` is called once they are in the page. */
  push(items, shown) {
    this.queue.push(...items);
    this.shown = shown;
    this.messages += 1;
    this.frame ??= requestAnimationFrame(() => this.flush());
  }

  flush() {
    this.frame = undefined;
    const items = this.queue.splice(0);
    const messages = this.messages;
    this.messages = 0;
    this.add(items);
    this.shown(messages);
    this.tell("lines", items.filter((item) => !item.gap));
  }

  add(items) {
    // What lies before the first line that was sent is to be had from the server.
    if (this.window.isEmpty && this.attached && items[0]?.gap) {
      this.older = true;
      items.shift();
    }
    const fresh = this.attached ? items.filter((item) => item.c > this.window.last) : items;
    if (this.attached && this.follows) {
      if (this.window.follow(fresh)) this.older = true;
      return;
    }
    // What was printed before the page was drawn is not news.
    this.unseen += fresh.filter((item) => item.t > DRAWN_AT_S).length;
    if (this.attached && this.window.hasRoomFor(fresh.length)) this.window.append(fresh);
    else this.detach(fresh);
  }

  detach(fresh) {
    if (this.attached) this.held = this.window.items.slice(-MOST_HELD);
    this.attached = false;
    this.held = this.held.concat(fresh).slice(-MOST_HELD);
  }

  /** The reader went somewhere else than the end. */
  pause() {
    if (!this.follows) return;
    this.follows = false;
    this.tell("moved");
  }

  /** To the end, and along with it. */
  resume() {
    if (!this.attached) {
      if (this.held[0]?.gap) this.held.shift();
      this.window.reset(this.held);
      this.held = [];
      this.attached = true;
      this.older = this.window.first > 1;
    }
    this.follows = true;
    this.unseen = 0;
    this.window.toEnd();
    this.tell("moved");
  }

  /** Show a stretch from elsewhere in the log. */
  jump({ items, older, newer }) {
    if (newer) this.detach([]);
    this.follows = false;
    this.older = older;
    this.window.reset(items);
    if (this.reaches(newer)) this.join();
    this.tell("moved");
  }

  addOlder({ items, older }) {
    this.older = older;
    const beyond = this.window.items.slice(-MOST_HELD);
    if (this.window.prepend(items) && this.attached) {
      this.attached = false;
      this.held = beyond;
    }
    this.tell("moved");
  }

  addNewer({ items, newer }) {
    if (this.window.append(items)) this.older = true;
    if (this.reaches(newer)) this.join();
    this.tell("moved");
  }

  // Whether nothing is missing between the last row and what is held; of that, the oldest may have been let go meanwhile.
  reaches(newer) {
    const [next] = this.held;
    return next ? next.c - (next.gap ?? 1) <= this.window.last : !newer;
  }

  // What is held follows what is in the page.
  join() {
    const rest = this.held.filter((item) => item.c > this.window.last);
    this.held = [];
    this.attached = true;
    if (this.window.append(rest)) this.older = true;
  }

  tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  stop() {
    cancelAnimationFrame(this.frame);
  }
}
