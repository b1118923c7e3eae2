/* Reads an answer that comes as lines of JSON, each as soon as it is there. */

import { headers, refusal } from "berth/playground/api";

/** POST `content`, a form or what becomes JSON, and give each line's object. Throws what api.js throws, and AbortError after a stop. */
export async function* parts(url, content, signal) {
  const isForm = content instanceof FormData;
  const [body, type] = isForm ? [content, {}] : [JSON.stringify(content), { "Content-Type": "application/json" }];
  const response = await fetch(url, { method: "POST", credentials: "same-origin", redirect: "error", signal, headers: headers(type), body });
  if (!response.ok) throw await refusal(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (waiting + value).split("\n");
    waiting = lines.pop();
    for (const line of lines) yield JSON.parse(line);
  }
}
