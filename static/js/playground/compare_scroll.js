/* Columns that scroll: together where that is wanted, at their end while they grow, and beside each other by tabs. */

import { words } from "berth/playground/words";

const NEAR_PX = 60;

function place(element) {
  const room = element.scrollHeight - element.clientHeight;
  return room > 0 ? element.scrollTop / room : 1;
}

export function attachScrolling(root, columns) {
  const shelf = root.querySelector("[data-columns]");
  const tabs = root.querySelector("[data-tabs]");
  const together = root.querySelector("[data-sync]");
  /* The column under somebody's hand: others go along with it and never lead. */
  let leader = null;

  function lead(event) {
    leader = event.target.closest?.("[data-body]") ?? leader;
  }

  function scrolled(event) {
    if (event.target === shelf) return mark();
    if (event.target !== leader || !together.checked) return undefined;
    const at = place(leader);
    for (const body of shelf.querySelectorAll("[data-body]")) {
      if (body !== leader) body.scrollTop = at * (body.scrollHeight - body.clientHeight);
    }
    return undefined;
  }

  function mark() {
    const at = Math.round(shelf.scrollLeft / Math.max(1, shelf.clientWidth));
    [...tabs.children].forEach((tab, index) => (index === at ? tab.setAttribute("aria-current", "true") : tab.removeAttribute("aria-current")));
  }

  /** Tabs for the columns that there are. */
  function draw() {
    tabs.replaceChildren(
      ...columns.all.map((column, index) => {
        const tab = document.createElement("button");
        Object.assign(tab, { type: "button", className: "compare-tab", textContent: words("column_of", { n: index + 1, config: column.choice.value }) });
        tab.addEventListener("click", () => shelf.scrollTo({ left: column.element.offsetLeft - shelf.offsetLeft, behavior: "smooth" }));
        return tab;
      }),
    );
    mark();
  }

  const heights = new Map();
  const sizes = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const body = target.parentElement;
      if (!body) continue;
      const before = heights.get(body) ?? 0;
      if (before - body.scrollTop - body.clientHeight < NEAR_PX && target.getAttribute("aria-busy") === "true") body.scrollTop = body.scrollHeight;
      heights.set(body, body.scrollHeight);
    }
  });

  for (const kind of ["pointerover", "touchstart", "focusin"]) shelf.addEventListener(kind, lead, { passive: true });
  shelf.addEventListener("scroll", scrolled, { capture: true, passive: true });
  return {
    draw,
    /** Answers were drawn anew: follow them. */
    watch() {
      sizes.disconnect();
      heights.clear();
      for (const { view } of columns.all) if (view) sizes.observe(view.element);
    },
    stop: () => sizes.disconnect(),
  };
}
