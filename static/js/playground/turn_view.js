/* One message on the page. A growing answer is drawn at most once a frame, and less often where drawing is slow. */

import { figuresOf } from "berth/playground/figures";
import { GrowingText } from "berth/playground/growing";
import { words } from "berth/playground/words";
import { write } from "berth/write";

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

  write(part, name, value) {
    write(this.part(part), name, value);
  }

  linkTo(deployment) {
    return new URL(this.context.deploymentUrl.replace("/0/", `/${encodeURIComponent(deployment)}/`), location.href).href;
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

  get hasWords() {
    return Boolean(this.text?.text);
  }

  /** Draw what the message is now. */
  draw() {
    if (!this.isAnswer) return;
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    const { text, reasoning = "", state, live, config, error, calls = [] } = this.message.answer;
    if (this.element.getAttribute("aria-busy") !== String(live)) this.element.setAttribute("aria-busy", String(live));
    this.write("name", "textContent", config);
    this.text.update(text, { done: !live });
    this.write("thoughts", "hidden", !reasoning);
    if (this.part("reasoning").textContent.length !== reasoning.length) this.part("reasoning").textContent = reasoning;
    this.drawCalls(calls);
    this.write("waiting", "hidden", !live || Boolean(text));
    this.write("error", "hidden", !error);
    this.write("error-text", "textContent", error ?? "");
    const isMarked = ["stopped", "interrupted", "failed"].includes(state);
    this.write("mark", "hidden", !isMarked);
    this.write("mark-text", "textContent", isMarked ? words(state) : "");
    this.write("again", "hidden", live);
    this.drawFacts();
  }

  drawFacts() {
    const { answer } = this.message;
    if (answer.live) {
      const seconds = Math.round((performance.now() - this.began) / 1000);
      this.write("waiting-text", "textContent", answer.reasoning ? words("thinking") : words("waiting", { s: seconds }));
    }
    this.write("figures", "textContent", figuresOf(answer).join(" · "));
    const { deployment_id: deployment, request_id: request } = answer.facts ?? {};
    this.write("deployment", "hidden", !deployment);
    this.write("deployment", "textContent", deployment ? words("deployment", { id: deployment }) : "");
    if (deployment) this.write("deployment", "href", this.linkTo(deployment));
    this.write("request", "textContent", request ? words("request", { id: request.slice(0, 8) }) : "");
    this.write("request", "title", request ?? "");
  }

  drawCalls(calls) {
    const shelf = this.part("calls");
    write(shelf, "hidden", calls.length === 0);
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
    this.write("branches", "hidden", versions.length < 2);
    this.write("branch-place", "textContent", words("branch", { n: place + 1, of: versions.length }));
    this.write('branch="-1"', "disabled", place === 0);
    this.write('branch="1"', "disabled", place === versions.length - 1);
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
