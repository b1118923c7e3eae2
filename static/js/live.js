/* Keeps the page current: one websocket that tells what changed, and the mark that tells whether to trust the page.

   data-live="deployment:12" or "config:name" or "all": on a hint this element gets the event berth:changed (its hx-get reloads it).
   data-live-region: reloads as a whole (berth:reload) once the page is subscribed, for what changed between its drawing and
   then, or while the connection was lost; and when too much changed at once. */

import { showState } from "berth/live_mark";

const DEBOUNCE_MS = 150;
const MANY = 6;
const SILENT_AFTER_MS = 7000;
const RETRY_MS = [500, 1000, 2000, 4000, 8000];
const SIGN_IN_AGAIN = 4401;
const NOT_ALLOWED = 4403;

let socket;
let failures = 0;
let wasSubscribed = false;
let lastBeat = 0;
let retryTimer;
let flushTimer;
const changed = new Set();

function fire(elements, name) {
  for (const element of elements) element.dispatchEvent(new CustomEvent(name, { bubbles: false }));
}

function flush() {
  flushTimer = undefined;
  const topics = [...changed];
  changed.clear();
  const elements = topics.flatMap((topic) => [...document.querySelectorAll(`[data-live="${CSS.escape(topic)}"]`)]);
  if (elements.length > MANY) reloadRegions();
  else fire(new Set(elements), "berth:changed");
  fire(document.querySelectorAll('[data-live="all"]'), "berth:changed");
}

function reloadRegions() {
  fire(document.querySelectorAll("[data-live-region]"), "berth:reload");
  fire(document.querySelectorAll("[data-live]:not([data-live-region], [data-live-region] *)"), "berth:changed");
}

function hear({ data, target }) {
  if (target !== socket) return;
  const message = JSON.parse(data);
  lastBeat = Date.now();
  if (message.type === "beat") {
    showState("live", message);
  } else if (message.type === "changed") {
    changed.add(`deployment:${message.deployment}`).add(`config:${message.config}`);
    flushTimer ??= setTimeout(flush, DEBOUNCE_MS);
  } else if (message.type === "subscribed" || message.type === "reload") {
    wasSubscribed = true;
    reloadRegions();
  }
}

function opened() {
  failures = 0;
  lastBeat = Date.now();
  socket.send(JSON.stringify({ subscribe: ["all"] }));
  showState("live", {});
}

function closed(event) {
  if (event.target !== socket) return;
  // A page that never was allowed would only be refused again.
  const refused = event.code === SIGN_IN_AGAIN || (event.code === NOT_ALLOWED && wasSubscribed);
  if (refused) location.reload();
  else lost();
}

function lost() {
  // A dead connection may take minutes to close; it is let go at once.
  const dead = socket;
  socket = undefined;
  dead?.close();
  showState("offline", {});
  const wait = RETRY_MS[Math.min(failures, RETRY_MS.length - 1)];
  failures += 1;
  retryTimer = setTimeout(connect, wait * (0.75 + Math.random() / 2));
}

function connect() {
  clearTimeout(retryTimer);
  if (socket) return;
  const address = new URL("/ws/live/", location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(address);
  socket.addEventListener("open", opened);
  socket.addEventListener("message", hear);
  socket.addEventListener("close", closed);
}

function watch() {
  if (socket?.readyState === WebSocket.OPEN && Date.now() - lastBeat > SILENT_AFTER_MS) lost();
}

function retryNow() {
  if (!socket && document.visibilityState === "visible") connect();
}

if (document.querySelector("[data-live-mark]")) {
  connect();
  setInterval(watch, 1000);
  document.addEventListener("visibilitychange", retryNow);
  addEventListener("online", retryNow);
  addEventListener("offline", () => socket && lost());
  document.addEventListener("berth:acted", reloadRegions);
}
