/* Markdown from models, as sanitised elements: no styles, forms or ids, no picture from elsewhere, raw HTML as text. */

import DOMPurify from "dompurify";
import { Marked } from "marked";

import { mathExtensions } from "berth/playground/math";

const TAGS = "a b blockquote br code del em h1 h2 h3 h4 h5 h6 hr i img li ol p pre s strong sub sup table tbody td th thead tr ul";
const SAFE = {
  ALLOWED_TAGS: TAGS.split(" "),
  ALLOWED_ATTR: ["href", "title", "src", "alt", "start", "align", "class"],
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:|data:image\/(?:png|jpeg|gif|webp);base64,)/i,
  // These are no addresses: without this line they were measured by the expression above, and dropped.
  ADD_URI_SAFE_ATTR: ["align", "start"],
  RETURN_DOM_FRAGMENT: true,
};
const ESCAPES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
/* Headings of an answer stand below the page's own. */
const HEADINGS = { H1: "h3", H2: "h3", H3: "h4", H4: "h5", H5: "h6", H6: "h6" };

const markdown = new Marked({
  gfm: true,
  breaks: true,
  renderer: {
    html: ({ text }) => text.replace(/[&<>"]/g, (character) => ESCAPES[character]),
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
  },
});
markdown.use({ extensions: mathExtensions });

function tameLink(link) {
  if (!/^(?:https?:|mailto:)/i.test(link.getAttribute("href") ?? "")) link.removeAttribute("href");
  link.rel = "noopener noreferrer nofollow";
  link.target = "_blank";
}

function tamePicture(picture) {
  if (picture.getAttribute("src")?.startsWith("data:")) return;
  picture.replaceWith(document.createTextNode(`[${picture.alt}]`));
}

function lower(heading) {
  const next = document.createElement(HEADINGS[heading.tagName]);
  next.append(...heading.childNodes);
  heading.replaceWith(next);
}

function frameMath(code) {
  const span = document.createElement("span");
  span.className = code.className;
  span.textContent = code.textContent;
  code.replaceWith(span);
}

function frameTable(table) {
  const frame = document.createElement("div");
  frame.className = "answer-table";
  frame.tabIndex = 0;
  table.replaceWith(frame);
  frame.append(table);
}

/** The blocks of `text` as Marked's tokens, what shows nothing among them. */
export function blocksOf(text) {
  return markdown.lexer(text);
}

/** One block as a fragment that may be shown. */
export function fragmentOf(token) {
  const fragment = DOMPurify.sanitize(markdown.parser([token]), SAFE);
  fragment.querySelectorAll("a").forEach(tameLink);
  fragment.querySelectorAll("img").forEach(tamePicture);
  fragment.querySelectorAll("h1, h2, h3, h4, h5, h6").forEach(lower);
  fragment.querySelectorAll("code.math-block, code.math-inline").forEach(frameMath);
  fragment.querySelectorAll("table").forEach(frameTable);
  fragment.querySelectorAll("[class]:not(pre > code, span, .answer-table)").forEach((element) => element.removeAttribute("class"));
  return fragment;
}
