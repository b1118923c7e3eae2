/* Shows a text that grows: blocks that are complete are drawn once, only the last one again. */

import { dressCode } from "berth/playground/code_blocks";
import { blocksOf, fragmentOf } from "berth/playground/markdown";
import { dressMath } from "berth/playground/math";

/* While it grows, a block of more characters is plain text: parsing it anew for each frame would hold up the page. */
const LONGEST_GROWING = 10_000;
/* Longer ones stay plain text. */
const LONGEST_BLOCK = 100_000;
const SHOWS_NOTHING = new Set(["space", "def"]);

function setText(element, text) {
  const node = element.firstChild;
  if (node?.nodeType !== Node.TEXT_NODE || element.childNodes.length > 1) element.textContent = text;
  else if (text.startsWith(node.data)) node.appendData(text.slice(node.data.length));
  else node.data = text;
}

function drawCode(block, token) {
  let code = block.querySelector(":scope > pre > code");
  if (!code) {
    code = document.createElement("code");
    const frame = document.createElement("pre");
    frame.append(code);
    block.replaceChildren(frame);
  }
  const language = (token.lang ?? "").match(/^[\w+#.-]{1,30}/)?.[0];
  if (language && !code.id) code.className = `language-${language}`;
  setText(code, token.text);
}

function draw(block, token, { whole, isDrawn }) {
  if (token.type === "code") drawCode(block, token);
  else if (token.raw.length > (whole ? LONGEST_BLOCK : LONGEST_GROWING)) {
    block.classList.add("answer-plain");
    setText(block, token.raw);
  } else if (!isDrawn || block.classList.contains("answer-plain")) {
    // What has only become whole stays as it stands, and with it what somebody selected.
    block.classList.remove("answer-plain");
    block.replaceChildren(fragmentOf(token));
  }
  if (!whole) return;
  block.querySelectorAll("pre > code").forEach(dressCode);
  for (const formula of block.querySelectorAll("span.math-block, span.math-inline")) {
    dressMath(formula, { display: formula.className === "math-block" }).catch(() => {});
  }
}

/** Draw something out of sight: what draws is compiled when it first runs, and the first words would wait for that. */
export function warmUp() {
  new GrowingText(document.createElement("div")).update("*One* `two`.", { done: false });
}

export class GrowingText {
  constructor(element) {
    this.element = element;
    this.reset();
  }

  reset() {
    this.text = "";
    /* How much of the text, and how many blocks, will not change any more. */
    this.from = 0;
    this.whole = 0;
    this.hasDefinitions = false;
    this.done = false;
    this.element.replaceChildren();
  }

  /** Show `text`, which nearly always is the one before with something more at its end. */
  update(text, { done }) {
    if (text === this.text && done === this.done) return;
    if (!text.startsWith(this.text)) this.reset();
    // Links may be explained at the end of a text.
    if (done && this.hasDefinitions) this.reset();
    this.text = text;
    this.done = done;
    const tokens = blocksOf(text.slice(this.from));
    const last = tokens.findLastIndex((token) => !SHOWS_NOTHING.has(token.type));
    let index = this.whole;
    tokens.forEach((token, place) => {
      this.hasDefinitions ||= token.type === "def";
      if (SHOWS_NOTHING.has(token.type)) return;
      this.show(index, token, done || place < last);
      index += 1;
    });
    while (this.element.children.length > index) this.element.lastElementChild.remove();
    // A list may go on after an empty line: the last block that shows something stays open.
    for (const token of tokens.slice(0, Math.max(0, last))) {
      this.from += token.raw.length;
      if (!SHOWS_NOTHING.has(token.type)) this.whole += 1;
    }
  }

  show(index, token, whole) {
    const state = whole ? "whole" : "growing";
    let block = this.element.children[index];
    if (block?.source === token.raw && block.dataset.block === state) return;
    if (!block) {
      block = this.element.appendChild(document.createElement("div"));
      block.dir = "auto";
    }
    // Links may be explained by what came after them.
    draw(block, token, { whole, isDrawn: block.source === token.raw && !this.hasDefinitions });
    block.source = token.raw;
    block.dataset.block = state;
  }
}
