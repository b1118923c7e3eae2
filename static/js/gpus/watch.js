/* What the page's elements see of the feed: the newest state of their node, and again after htmx has changed the page. */

import { subscribe } from "berth/gpus/feed";

const watchers = new Set();
let newest;
let leave;

function hear(state, changed) {
  newest = state;
  for (const watcher of [...watchers]) watcher(state, changed);
}

function paintAgain() {
  if (newest) for (const watcher of [...watchers]) watcher(newest, null);
}

/** Call `paint(state, changed)` for every change, and now if anything is known; `changed` null means all nodes, nothing new. */
export function watch(paint) {
  watchers.add(paint);
  if (newest) paint(newest, null);
  leave ??= subscribe(hear);
  return () => {
    watchers.delete(paint);
    if (watchers.size > 0) return;
    leave();
    leave = newest = undefined;
  };
}

/** The same for one node: `paint(node)`. */
export function watchNode(name, paint) {
  return watch((state, changed) => {
    const node = changed === null || changed.has(name) ? state.nodes.get(name) : undefined;
    if (node) paint(node);
  });
}

document.addEventListener("htmx:afterSwap", paintAgain);
