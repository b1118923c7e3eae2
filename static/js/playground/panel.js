/* The two sides of the playground, conversations and settings: each folds away, and is a drawer on narrow screens. */

const SIDES = {
  panel: { key: "berth.playground.panel", narrow: matchMedia("(max-width: 60rem)") },
  list: { key: "berth.playground.list", narrow: matchMedia("(max-width: 75rem)") },
};

function attachSide(root, name) {
  const { key, narrow } = SIDES[name];
  const side = root.querySelector(`[data-${name}]`);
  const state = `${name}Open`;
  // The head is drawn anew when a conversation begins.
  const toggle = () => root.querySelector(`[data-${name}-toggle]`);

  function show(open) {
    root.dataset[state] = String(open);
    toggle().setAttribute("aria-expanded", String(open));
    if (!narrow.matches) localStorage.setItem(key, open ? "open" : "folded");
  }

  function fit() {
    show(narrow.matches ? false : localStorage.getItem(key) !== "folded");
  }

  function close() {
    if (!narrow.matches || root.dataset[state] !== "true") return false;
    show(false);
    toggle().focus();
    return true;
  }

  root.addEventListener("click", (event) => {
    if (!event.target.closest(`[data-${name}-toggle]`)) return;
    const open = root.dataset[state] !== "true";
    show(open);
    if (open && narrow.matches) side.querySelector("button, a, input")?.focus();
  });
  narrow.addEventListener("change", fit);
  fit();
  return { open: () => show(true), toggle: () => toggle().click(), close, fold: () => show(false), fit, stop: () => narrow.removeEventListener("change", fit) };
}

/** Attach both to the playground's root. */
export function attachSides(root) {
  const sides = { panel: attachSide(root, "panel"), list: attachSide(root, "list") };
  const close = () => Object.values(sides).map((side) => side.close()).some(Boolean);
  root.addEventListener("click", (event) => {
    if (event.target.closest("[data-panel-close]") && !close()) {
      sides.panel.fold();
      root.querySelector("[data-panel-toggle]").focus();
    }
  });
  return { ...sides, close, refit: () => Object.values(sides).forEach((side) => side.fit()), stop: () => Object.values(sides).forEach((side) => side.stop()) };
}
