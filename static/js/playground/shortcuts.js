/* The keys of the playground. */

function isWriting(target) {
  return target.closest("input, textarea, select, [contenteditable]") !== null;
}

/** `actions`: again, version(step), fresh, settings, editLast, escape, focus. Returns what takes the keys away. */
export function attachShortcuts(root, actions) {
  const sheet = root.querySelector("[data-keys-sheet]");
  const withAlt = {
    KeyR: actions.again,
    KeyN: actions.fresh,
    KeyS: actions.settings,
    ArrowLeft: () => actions.version(-1),
    ArrowRight: () => actions.version(1),
  };

  function press(event) {
    if (document.querySelector("dialog[open]") || event.ctrlKey || event.metaKey || event.isComposing) return;
    const writing = isWriting(event.target);
    const isPrompt = event.target.matches("[data-prompt]");
    const empty = isPrompt && event.target.value === "";
    let action;
    if (event.altKey && (!writing || isPrompt)) action = withAlt[event.code];
    else if (event.key === "Escape") action = actions.escape;
    else if (event.key === "ArrowUp" && empty) action = actions.editLast;
    else if (event.key === "/" && !writing) action = actions.focus;
    else if (event.key === "?" && (!writing || empty)) action = () => sheet.showModal();
    if (!action) return;
    if (event.key !== "Escape") event.preventDefault();
    action();
  }

  document.addEventListener("keydown", press);
  return () => document.removeEventListener("keydown", press);
}
