/* Code in answers: a bar with the language and a copy button (berth/copy), and colours for languages that are known. */

import { later } from "berth/later";
import DOMPurify from "dompurify";

const COLOURS = { ALLOWED_TAGS: ["span"], ALLOWED_ATTR: ["class"], ALLOW_DATA_ATTR: false, RETURN_DOM_FRAGMENT: true };
/* Colouring very long code would hold up the page. */
const LONGEST = 50_000;

let blocks = 0;

async function colour(code, language) {
  const { default: highlighter } = await later(() => import("highlight.js"));
  if (!highlighter.getLanguage(language)) return;
  const { value } = highlighter.highlight(code.textContent, { language, ignoreIllegals: true });
  code.replaceChildren(DOMPurify.sanitize(value, COLOURS));
}

/** Give one `pre > code` its bar and colours. Safe to repeat. */
export function dressCode(code) {
  if (code.id) return;
  const language = /(?:^|\s)language-([\w+#.-]+)/.exec(code.className)?.[1] ?? "";
  code.removeAttribute("class");
  code.id = `code-${(blocks += 1)}`;
  const bar = document.querySelector("template[data-code-bar]").content.firstElementChild.cloneNode(true);
  bar.querySelector("[data-language]").textContent = language;
  bar.querySelector("button").dataset.copy = code.id;
  code.parentElement.tabIndex = 0;
  code.parentElement.before(bar);
  if (language && code.textContent.length <= LONGEST) colour(code, language).catch(() => {});
}
