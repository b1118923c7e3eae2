/* The playground: the conversation, the composer and the sides, wired together. */

import { attach } from "berth/attach";
import { copyText } from "berth/copy";
import { Composer } from "berth/playground/composer";
import { attachSides } from "berth/playground/panel";
import { Parameters } from "berth/playground/parameters";
import { attachPresets } from "berth/playground/presets";
import { ready } from "berth/playground/ready";
import { Session } from "berth/playground/session";
import { attachShortcuts } from "berth/playground/shortcuts";
import { Speaker } from "berth/playground/speech";
import { Thread } from "berth/playground/thread";
import { words } from "berth/playground/words";
import { write } from "berth/write";

const ADDRESSED_AFTER_MS = 150;
const LISTED_AFTER_MS = 1500;
const AFTER_FIRST_WORDS_MS = 100;

attach("[data-chat]", (root) => {
  const part = (name) => root.querySelector(`[data-${name}]`);
  const { base, deploymentUrl } = root.dataset;
  const state = JSON.parse(document.getElementById("chat-state").textContent);
  const sides = attachSides(root);
  let unlisted = "";
  let addressing = 0;
  const listing = { timer: 0, at: Infinity };
  const parameters = new Parameters(part("parameters"));
  const speaker = new Speaker(part("said"));
  const thread = new Thread(part("turns"), { base, deploymentUrl });
  const composer = new Composer(part("composer"), { send: (message) => tried((question) => session.say(message, question)), stop: () => stop() });
  const session = new Session(base, state, { shown, changed, begun, connected: (yes) => composer.tell(yes ? "" : words("lost")) });

  function shown() {
    thread.show(session.path, (message) => session.tree.versions(message));
    write(part("empty"), "hidden", session.path.length > 0);
    composer.busy = session.growing.length > 0;
  }

  function changed(id, { over = false } = {}) {
    thread.changed(id, { over });
    const { answer } = session.tree.get(id);
    if (unlisted && (answer.text || over)) enlistWithin(AFTER_FIRST_WORDS_MS);
    if (thread.last?.id === id) speaker.feed(answer.text, { done: over, last: over ? answer.error || words("over") : "" });
    if (over) composer.busy = session.growing.length > 0;
  }

  /** A new conversation has an address now: to show it keeps the whole browser busy for a frame, and so does to put it
      into the list, while its first words may be about to come. They go first. */
  function begun(url) {
    addressing = setTimeout(() => history.replaceState(null, "", url), ADDRESSED_AFTER_MS);
    unlisted = url;
    enlistWithin(LISTED_AFTER_MS);
  }

  /** One timer, which only ever comes forward. */
  function enlistWithin(ms) {
    const at = performance.now() + ms;
    if (at >= listing.at) return;
    clearTimeout(listing.timer);
    Object.assign(listing, { at, timer: setTimeout(enlist, ms) });
  }

  async function enlist() {
    const url = unlisted;
    unlisted = "";
    listing.at = Infinity;
    if (!url) return;
    await globalThis.htmx.ajax("GET", `${url}?part=conversations`, { target: "#conversation-list", swap: "outerHTML" });
    await globalThis.htmx.ajax("GET", `${url}?part=head`, { target: "#chat-head", swap: "outerHTML" });
    sides.refit();
  }

  /** What is asked for, or nothing, having said why. */
  function question() {
    const config = part("target").selectedOptions[0]?.value;
    if (!config) composer.tell(words("choose"));
    else if (parameters.wrong) {
      sides.panel.open();
      parameters.wrong.closest("details")?.setAttribute("open", "");
      parameters.wrong.reportValidity();
    } else return { config, settings: parameters.value };
    return undefined;
  }

  async function tried(work) {
    const asked = question();
    if (!asked) return false;
    speaker.forget();
    try {
      thread.end.follow();
      await work(asked);
      return true;
    } catch (error) {
      composer.tell(error.message);
      return false;
    }
  }

  function stop() {
    session.stopAll().catch((error) => composer.tell(error.message));
  }

  const messageOf = (element) => session.tree.get(Number(element.closest("[data-message]").dataset.message));
  const again = (message) => message && !composer.busy && composer.maySend && tried((asked) => session.again(message, asked));

  part("turns").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if ("again" in button.dataset) again(messageOf(button));
    else if ("edit" in button.dataset) composer.edit(messageOf(button));
    else if ("branch" in button.dataset) session.lookAt(messageOf(button), Number(button.dataset.branch));
    else if ("copyAnswer" in button.dataset) copyText(messageOf(button).answer.text).then(() => flash(button));
  });

  const lastOf = (role) => session.path.findLast((message) => message.role === role);
  const detachShortcuts = attachShortcuts(root, {
    again: () => again(lastOf("assistant")),
    version: (step) => lastOf("assistant") && session.lookAt(lastOf("assistant"), step),
    fresh: () => location.assign(base),
    settings: () => sides.panel.toggle(),
    editLast: () => lastOf("user") && composer.edit(lastOf("user")),
    focus: () => composer.prompt.focus(),
    escape: () => sides.close() || (composer.edits ? composer.edit(null) : composer.busy && stop()),
  });
  attachPresets(part("presets"), {
    take({ settings, prompt }) {
      parameters.value = settings;
      if (prompt) composer.prompt.value = prompt;
    },
    current: () => ({ settings: parameters.value, prompt: composer.prompt.value }),
  });
  parameters.begin(state.settings);
  shown();
  if (state.messages.length > 0) thread.end.follow();
  ready(composer.form);
  return () => {
    clearTimeout(addressing);
    clearTimeout(listing.timer);
    detachShortcuts();
    sides.stop();
    thread.stop();
    session.stop();
  };
});

function flash(button) {
  const word = button.querySelector("[data-copy-word]");
  const before = (button.dataset.before ??= word.textContent);
  word.textContent = button.dataset.copied;
  setTimeout(() => (word.textContent = before), 1500);
}
