/* Rows stand in blocks: with thousands of siblings, rules like ":last-child" would have all of them styled anew at each line. */

export const BLOCK_ROWS = 100;

/** Items as blocks of rows. */
export function blocks(painter, items) {
  const made = [];
  for (let at = 0; at < items.length; at += BLOCK_ROWS) {
    const block = document.createElement("div");
    block.append(...items.slice(at, at + BLOCK_ROWS).map((item) => painter.row(item)));
    made.push(block);
  }
  return made;
}

/** The first of `elements` that reaches below `top`, by halving: they lie one below the other. What a filter hides has no
    place. */
export function firstBelow(elements, top) {
  let [low, high] = [0, elements.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    let at = middle;
    while (at < high && elements[at].offsetParent === null) at += 1;
    if (elements[at].offsetTop + elements[at].offsetHeight > top) high = middle;
    else low = at + 1;
  }
  return elements[low];
}
