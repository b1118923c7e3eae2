/* Which charts ask first when all are to show another range: those in view at once, the others one after another once these have drawn. */

const waiting = new Map();
let busy = 0;

function isInView(element) {
  const { top, bottom } = element.getBoundingClientRect();
  return bottom > 0 && top < innerHeight;
}

async function run(ask) {
  busy += 1;
  try {
    await ask();
  } finally {
    busy -= 1;
    // After the frame that shows what was drawn.
    if (busy === 0) requestAnimationFrame(() => setTimeout(goOn));
  }
}

function goOn() {
  if (busy > 0) return;
  const [next] = waiting;
  if (!next) return;
  const [element, ask] = next;
  waiting.delete(element);
  run(ask);
}

/** Call `ask`, which gives a promise, when it is this element's turn; what it waited for before is forgotten. */
export function inTurn(element, ask) {
  waiting.delete(element);
  if (isInView(element)) run(ask);
  else {
    waiting.set(element, ask);
    requestAnimationFrame(() => setTimeout(goOn));
  }
}

/** It has gone. */
export const forgoTurn = (element) => waiting.delete(element);
