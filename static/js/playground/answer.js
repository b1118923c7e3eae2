/* Asks the gateway and reads its stream: server-sent events as OpenAI sends them. */

import { words } from "berth/playground/words";

/** The gateway or the model's server said what went wrong; the message is fit to show. */
export class AnswerError extends Error {}

async function refusal(response) {
  try {
    const { error } = await response.json();
    return new AnswerError(error.message ?? error);
  } catch {
    return new AnswerError(words("bad_status", { status: response.status }));
  }
}

async function* lines(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  while (true) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const part of parts) yield part.endsWith("\r") ? part.slice(0, -1) : part;
  }
}

function* parts(chunk) {
  if (chunk.error) throw new AnswerError(chunk.error.message ?? String(chunk.error));
  const choice = chunk.choices?.[0];
  const reasoning = choice?.delta?.reasoning_content ?? choice?.delta?.reasoning;
  if (reasoning) yield { reasoning };
  if (choice?.delta?.content) yield { text: choice.delta.content };
  if (choice?.finish_reason) yield { finish: choice.finish_reason };
  if (chunk.usage) yield { usage: chunk.usage };
}

async function send(url, body, signal) {
  const headers = { "Content-Type": "application/json", "X-Berth-Request": "1" };
  try {
    return await fetch(url, { method: "POST", headers, body: JSON.stringify(body), signal });
  } catch (error) {
    throw error.name === "AbortError" ? error : new AnswerError(words("unreachable"));
  }
}

/** Yields { deployment }, then { text }, { reasoning }, { finish } and { usage } as they arrive.
    Throws AnswerError, or AbortError when `signal` was used. Ends only when the answer is complete. */
export async function* answer(url, body, signal) {
  const response = await send(url, body, signal);
  if (!response.ok) throw await refusal(response);
  yield { deployment: response.headers.get("X-Berth-Deployment") };
  try {
    for await (const line of lines(response.body)) {
      if (!line.startsWith("data:")) continue;
      const data = line.slice(5).trim();
      if (data === "[DONE]") return;
      yield* parts(JSON.parse(data));
    }
  } catch (error) {
    throw error instanceof AnswerError || error.name === "AbortError" ? error : new AnswerError(words("broke_off"));
  }
  // A stream that is merely closed is no complete answer.
  throw new AnswerError(words("broke_off"));
}
