/* Keys on tables of rows: / searches, arrows or j and k move, Enter opens, s presses the row's Start. */

import { attach } from "berth/attach";

const STEPS = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 };

function typing(target) {
  return target.closest("input, textarea, select, [contenteditable]") !== null;
}

attach("[data-row-keys]", (table) => {
  const rows = () => [...table.querySelectorAll("[data-row]")];

  function move(step) {
    const all = rows();
    const at = all.indexOf(document.activeElement?.closest("[data-row]"));
    const next = at < 0 && step < 0 ? all.at(-1) : all[Math.min(all.length - 1, Math.max(0, at + step))];
    next?.focus();
    next?.scrollIntoView({ block: "nearest" });
  }

  function keys(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const search = document.querySelector("[data-search]");
    if (typing(event.target)) {
      if (event.key === "Escape" || (event.key === "ArrowDown" && event.target === search)) event.target.blur();
      if (event.key === "ArrowDown" && event.target === search) move(1);
      return;
    }
    const row = event.target.closest("[data-row]");
    if (event.key === "/") search?.focus();
    else if (event.key in STEPS) move(STEPS[event.key]);
    else if (event.key === "Enter" && event.target === row) row?.querySelector("[data-row-open]")?.click();
    else if (event.key === "s" && row) row.querySelector('[data-action="start"]')?.click();
    else return;
    event.preventDefault();
  }

  document.addEventListener("keydown", keys);
  return () => document.removeEventListener("keydown", keys);
});
