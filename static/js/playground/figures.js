/* The line under an answer. */

import { words } from "berth/playground/words";

const SHOWN_FROM_MS = 1;

function rateOf({ rate, about }) {
  if (rate === undefined) return undefined;
  return words(about ? "about_rate" : "rate", { rate: rate < 10 ? rate.toFixed(1) : Math.round(rate) });
}

/** What is known of an answer, in its fixed order. */
export function figuresOf({ facts = {}, finish }) {
  const tokens = { prompt: facts.prompt_tokens ?? "–", answer: facts.completion_tokens };
  return [
    facts.queue_ms >= SHOWN_FROM_MS && words("queue", { ms: facts.queue_ms }),
    facts.start_ms >= SHOWN_FROM_MS && words("start", { s: (facts.start_ms / 1000).toFixed(1) }),
    facts.first_token_ms !== undefined && words("first_token", { ms: facts.first_token_ms }),
    rateOf(facts),
    facts.completion_tokens !== undefined && words("tokens", tokens),
    facts.replica && words("replica", { name: facts.replica }),
    finish === "length" && words("length"),
  ].filter(Boolean);
}

/** Pieces a second while an answer grows; `answer.live_from` is when its first piece was seen here. */
export function noteRate(answer, now) {
  // What the server counted in the end stays.
  if (!answer.pieces || !answer.live) return;
  answer.live_from ??= { at: now, pieces: answer.pieces };
  const seconds = (now - answer.live_from.at) / 1000;
  if (seconds < 0.3) return;
  answer.facts = { ...answer.facts, rate: (answer.pieces - answer.live_from.pieces) / seconds, about: true };
}
