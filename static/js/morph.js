/* The htmx swap style "morph": change an element in place, so that focus, scroll, selection and a press in progress survive.
   Elements are matched by id, else by position and tag. An element with data-morph="keep" is left alone. */

function syncAttributes(element, next) {
  for (const { name, value } of next.attributes) {
    if (element.getAttribute(name) !== value) element.setAttribute(name, value);
  }
  for (const { name } of [...element.attributes]) {
    const kept = name === "open" || (name === "tabindex" && element === document.activeElement);
    if (!next.hasAttribute(name) && !kept) element.removeAttribute(name);
  }
}

function alike(node, next) {
  if (node.nodeType !== next.nodeType || node.nodeName !== next.nodeName) return false;
  return node.nodeType !== Node.ELEMENT_NODE || node.id === next.id;
}

function findMatch(start, next, wanted) {
  for (let node = start; node; node = node.nextSibling) {
    if (!alike(node, next)) continue;
    if (next.id || !node.id || !wanted.has(node.id)) return node;
  }
  return null;
}

function syncChildren(element, next) {
  const wanted = new Set([...next.children].map((child) => child.id).filter(Boolean));
  let place = element.firstChild;
  for (const child of [...next.childNodes]) {
    const match = findMatch(place, child, wanted);
    if (!match) {
      element.insertBefore(child, place);
      continue;
    }
    if (match === place) place = place.nextSibling;
    else element.insertBefore(match, place);
    morphNode(match, child);
  }
  while (place) {
    const gone = place;
    place = place.nextSibling;
    gone.remove();
  }
}

function morphNode(node, next) {
  if (node.nodeType !== Node.ELEMENT_NODE) {
    if (node.nodeValue !== next.nodeValue) node.nodeValue = next.nodeValue;
    return;
  }
  if (node.dataset.morph === "keep") return;
  syncAttributes(node, next);
  if (node === document.activeElement && "value" in node && node.nodeName !== "BUTTON") return;
  syncChildren(node, next);
}

/** Make `element` like `next`; returns the element that stands there now. */
export function morph(element, next) {
  if (!alike(element, next)) {
    element.replaceWith(next);
    return next;
  }
  morphNode(element, next);
  return element;
}

globalThis.htmx.defineExtension("morph", {
  isInlineSwap: (style) => style === "morph",
  handleSwap: (style, target, fragment) => {
    if (style !== "morph") return false;
    const next = fragment.firstElementChild ?? fragment;
    return next.nodeType === Node.ELEMENT_NODE ? [morph(target, next)] : [];
  },
});
