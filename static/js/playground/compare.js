/* Compare: columns, answers, figures, votes and sets of prompts, wired together. */

import { attach } from "berth/attach";
import { copyText } from "berth/copy";
import { post, read } from "berth/playground/api";
import { Answers } from "berth/playground/compare_answers";
import { Columns } from "berth/playground/compare_columns";
import { PromptForm } from "berth/playground/compare_composer";
import { attachScrolling } from "berth/playground/compare_scroll";
import { attachSettings } from "berth/playground/compare_settings";
import { Table } from "berth/playground/compare_table";
import { ready } from "berth/playground/ready";
import { pictureOf } from "berth/playground/turn_view";
import { words } from "berth/playground/words";

const BATCH_MS = 1000;

attach("[data-compare]", (root) => {
  const part = (name) => root.querySelector(`[data-${name}]`);
  const { base, url, deploymentUrl } = root.dataset;
  const json = (id) => JSON.parse(document.getElementById(id).textContent);
  let state = json("compare-state");
  let timer;
  let scrolling;
  const columns = new Columns(root, { ...json("compare-ready"), changed: () => scrolling?.draw() });
  columns.begin(state.columns);
  scrolling = attachScrolling(root, columns);
  attachSettings(root, columns);
  const table = new Table(root, columns);
  const form = new PromptForm(root, { send, stop: () => tried(() => post(`${url}${state.comparison}/stop/`)) });
  const answers = new Answers(columns, { base, deploymentUrl }, { changed, connected: (yes) => form.tell(yes ? "" : words("lost")) });

  const isBatch = () => state.batch?.state === "running";

  function changed(over) {
    table.draw(answers.messages, state.round ?? {});
    form.busy = answers.live.length > 0 || isBatch();
    if (over) part("said").textContent = words("complete");
  }

  /** Take what the server told; the answers are drawn anew when another round is looked at. */
  function take(next) {
    const before = state.round?.id;
    state = next;
    if (state.columns.length > 0) columns.fix(state.columns);
    const index = state.rounds.findIndex((each) => each.id === state.round?.id);
    part("round").hidden = index < 0;
    part("place").textContent = words("round", { n: index + 1, of: state.rounds.length });
    part("asked").textContent = state.round?.prompt ?? "";
    part("shown-pictures").replaceChildren(...(state.round?.pictures ?? []).map((picture) => pictureOf(picture, base)));
    part('step="-1"').disabled = index <= 0;
    part('step="1"').disabled = index >= state.rounds.length - 1;
    form.showBatch(isBatch() || state.batch?.error ? state.batch : null);
    if (state.round && state.round.id !== before) {
      answers.show(state.round.answers);
      scrolling.watch();
    }
    changed(false);
    clearTimeout(timer);
    if (isBatch()) timer = setTimeout(follow, BATCH_MS);
  }

  /** While a set goes on, whoever looks at its newest round goes along. */
  async function follow() {
    const atEnd = state.rounds.at(-1)?.id === state.round?.id;
    try {
      take(await read(`${url}${state.comparison}/state/${atEnd ? "" : `?round=${state.round.id}`}`));
    } catch {
      timer = setTimeout(follow, BATCH_MS * 5);
    }
  }

  async function tried(work) {
    try {
      await work();
      return true;
    } catch (error) {
      form.tell(error.message);
      return false;
    }
  }

  function send({ prompt, set, pictures }) {
    return tried(async () => {
      if (!columns.questions) throw new Error(words("two"));
      const isNew = state.comparison === null;
      const told = await post(`${url}ask/`, { comparison: state.comparison, columns: columns.questions, prompt, set, pictures });
      take(told);
      if (!isNew) return;
      history.replaceState(null, "", told.url);
      globalThis.htmx.ajax("GET", told.url, { target: "#compare-head", swap: "outerHTML" });
    });
  }

  async function step(by) {
    const index = state.rounds.findIndex((each) => each.id === state.round.id);
    const wanted = state.rounds[index + by];
    if (wanted) await tried(async () => take(await read(`${url}${state.comparison}/state/?round=${wanted.id}`)));
  }

  async function vote(button) {
    const choice = button.getAttribute("aria-pressed") === "true" ? "" : button.dataset.vote;
    const column = choice === "best" ? Number(button.dataset.column) : null;
    await tried(async () => {
      Object.assign(state.round, await post(`${url}rounds/${state.round.id}/vote/`, { vote: choice, column }));
      changed(false);
    });
  }

  root.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if ("vote" in button.dataset) vote(button);
    else if ("step" in button.dataset) step(Number(button.dataset.step));
    else if ("stopOne" in button.dataset) tried(() => post(`${base}answers/${columns.of(button).view.message.id}/stop/`));
    else if ("copyAnswer" in button.dataset) copyText(columns.of(button).view.message.answer.text);
  });

  scrolling.draw();
  const first = state;
  state = { ...state, round: null };
  take(first);
  ready(form.form);
  return () => {
    clearTimeout(timer);
    scrolling.stop();
    answers.stop();
  };
});
