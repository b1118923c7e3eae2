/* Markdown from models, as sanitised elements: no styles, forms or ids, no picture from elsewhere, raw HTML as text. */

import DOMPurify from "dompurify";
import { Marked } from "marked";

import { dressCode } from "berth/playground/code_blocks";

const TAGS = "a b blockquote br code del em h1 h2 h3 h4 h5 h6 hr i img li ol p pre s strong sub sup table tbody td th thead tr ul";
const SAFE = {
  ALLOWED_TAGS: TAGS.split(" "),
  ALLOWED_ATTR: ["href", "title", "src", "alt", "start", "align", "class"],
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:|data:image\/(?:png|jpeg|gif|webp);base64,)/i,
  RETURN_DOM_FRAGMENT: true,
};
const ESCAPES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

const markdown = new Marked({
  gfm: true,
  breaks: true,
  renderer: {
    html: ({ text }) => text.replace(/[&<>"]/g, (character) => ESCAPES[character]),
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
  },
});

function tameLink(link) {
  if (!/^(?:https?:|mailto:)/i.test(link.getAttribute("href") ?? "")) link.removeAttribute("href");
  link.rel = "noopener noreferrer nofollow";
  link.target = "_blank";
}

function tamePicture(picture) {
  if (picture.getAttribute("src")?.startsWith("data:")) return;
  picture.replaceWith(document.createTextNode(`[${picture.alt}]`));
}

function fragmentOf(token) {
  const fragment = DOMPurify.sanitize(markdown.parser([token]), SAFE);
  fragment.querySelectorAll("a").forEach(tameLink);
  fragment.querySelectorAll("img").forEach(tamePicture);
  fragment.querySelectorAll("[class]:not(pre > code)").forEach((element) => element.removeAttribute("class"));
  return fragment;
}

/** Show `text` in `element`. Called for each growth of a stream, it renders only the blocks that changed;
    code is coloured once its block is complete (`done`, or another block follows). */
export function renderMarkdown(element, text, { done }) {
  const tokens = markdown.lexer(text).filter((token) => token.type !== "space" && token.type !== "def");
  tokens.forEach((token, index) => {
    const state = done || index < tokens.length - 1 ? "whole" : "growing";
    let block = element.children[index];
    if (block?.source === token.raw && block.dataset.block === state) return;
    block ??= element.appendChild(document.createElement("div"));
    if (block.source !== token.raw) block.replaceChildren(fragmentOf(token));
    block.source = token.raw;
    block.dataset.block = state;
    if (state === "whole") block.querySelectorAll("pre > code").forEach(dressCode);
  });
  while (element.children.length > tokens.length) element.lastElementChild.remove();
}
