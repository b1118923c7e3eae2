/* Parts of a log from the server: before a line, after it or around it, and the search over the whole. */

/** The server said why it cannot answer; the message is fit to show. */
export class LogError extends Error {}

async function ask(address, parameters, signal) {
  const url = new URL(address, location.href);
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, String(value));
  let response;
  try {
    response = await fetch(url, { headers: { Accept: "application/json" }, signal });
  } catch (error) {
    throw error.name === "AbortError" ? error : new LogError("");
  }
  if (!response.headers.get("Content-Type")?.startsWith("application/json")) throw new LogError("");
  const answer = await response.json();
  if (!response.ok) throw new LogError(answer.error);
  return answer;
}

export class Pages {
  constructor(root) {
    this.root = root;
  }

  /** { items, older, newer }: a stretch of the log, and whether there is more at either end. `place` is { before },
      { after } or { around }. Throws LogError. */
  page(place) {
    return ask(this.root.dataset.linesUrl, place);
  }

  /** { total, lines, upto }: how many lines match, the numbers of the newest of them, and how far was searched. Throws
      LogError, or AbortError when `signal` was used. */
  search(text, signal) {
    return ask(this.root.dataset.searchUrl, { q: text }, signal);
  }
}
