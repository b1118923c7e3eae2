/* Asks the playground's views: JSON there and back. */

import { words } from "berth/playground/words";

/** Berth said why not; the message is fit to show. */
export class RefusedError extends Error {
  constructor(message, { status = 0, fields = {} } = {}) {
    super(message);
    this.status = status;
    this.fields = fields;
  }
}

/** Headers of a request to Berth's own views. */
export function headers(more) {
  return { ...JSON.parse(document.body.getAttribute("hx-headers")), Accept: "application/json", ...more };
}

async function ask(url, options) {
  let response;
  try {
    response = await fetch(url, { credentials: "same-origin", redirect: "error", ...options });
  } catch {
    throw new RefusedError(words("unreachable"));
  }
  if (!response.ok) throw await refusal(response);
  try {
    return await response.json();
  } catch {
    throw unexplained(response);
  }
}

/** What Berth said in `response`, which is no success. */
export async function refusal(response) {
  try {
    const { error, fields } = await response.json();
    return new RefusedError(error, { status: response.status, fields });
  } catch {
    return unexplained(response);
  }
}

function unexplained({ status }) {
  return new RefusedError(words("bad_status", { status }), { status });
}

export function read(url) {
  return ask(url, { headers: headers() });
}

export function post(url, content = {}) {
  const body = JSON.stringify(content);
  return ask(url, { method: "POST", headers: headers({ "Content-Type": "application/json" }), body });
}

export function upload(url, form) {
  return ask(url, { method: "POST", headers: headers(), body: form });
}
