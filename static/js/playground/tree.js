/* The messages of a conversation: a tree, of which one branch is looked at. */

export class Tree {
  constructor(messages = []) {
    this.nodes = new Map();
    this.add(messages);
  }

  /** Take messages, new ones and newer states of known ones. */
  add(messages) {
    for (const message of messages) {
      const known = this.nodes.get(message.id);
      if (known) Object.assign(known, message, { answer: newer(known.answer, message.answer) });
      else this.nodes.set(message.id, message);
    }
  }

  /** What stood under `id` is `message`. */
  rename(id, message) {
    const node = this.nodes.get(id);
    this.nodes.delete(id);
    this.nodes.set(message.id, Object.assign(node ?? {}, message));
  }

  remove(id) {
    this.nodes.delete(id);
  }

  get(id) {
    return this.nodes.get(id);
  }

  get size() {
    return this.nodes.size;
  }

  /** From the first message to `leaf`. */
  pathTo(leaf) {
    const path = [];
    for (let node = this.nodes.get(leaf); node; node = this.nodes.get(node.parent)) path.unshift(node);
    return path;
  }

  /** The branches beside `message`, itself among them, the oldest first. */
  versions(message) {
    return [...this.nodes.values()].filter((each) => each.parent === message.parent).sort((one, other) => one.id - other.id);
  }

  /** The newest end of the branch that begins with `id`. */
  newestUnder(id) {
    const under = new Set([id]);
    let newest = id;
    // A reply has a higher number than what it replies to.
    for (const node of [...this.nodes.values()].sort((one, other) => one.id - other.id)) {
      if (!under.has(node.parent)) continue;
      under.add(node.id);
      newest = node.id;
    }
    return newest;
  }
}

/** What came over the socket meanwhile may be more than what was read. */
function newer(known, read) {
  if (!known || !read) return read ?? known;
  return read.sequence >= known.sequence || !read.live ? Object.assign(known, read) : known;
}
