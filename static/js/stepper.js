/* The steps of a delivery: where they are wider than the screen, the one that is looked at is brought into view. */

import { attach } from "berth/attach";

attach("[data-stepper]", (stepper) => {
  const row = stepper.querySelector("ol");
  const here = stepper.querySelector(".is-here");
  // Not scrollIntoView, which would also move the page.
  if (row && here) row.scrollLeft = here.offsetLeft - (row.clientWidth - here.offsetWidth) / 2;
});
