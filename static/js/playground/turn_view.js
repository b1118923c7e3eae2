/* One message on the page. A growing answer is drawn at most once a frame, and less often where drawing is slow. */

import { figuresOf } from "berth/playground/figures";
import { GrowingText } from "berth/playground/growing";
import { words } from "berth/playground/words";

/* After a frame that took long the page rests this many times as long. */
const REST = 3;

export class TurnView {
  /** `context`: base and deploymentUrl of the page. */
  constructor(message, context) {
    this.message = message;
    this.context = context;
    this.element = document.querySelector(`template[data-turn="${message.role}"]`).content.firstElementChild.cloneNode(true);
    this.name();
    this.isAnswer = message.role === "assistant";
    this.text = this.isAnswer ? new GrowingText(this.part("text")) : null;
    this.began = performance.now();
    this.notBefore = 0;
    if (!this.isAnswer) this.drawSaid();
  }

  name() {
    this.element.dataset.message = this.message.id;
  }

  part(name) {
    return this.element.querySelector(`[data-${name}]`);
  }

  /** Draw at the next frame, however often this is called before it. */
  drawSoon() {
    this.frame ||= requestAnimationFrame((now) => {
      this.frame = 0;
      if (now < this.notBefore) {
        this.drawSoon();
        return;
      }
      this.draw();
      const took = performance.now() - now;
      this.notBefore = now + (took > 8 ? took * REST : 0);
    });
  }

  /** Draw what the message is now. */
  draw() {
    if (!this.isAnswer) return;
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    const { text, reasoning = "", state, live, config, error, calls = [] } = this.message.answer;
    this.element.setAttribute("aria-busy", String(live));
    this.part("name").textContent = config;
    this.text.update(text, { done: !live });
    this.part("thoughts").hidden = !reasoning;
    if (this.part("reasoning").textContent.length !== reasoning.length) this.part("reasoning").textContent = reasoning;
    this.drawCalls(calls);
    this.part("waiting").hidden = !live || Boolean(text);
    this.part("error").hidden = !error;
    this.part("error-text").textContent = error ?? "";
    this.part("mark").hidden = !["stopped", "interrupted", "failed"].includes(state);
    this.part("mark-text").textContent = this.part("mark").hidden ? "" : words(state);
    this.part("again").hidden = live;
    this.drawFacts();
  }

  drawFacts() {
    const { answer } = this.message;
    if (answer.live) {
      const seconds = Math.round((performance.now() - this.began) / 1000);
      this.part("waiting-text").textContent = answer.reasoning ? words("thinking") : words("waiting", { s: seconds });
    }
    this.part("figures").textContent = figuresOf(answer).join(" · ");
    const { deployment_id: deployment, request_id: request } = answer.facts ?? {};
    const link = this.part("deployment");
    link.hidden = !deployment;
    link.textContent = deployment ? words("deployment", { id: deployment }) : "";
    if (deployment) link.href = this.context.deploymentUrl.replace("/0/", `/${encodeURIComponent(deployment)}/`);
    this.part("request").textContent = request ? words("request", { id: request.slice(0, 8) }) : "";
    this.part("request").title = request ?? "";
  }

  drawCalls(calls) {
    const shelf = this.part("calls");
    shelf.hidden = calls.length === 0;
    calls.forEach((call, index) => {
      const shown = shelf.children[index] ?? shelf.appendChild(document.querySelector("template[data-call]").content.firstElementChild.cloneNode(true));
      shown.querySelector("[data-call-name]").textContent = call.name;
      shown.querySelector("[data-call-arguments]").textContent = readable(call.arguments);
    });
  }

  drawSaid() {
    this.part("text").textContent = this.message.text;
    const shelf = this.part("shown");
    shelf.hidden = this.message.pictures.length === 0;
    shelf.append(...this.message.pictures.map((picture) => pictureOf(picture, this.context.base)));
  }

  /** Say which of `versions` this is. */
  showVersions(versions) {
    const place = versions.findIndex((each) => each.id === this.message.id);
    this.part("branches").hidden = versions.length < 2;
    this.part("branch-place").textContent = words("branch", { n: place + 1, of: versions.length });
    this.part('branch="-1"').disabled = place === 0;
    this.part('branch="1"').disabled = place === versions.length - 1;
  }

  remove() {
    cancelAnimationFrame(this.frame);
    this.element.remove();
  }
}

/** An image element for what stands in a message. */
export function pictureOf({ id, width, height, name }, base) {
  const image = document.createElement("img");
  return Object.assign(image, { src: `${base}pictures/${id}/`, alt: words("picture", { name, width, height }), loading: "lazy", width, height });
}

function readable(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
