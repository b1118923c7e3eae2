/* Ctrl-K: go to any page, config, deployment or conversation. The list is read when it is opened, and filtered here. */

import { attach } from "berth/attach";

const SHOWN = 40;

/** How well `title` fits to the words that were typed; 0: not at all. The beginning of a word counts more. */
function fit(title, hint, typed) {
  let score = 1;
  for (const word of typed) {
    const place = title.indexOf(word);
    if (place < 0 && !hint.includes(word)) return 0;
    if (place === 0) score += 4;
    else if (place > 0) score += /[\s/._-]/.test(title[place - 1]) ? 3 : 1;
  }
  return score;
}

attach("[data-palette]", (dialog) => {
  const field = dialog.querySelector("input");
  const list = dialog.querySelector("ul");
  const none = dialog.querySelector("[data-palette-none]");
  const template = dialog.querySelector("template");
  let destinations = [];
  let shown = [];
  let at = 0;

  function mark(next) {
    at = shown.length > 0 ? (next + shown.length) % shown.length : 0;
    [...list.children].forEach((item, index) => item.setAttribute("aria-selected", String(index === at)));
    const marked = list.children[at];
    field.setAttribute("aria-activedescendant", marked?.id ?? "");
    marked?.scrollIntoView({ block: "nearest" });
  }

  function item(destination, index) {
    const element = template.content.firstElementChild.cloneNode(true);
    element.id = `palette-${index}`;
    element.querySelector("use").setAttribute("href", `${document.body.dataset.icons}#${destination.icon}`);
    element.querySelector(".palette-title").textContent = destination.title;
    element.querySelector(".palette-hint").textContent = destination.hint;
    return element;
  }

  function draw() {
    const typed = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    shown = destinations
      .map((each) => ({ ...each, score: fit(each.title.toLowerCase(), each.hint.toLowerCase(), typed) }))
      .filter((each) => each.score > 0)
      .sort((one, other) => other.score - one.score)
      .slice(0, SHOWN);
    list.replaceChildren(...shown.map(item));
    none.textContent = shown.length > 0 || destinations.length === 0 ? "" : none.dataset.none;
    mark(0);
  }

  async function open() {
    field.value = "";
    dialog.showModal();
    draw();
    try {
      const response = await fetch(dialog.dataset.url, { credentials: "same-origin", headers: { Accept: "application/json" } });
      destinations = await response.json();
      draw();
    } catch {
      none.textContent = none.dataset.lost;
    }
  }

  function go(index) {
    if (shown[index]) location.assign(shown[index].url);
  }

  function press(event) {
    if ((event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey && event.key.toLowerCase() === "k") {
      event.preventDefault();
      if (dialog.open) dialog.close();
      else if (!document.querySelector("dialog[open]")) open();
    }
  }

  document.addEventListener("keydown", press);
  const opener = document.querySelector("[data-palette-open]");
  opener?.addEventListener("click", open);
  field.addEventListener("input", draw);
  field.addEventListener("keydown", (event) => {
    const moves = { ArrowDown: () => mark(at + 1), ArrowUp: () => mark(at - 1), Enter: () => go(at) };
    if (!moves[event.key] || event.isComposing) return;
    event.preventDefault();
    moves[event.key]();
  });
  list.addEventListener("click", (event) => go([...list.children].indexOf(event.target.closest("li"))));
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  return () => document.removeEventListener("keydown", press);
});
