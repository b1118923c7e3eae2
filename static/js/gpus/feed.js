/* The readings of all GPUs, live: one socket for the page, however many elements subscribe.

   subscribe(callback) gives back what ends it. callback(state, changed) runs in an animation frame, as soon as something is known.
   state.nodes: Map of node name -> its newest reading (the fields of NodeReading; each of `runs` has a class `hue`), with `stale_since` (epoch
   seconds, or null) while the node is silent. state.away_since: since when the server hears of no node; state.lost_since: since when this
   page has no connection; null while all is well. changed: Set of the names of nodes to draw anew. A changed GPU, run or host is a new object.

   The browser acknowledges what it has drawn; a slow one is sent less, and never old data late. The messages: deployments/gpu_frames.py. */

import { fromSnapshot, withDelta } from "berth/gpus/merge";

const RETRY_MS = [500, 1000, 2000, 4000, 8000];
// The server says something every five seconds at least.
const SILENT_AFTER_MS = 12_000;
const SIGN_IN_AGAIN = 4401;
const NOT_ALLOWED = 4403;

const callbacks = new Set();
const state = { nodes: new Map(), away_since: null, lost_since: null };
const changed = new Set();
let socket;
let seq = 0;
let acknowledged = 0;
let heardAt = 0;
let failures = 0;
let retryTimer;
let watchTimer;
let frame;
let isNews = false;

function say(message) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

// A beat is acknowledged like the others, and nobody is told.
function draw() {
  frame = undefined;
  const names = new Set(changed);
  changed.clear();
  const told = isNews ? [...callbacks] : [];
  isNews = false;
  for (const callback of told) {
    try {
      callback(state, names);
    } catch (error) {
      reportError(error);
    }
  }
  if (seq > acknowledged) say({ ack: (acknowledged = seq) });
}

function drawSoon(names) {
  isNews ||= names !== undefined;
  for (const name of names ?? []) changed.add(name);
  frame ??= requestAnimationFrame(draw);
}

const take = {
  snapshot(message) {
    const before = state.nodes;
    state.nodes = fromSnapshot(message, before);
    state.away_since = message.away;
    // The same one may come again after a pause.
    acknowledged = 0;
    drawSoon([...before.keys(), ...state.nodes.keys()]);
  },
  delta({ nodes }) {
    for (const delta of nodes) state.nodes.set(delta.node, withDelta(state.nodes.get(delta.node), delta));
    drawSoon(nodes.map(({ node }) => node));
  },
  stale({ node, since }) {
    state.nodes.set(node, { ...state.nodes.get(node), stale_since: since });
    drawSoon([node]);
  },
  away({ since }) {
    state.away_since = since;
    drawSoon(state.nodes.keys());
  },
  beat: () => drawSoon(),
};

function hear({ data, target }) {
  if (target !== socket) return;
  const message = JSON.parse(data);
  heardAt = Date.now();
  failures = 0;
  // From changes of something else than what is held, nothing can be made.
  if (message.type !== "snapshot" && message.seq !== seq + 1) return lost();
  seq = message.seq;
  state.lost_since = null;
  take[message.type](message);
}

function closed({ code, target }) {
  if (target !== socket) return;
  if (code === SIGN_IN_AGAIN || (code === NOT_ALLOWED && seq > 0)) location.reload();
  else lost();
}

// A dead connection may take minutes to close; it is let go at once.
function drop() {
  const dead = socket;
  socket = undefined;
  dead?.close();
}

function lost() {
  drop();
  state.lost_since ??= Date.now() / 1000;
  drawSoon(state.nodes.keys());
  const wait = RETRY_MS[Math.min(failures, RETRY_MS.length - 1)];
  failures += 1;
  clearTimeout(retryTimer);
  retryTimer = setTimeout(connect, wait * (0.75 + Math.random() / 2));
}

function connect() {
  clearTimeout(retryTimer);
  if (socket || callbacks.size === 0 || document.hidden) return;
  const address = new URL("/ws/gpus/", location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  seq = acknowledged = 0;
  heardAt = Date.now();
  socket = new WebSocket(address);
  socket.addEventListener("open", () => document.hidden && say({ pause: true }));
  socket.addEventListener("message", hear);
  socket.addEventListener("close", closed);
}

function shownOrHidden() {
  heardAt = Date.now();
  say({ pause: document.hidden });
  if (!document.hidden) connect();
}

function watch() {
  if (socket && !document.hidden && Date.now() - heardAt > SILENT_AFTER_MS) lost();
}

/** Run `callback(state, changed)` now and whenever something changed, until the function that this gives back is called. */
export function subscribe(callback) {
  callbacks.add(callback);
  if (callbacks.size === 1) {
    document.addEventListener("visibilitychange", shownOrHidden);
    watchTimer = setInterval(watch, 1000);
    connect();
  } else if (state.nodes.size > 0) {
    drawSoon(state.nodes.keys());
  }
  return () => {
    if (!callbacks.delete(callback) || callbacks.size > 0) return;
    document.removeEventListener("visibilitychange", shownOrHidden);
    clearInterval(watchTimer);
    clearTimeout(retryTimer);
    drop();
  };
}
