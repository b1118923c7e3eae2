/* Formulas between dollar signs or TeX's brackets. KaTeX makes MathML of them: no styles, no fonts, read aloud as they are. */

import { later } from "berth/later";
import DOMPurify from "dompurify";

const TAGS =
  "math mrow mi mo mn ms mtext mspace mfrac msqrt mroot msub msup msubsup munder mover munderover mmultiscripts mtable mtr mtd mpadded mphantom menclose mstyle semantics";
const SAFE = {
  ALLOWED_TAGS: TAGS.split(" "),
  ALLOWED_ATTR: "display mathvariant stretchy fence separator lspace rspace accent accentunder columnalign rowspacing columnspacing width height depth linethickness displaystyle scriptlevel notation minsize maxsize".split(" "),
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  FORBID_CONTENTS: ["annotation"],
  RETURN_DOM_FRAGMENT: true,
};
const LONGEST = 5_000;
const OPTIONS = { output: "mathml", throwOnError: true, trust: false, strict: "ignore", maxSize: 20, maxExpand: 200 };
const ESCAPES = { "&": "&amp;", "<": "&lt;", ">": "&gt;" };

const escaped = (text) => text.replace(/[&<>]/g, (character) => ESCAPES[character]);

const block = {
  name: "mathBlock",
  level: "block",
  start: (source) => source.match(/^(?:\$\$|\\\[)/m)?.index,
  tokenizer(source) {
    const found = /^(?:\$\$([^$]{1,5000}?)\$\$|\\\[([\s\S]{1,5000}?)\\\])[ \t]*(?:\n|$)/.exec(source);
    return found ? { type: "mathBlock", raw: found[0], text: (found[1] ?? found[2]).trim() } : undefined;
  },
  renderer: ({ text }) => `<code class="math-block">${escaped(text)}</code>`,
};

const inline = {
  name: "mathInline",
  level: "inline",
  start: (source) => source.match(/\$|\\\(/)?.index,
  tokenizer(source) {
    // Prices are no formulas: no space beside the signs, no digit after the last.
    const found = /^(?:\$\$([^$\n]{1,1000}?)\$\$|\$(?!\s)([^$\n]{1,1000}?)(?<![\s\\])\$(?!\d)|\\\(([^\n]{1,1000}?)\\\))/.exec(source);
    return found ? { type: "mathInline", raw: found[0], text: found[1] ?? found[2] ?? found[3] } : undefined;
  },
  renderer: ({ text }) => `<code class="math-inline">${escaped(text)}</code>`,
};

/** For Marked. */
export const mathExtensions = [block, inline];

/** Show the formula that stands in `element` as TeX; what KaTeX does not understand stays as it is. */
export async function dressMath(element, { display }) {
  const source = element.textContent;
  if (source.length > LONGEST) return;
  // Its small build is no module: it leaves its name on the global object.
  await later(() => import("katex"));
  try {
    const html = globalThis.katex.renderToString(source, { ...OPTIONS, displayMode: display });
    const fragment = DOMPurify.sanitize(html, SAFE);
    if (fragment.querySelector("math")) element.replaceChildren(fragment);
  } catch {
    element.title = source;
  }
}
