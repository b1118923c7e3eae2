/* A growing log stays at its end, unless somebody has scrolled up in it. */

import { attach } from "berth/attach";

/* So near to the end counts as the end. */
const NEAR_PX = 24;

attach("[data-follow]", (log) => {
  let atEnd = true;
  const note = () => {
    atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_PX;
  };
  const keep = () => {
    if (atEnd) log.scrollTop = log.scrollHeight;
  };
  const observer = new MutationObserver(keep);
  observer.observe(log, { childList: true, characterData: true, subtree: true });
  log.addEventListener("scroll", note);
  keep();
  return () => observer.disconnect();
});
