/* The conversation of this tab: kept in sessionStorage, so that a reload does not lose it. */

const KEY = "berth.playground.conversation";

function stored() {
  try {
    const turns = JSON.parse(sessionStorage.getItem(KEY) ?? "[]");
    return Array.isArray(turns) ? turns : [];
  } catch {
    return [];
  }
}

export class Conversation {
  constructor() {
    this.turns = stored();
    // The page was left while an answer was arriving.
    for (const turn of this.turns) if (turn.state === "growing") turn.state = "interrupted";
  }

  get last() {
    return this.turns.at(-1);
  }

  add(turn) {
    this.turns.push(turn);
    return turn;
  }

  /** Take away the last answer; returns whether there was one. */
  dropAnswer() {
    if (this.last?.role !== "assistant") return false;
    this.turns.pop();
    return true;
  }

  /** Forget everything; returns what there was. */
  clear() {
    const before = this.turns;
    this.turns = [];
    this.save();
    return before;
  }

  /** Keep the conversation over a reload; false when the browser has no room. */
  save() {
    try {
      sessionStorage.setItem(KEY, JSON.stringify(this.turns));
      return true;
    } catch {
      return false;
    }
  }

  /** The messages to send: the system prompt, then every turn that said something. */
  messages(system) {
    const said = this.turns.filter((turn) => turn.content).map(({ role, content }) => ({ role, content }));
    return system ? [{ role: "system", content: system }, ...said] : said;
  }
}
