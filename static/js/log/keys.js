/* Keys of the log: / searches wherever the reader is; the others while the log has the focus or fills the window. */

function typing(target) {
  return target.closest("input:not([type=radio], [type=checkbox]), textarea, select, [contenteditable]") !== null;
}

function choose({ chosen, follower }, by) {
  if (chosen.step(by)) follower.pause();
}

function escape({ options, chosen }) {
  if (options.isFull) options.toggleFull();
  else if (chosen.line) chosen.choose(0);
  else return false;
  return true;
}

const ACTS = {
  "/": ({ search }) => search.input.focus(),
  n: ({ search }) => search.step(1),
  N: ({ search }) => search.step(-1),
  j: (viewer) => choose(viewer, 1),
  k: (viewer) => choose(viewer, -1),
  c: ({ chosen }) => chosen.copy("line", chosen.text),
  w: ({ options }) => options.next("wrap"),
  t: ({ options }) => options.next("times"),
  e: ({ options }) => options.next("streams"),
  f: ({ options }) => options.toggleFull(),
  p: ({ face }) => face.togglePause(),
  End: ({ follower }) => follower.resume(),
  Escape: escape,
};

/** Begin to listen for the keys of `viewer`; returns what ends it. An act that returns false leaves the key to the browser. */
export function listen(viewer) {
  const { root } = viewer;
  const press = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]") || typing(event.target)) return;
    const isOurs = root.contains(event.target) || root.classList.contains("is-full");
    const act = (event.key === "/" || isOurs) && Object.hasOwn(ACTS, event.key) ? ACTS[event.key] : undefined;
    if (!act || act(viewer) === false) return;
    event.preventDefault();
  };
  document.addEventListener("keydown", press);
  return () => document.removeEventListener("keydown", press);
}
