/* Behaviours for elements: set up when an element appears, torn down when it goes, however it came or went. */

const behaviours = [];
const teardowns = new Map();

function setUp(root) {
  for (const { selector, start } of behaviours) {
    const found = root.matches?.(selector) ? [root, ...root.querySelectorAll(selector)] : root.querySelectorAll(selector);
    for (const element of found) begin(element, start);
  }
}

function begin(element, start) {
  const begun = teardowns.get(element) ?? new Map();
  if (begun.has(start)) return;
  begun.set(start, start(element) ?? (() => {}));
  teardowns.set(element, begun);
}

function tearDown() {
  for (const [element, begun] of teardowns) {
    if (element.isConnected) continue;
    teardowns.delete(element);
    for (const stop of begun.values()) stop();
  }
}

new MutationObserver((records) => {
  let removed = false;
  for (const record of records) {
    removed ||= record.removedNodes.length > 0;
    for (const node of record.addedNodes) if (node.nodeType === Node.ELEMENT_NODE && node.isConnected) setUp(node);
  }
  if (removed) tearDown();
}).observe(document.documentElement, { childList: true, subtree: true });

/** Run `start(element)` for every element that matches, now and later; what it returns is called when the element goes. */
export function attach(selector, start) {
  behaviours.push({ selector, start });
  for (const element of document.querySelectorAll(selector)) begin(element, start);
}
