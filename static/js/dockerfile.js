/* The Dockerfile's editor: colours beneath the textarea, a gutter with line numbers, and the review's findings in it. */

import { attach } from "berth/attach";
import { later } from "berth/later";
import DOMPurify from "dompurify";

const COLOURS = { ALLOWED_TAGS: ["span"], ALLOWED_ATTR: ["class"], ALLOW_DATA_ATTR: false, RETURN_DOM_FRAGMENT: true };
/* Colouring very long text at each key would hold up typing. */
const LONGEST = 50_000;
const LEVELS = ["error", "warning", "info", "style"];

async function loadHighlighter() {
  const [{ default: highlighter }, { default: dockerfile }] = await later(() =>
    Promise.all([import("highlight.js"), import("highlight.js/dockerfile")]),
  );
  highlighter.registerLanguage("dockerfile", dockerfile);
  return highlighter;
}

/** The gravest finding of each line of the review, as line -> {level, words}. */
function findings() {
  const found = new Map();
  for (const item of document.querySelectorAll("[data-findings] [data-line]")) {
    const line = Number(item.dataset.line);
    const { level, words } = found.get(line) ?? { level: "style", words: [] };
    const graver = LEVELS.indexOf(item.dataset.level) < LEVELS.indexOf(level) ? item.dataset.level : level;
    found.set(line, { level: graver, words: [...words, item.textContent.trim().replace(/\s+/g, " ")] });
  }
  return found;
}

attach("[data-dockerfile-editor]", (editor) => {
  const text = editor.querySelector("textarea");
  const gutter = editor.querySelector("[data-gutter]");
  const colours = editor.querySelector("[data-colours]");
  let highlighter = null;

  function colour() {
    // A last line without text would have no height beneath.
    const value = `${text.value}\n`;
    if (highlighter === null || value.length > LONGEST) colours.textContent = value;
    else {
      const coloured = highlighter.highlight(value, { language: "dockerfile", ignoreIllegals: true });
      colours.replaceChildren(DOMPurify.sanitize(coloured.value, COLOURS));
    }
  }

  function number() {
    const found = findings();
    const count = text.value.split("\n").length;
    gutter.replaceChildren(
      ...Array.from({ length: count }, (_, index) => {
        const line = document.createElement("span");
        line.textContent = String(index + 1);
        const finding = found.get(index + 1);
        if (finding) {
          line.dataset.level = finding.level;
          line.title = finding.words.join("\n");
        }
        return line;
      }),
    );
    text.style.height = `calc(${Math.max(count + 1, 16)} * 1lh + 1.5rem)`;
  }

  function follow() {
    colours.parentElement.scrollLeft = text.scrollLeft;
  }

  function draw() {
    colour();
    number();
  }

  function goTo(event) {
    const link = event.target.closest("[data-go-to-line]");
    if (!link) return;
    event.preventDefault();
    const before = text.value.split("\n").slice(0, Number(link.dataset.goToLine) - 1);
    const start = before.join("\n").length + (before.length ? 1 : 0);
    const end = text.value.indexOf("\n", start);
    text.focus();
    text.setSelectionRange(start, end === -1 ? text.value.length : end);
    gutter.children[before.length]?.scrollIntoView({ block: "center" });
  }

  editor.classList.add("is-live");
  draw();
  loadHighlighter().then(
    (loaded) => {
      highlighter = loaded;
      colour();
    },
    () => {},
  );
  text.addEventListener("input", draw);
  text.addEventListener("scroll", follow);
  document.addEventListener("click", goTo);
  document.addEventListener("htmx:afterSwap", number);
  return () => {
    document.removeEventListener("click", goTo);
    document.removeEventListener("htmx:afterSwap", number);
  };
});
