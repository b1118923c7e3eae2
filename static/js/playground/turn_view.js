/* One message on the page. A growing answer is drawn at most once a frame. */

import { renderMarkdown } from "berth/playground/markdown";
import { words } from "berth/playground/words";

function figures({ first_ms: first, rate, about, usage, finish }) {
  const rounded = rate < 10 ? rate.toFixed(1) : Math.round(rate);
  return [
    first !== undefined && words("first_token", { ms: Math.round(first) }),
    rate !== undefined && words(about ? "about_rate" : "rate", { rate: rounded }),
    usage && words("tokens", { prompt: usage.prompt_tokens, answer: usage.completion_tokens }),
    finish === "length" && words("length"),
  ].filter(Boolean);
}

export class TurnView {
  constructor(turn, { deploymentUrl, onAgain }) {
    this.turn = turn;
    this.deploymentUrl = deploymentUrl;
    const template = document.querySelector(`template[data-turn="${turn.role}"]`);
    this.element = template.content.firstElementChild.cloneNode(true);
    this.frame = 0;
    if (turn.role === "assistant") this.part("again").addEventListener("click", onAgain);
    this.draw();
  }

  part(name) {
    return this.element.querySelector(`[data-${name}]`);
  }

  /** Draw at the next frame, however often this is called before it. */
  drawSoon() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  /** Draw what the turn is now. */
  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    if (this.turn.role === "user") this.part("text").textContent = this.turn.content;
    else this.drawAnswer();
  }

  drawAnswer() {
    const { content, reasoning = "", state, model, error } = this.turn;
    const growing = state === "growing";
    this.element.setAttribute("aria-busy", String(growing));
    this.part("name").textContent = model;
    renderMarkdown(this.part("text"), content, { done: !growing });
    this.part("thoughts").hidden = !reasoning;
    if (this.part("reasoning").textContent !== reasoning) this.part("reasoning").textContent = reasoning;
    this.part("waiting").hidden = !growing || Boolean(content || reasoning);
    this.part("error").hidden = !error;
    this.part("error-text").textContent = error ?? "";
    this.part("facts").hidden = growing;
    if (!growing) this.drawFacts();
  }

  drawFacts() {
    const { state, deployment } = this.turn;
    this.part("mark").hidden = state === "done" || state === "failed";
    if (state === "stopped" || state === "interrupted") this.part("mark-text").textContent = words(state);
    this.part("figures").textContent = figures(this.turn).join(" · ");
    const link = this.part("deployment");
    link.hidden = !deployment;
    if (!deployment) return;
    link.textContent = words("deployment", { id: deployment });
    link.href = this.deploymentUrl.replace("/0/", `/${encodeURIComponent(deployment)}/`);
  }

  /** Whether this answer offers to be asked again: only the last one does. */
  set last(isLast) {
    if (this.turn.role === "assistant") this.part("again").hidden = !isLast;
  }
}
