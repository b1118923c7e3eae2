/* The mark in the top bar: live, delayed N s, or offline; a screen reader hears only changes of the state. */

const SWEEP_LATE_S = 10;
const AGENT_LATE_S = 10;

function judge(state, { sweep_age_s: sweep, agent_age_s: agent }) {
  if (state !== "live") return { state, help: "helpOffline", age: null };
  if (sweep === null || sweep > SWEEP_LATE_S) return { state: "delayed", help: "helpWorker", age: sweep };
  if (agent === null || agent > AGENT_LATE_S) return { state: "delayed", help: "helpAgent", age: agent };
  return { state: "live", help: "helpLive", age: null };
}

function words(mark, { state, age }) {
  if (state === "live") return mark.dataset.textLive;
  if (state === "offline") return mark.dataset.textOffline;
  return age === null ? mark.dataset.textSilent : mark.dataset.textDelayed.replace("{n}", String(Math.round(age)));
}

/** Show how fresh the page is. `beat` has `sweep_age_s` and `agent_age_s`: seconds, null when never heard, or absent. */
export function showState(state, beat) {
  const mark = document.querySelector("[data-live-mark]");
  const verdict = judge(state, beat);
  const text = words(mark, verdict);
  mark.querySelector("[data-live-word]").textContent = text;
  mark.title = mark.dataset[verdict.help];
  if (mark.dataset.state === verdict.state && mark.dataset.said) return;
  mark.dataset.state = verdict.state;
  mark.dataset.said = "1";
  mark.querySelector("[data-live-said]").textContent = `${text}. ${mark.title}`;
}
