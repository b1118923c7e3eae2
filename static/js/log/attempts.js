/* A log whose attempt nobody chose goes over to the next attempt, once its own has ended and its reader is at the end. */

const SETTLED_MS = 1000;

export class Attempts {
  constructor(root, mayGo) {
    Object.assign(this, { root, mayGo });
    document.addEventListener("berth:changed", this.changed, { capture: true });
  }

  // The head of the page, which knows the newest attempt, is drawn again after the same event.
  changed = () => {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.look(), SETTLED_MS);
  };

  look() {
    const latest = Number(document.getElementById("head")?.dataset.latestAttempt);
    const isNewer = latest > Number(this.root.dataset.attempt);
    if (isNewer && this.root.hasAttribute("data-follows-attempts") && this.mayGo()) this.root.dispatchEvent(new CustomEvent("berth:attempt"));
  }

  stop() {
    clearTimeout(this.timer);
    document.removeEventListener("berth:changed", this.changed, { capture: true });
  }
}
