/* How large the places of charts are. Read together before anything is drawn and again when they change, for to read in between
   makes the browser lay out the whole page each time. */

const SIDE_BY_SIDE_REM = 56;
const LEAST_WIDTH = 200;
const known = new WeakMap();

function measure(place) {
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  const size = { width: Math.max(LEAST_WIDTH, place.clientWidth), isBelow: place.closest(".charts").clientWidth <= SIDE_BY_SIDE_REM * rem };
  known.set(place, size);
  return size;
}

/** `width` in CSS pixels, and whether the charts of this GPU stand below each other. */
export const sizeOf = (place) => known.get(place) ?? measure(place);

/** Call with the new size whenever it is another; gives back what ends it. */
export function onSize(place, call) {
  const observer = new ResizeObserver(() => call(measure(place)));
  observer.observe(place);
  return () => observer.disconnect();
}
