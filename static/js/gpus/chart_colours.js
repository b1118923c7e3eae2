/* The colours that the style sheet gives to classes, asked for once for each theme: to ask makes the browser lay out the page. */

import { onTheme } from "berth/gpus/theme";

const known = new Map();

// Before those who draw anew hear of it: whoever begins to listen first is called first.
onTheme(() => known.clear());

/** The colour of `className` on this page; `chart` is any chart of it. */
export function colourOf(chart, className) {
  let colour = known.get(className);
  if (colour === undefined) {
    const probe = document.createElement("span");
    probe.className = `probe ${className}`;
    chart.append(probe);
    colour = getComputedStyle(probe).color;
    probe.remove();
    known.set(className, colour);
  }
  return colour;
}
