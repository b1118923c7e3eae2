/* The playground: the conversation, the composer and the settings, wired together. */

import { attach } from "berth/attach";
import { fill } from "berth/playground/asking";
import { Conversation } from "berth/playground/conversation";
import { attachPanel } from "berth/playground/panel";
import { Parameters } from "berth/playground/parameters";
import { TurnView } from "berth/playground/turn_view";
import { words } from "berth/playground/words";

const NEAR_END_PX = 120;

attach("[data-chat]", (root) => {
  const part = (name) => root.querySelector(`[data-${name}]`);
  const conversation = new Conversation();
  const parameters = new Parameters(part("parameters"));
  const openPanel = attachPanel(root);
  const prompt = part("prompt");
  const views = [];
  let stopper;

  function tell(text, button) {
    const line = part("notice-line");
    line.replaceChildren(text ?? "", ...(button ? [button] : []));
    line.hidden = !text;
  }

  function followed(change) {
    const page = document.scrollingElement;
    const atEnd = page.scrollHeight - page.scrollTop - page.clientHeight < NEAR_END_PX;
    change();
    if (atEnd) page.scrollTop = page.scrollHeight;
  }

  function arrange() {
    views.forEach((view, index) => {
      view.last = index === views.length - 1 && part("send") !== null;
    });
    part("empty").hidden = views.length > 0;
    part("clear").hidden = views.length === 0;
    if (part("send")) part("send").hidden = Boolean(stopper);
    if (part("stop")) part("stop").hidden = !stopper;
  }

  function show(turn) {
    const view = new TurnView(turn, { deploymentUrl: root.dataset.deploymentUrl, onAgain: again });
    views.push(view);
    part("turns").append(view.element);
    return view;
  }

  function keep() {
    if (!conversation.save()) tell(words("out_of_room"));
  }

  /** The config to ask, or nothing, having said why. */
  function target() {
    const chosen = part("target").selectedOptions[0];
    const ready = chosen?.value && !("notReady" in chosen.dataset);
    if (!ready) tell(chosen?.value ? words("not_ready", { config: chosen.value }) : words("choose"));
    else if (parameters.wrong) openPanel();
    if (ready && parameters.wrong) parameters.wrong.reportValidity();
    return ready && !parameters.wrong ? chosen.value : undefined;
  }

  async function ask(model) {
    const messages = conversation.messages(parameters.system);
    const turn = conversation.add({ role: "assistant", content: "", state: "growing", model });
    const body = { model, messages, stream: true, stream_options: { include_usage: true }, ...parameters.numbers };
    stopper = new AbortController();
    const view = show(turn);
    followed(arrange);
    await fill(turn, root.dataset.url, body, stopper.signal, () => followed(() => view.drawSoon()));
    stopper = undefined;
    followed(() => {
      view.draw();
      arrange();
    });
    part("said").textContent = turn.error ?? turn.content;
    keep();
  }

  function send() {
    const content = prompt.value.trim();
    if (!content || stopper || !part("send")) return;
    const model = target();
    if (!model) return;
    tell();
    prompt.value = "";
    show(conversation.add({ role: "user", content }));
    keep();
    ask(model);
    document.scrollingElement.scrollTop = document.scrollingElement.scrollHeight;
  }

  function again() {
    const model = stopper ? undefined : target();
    if (!model || !conversation.dropAnswer()) return;
    tell();
    views.pop().element.remove();
    ask(model);
  }

  function bringBack(turns) {
    conversation.turns = turns;
    turns.forEach(show);
    tell();
    keep();
    arrange();
  }

  function clear() {
    stopper?.abort();
    const before = conversation.clear();
    views.splice(0).forEach((view) => view.element.remove());
    const undo = document.querySelector("template[data-undo]").content.firstElementChild.cloneNode(true);
    undo.addEventListener("click", () => bringBack(before), { once: true });
    tell(words("cleared"), undo);
    arrange();
    prompt.focus();
  }

  part("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  prompt.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  });
  part("stop")?.addEventListener("click", () => {
    stopper?.abort();
    prompt.focus();
  });
  part("clear").addEventListener("click", clear);
  // A reload stops the answer: what came is kept and marked at the next start.
  addEventListener("pagehide", () => conversation.save());
  followed(() => {
    conversation.turns.forEach(show);
    arrange();
  });
});
