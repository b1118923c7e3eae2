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

function headers(more) {
  return { ...JSON.parse(document.body.getAttribute("hx-headers")), Accept: "application/json", ...more };
}

async function ask(url, options) {
  let response;
  try {
    response = await fetch(url, { credentials: "same-origin", redirect: "error", ...options });
  } catch {
    throw new RefusedError(words("unreachable"));
  }
  let content;
  try {
    content = await response.json();
  } catch {
    throw new RefusedError(words("bad_status", { status: response.status }), { status: response.status });
  }
  if (!response.ok) throw new RefusedError(content.error, { status: response.status, fields: content.fields });
  return content;
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
