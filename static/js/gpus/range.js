/* The range of all charts: chosen once, kept in the address. */

import { attach } from "berth/attach";

const listeners = new Set();
let chosen = "15m";

export const range = () => chosen;

/** Be told when another range is chosen; gives back what ends it. */
export function onRange(call) {
  listeners.add(call);
  return () => listeners.delete(call);
}

function choose(group, name) {
  chosen = name;
  for (const button of group.querySelectorAll("[data-range]")) button.setAttribute("aria-pressed", String(button.dataset.range === name));
}

attach("[data-gpu-ranges]", (group) => {
  const press = ({ target }) => {
    const button = target.closest("[data-range]");
    if (!button || button.dataset.range === chosen) return;
    choose(group, button.dataset.range);
    const address = new URL(location.href);
    address.searchParams.set("range", chosen);
    history.replaceState(history.state, "", address);
    for (const call of [...listeners]) call();
  };
  choose(group, group.querySelector("[aria-pressed=true]")?.dataset.range ?? chosen);
  group.addEventListener("click", press);
  return () => group.removeEventListener("click", press);
});
