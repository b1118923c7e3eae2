/* One question under way: fills the answer's turn as it arrives, with its figures; can be stopped. */

import { answer } from "berth/playground/answer";
import { words } from "berth/playground/words";

function note(turn, part, clock) {
  if (part.text || part.reasoning) {
    const now = performance.now();
    turn.first_ms ??= now - clock.sent;
    clock.first ??= now;
    clock.last = now;
    clock.parts = (clock.parts ?? 0) + 1;
  }
  turn.content += part.text ?? "";
  if (part.reasoning) turn.reasoning = (turn.reasoning ?? "") + part.reasoning;
  if (part.deployment) turn.deployment = part.deployment;
  if (part.finish) turn.finish = part.finish;
  if (part.usage) turn.usage = part.usage;
}

function measure(turn, clock) {
  const seconds = (clock.last - clock.first) / 1000;
  // The first token's time is the prompt's, so that one token fewer counts.
  const tokens = (turn.usage?.completion_tokens ?? clock.parts ?? 0) - 1;
  if (tokens > 0 && seconds > 0) turn.rate = tokens / seconds;
  // Without the count of a complete answer, a part stands for a token, as nearly all servers send them.
  turn.about = !turn.usage;
}

/** Fill `turn` from the gateway; `onChange` follows each part. Never throws: the turn says how it ended. */
export async function fill(turn, url, body, signal, onChange) {
  const clock = { sent: performance.now() };
  try {
    for await (const part of answer(url, body, signal)) {
      note(turn, part, clock);
      onChange();
    }
    turn.state = "done";
    if (!turn.content && !turn.reasoning) turn.error = words("empty_answer");
  } catch (error) {
    const broken = error.name === "AbortError" ? "stopped" : "interrupted";
    turn.state = turn.content || turn.reasoning || broken === "stopped" ? broken : "failed";
    if (broken !== "stopped") turn.error = error.message;
  }
  measure(turn, clock);
}
