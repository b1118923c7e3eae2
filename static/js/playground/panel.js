/* The settings: a panel that folds away, and on narrow screens a drawer. */

const KEY = "berth.playground.panel";
const narrow = matchMedia("(max-width: 60rem)");

/** Attach to the playground's root; returns a function that opens the panel. */
export function attachPanel(root) {
  const panel = root.querySelector("[data-panel]");
  const toggle = root.querySelector("[data-panel-toggle]");

  function show(open) {
    root.dataset.panelOpen = String(open);
    toggle.setAttribute("aria-expanded", String(open));
    if (!narrow.matches) localStorage.setItem(KEY, open ? "open" : "folded");
  }

  function close() {
    show(false);
    toggle.focus();
  }

  function fit() {
    show(narrow.matches ? false : localStorage.getItem(KEY) !== "folded");
  }

  toggle.addEventListener("click", () => {
    const open = root.dataset.panelOpen !== "true";
    show(open);
    if (open && narrow.matches) panel.querySelector("[data-panel-close]").focus();
  });
  for (const closer of root.querySelectorAll("[data-panel-close]")) closer.addEventListener("click", close);
  root.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && narrow.matches && root.dataset.panelOpen === "true") close();
  });
  narrow.addEventListener("change", fit);
  fit();
  return () => show(true);
}
