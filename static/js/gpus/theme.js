/* Canvases do not follow the style sheet by themselves: who draws asks to be told of another theme. */

/** Call when the theme changes; gives back what ends it. */
export function onTheme(call) {
  const media = matchMedia("(prefers-color-scheme: dark)");
  const observer = new MutationObserver(call);
  observer.observe(document.documentElement, { attributeFilter: ["data-bs-theme"] });
  media.addEventListener("change", call);
  return () => {
    observer.disconnect();
    media.removeEventListener("change", call);
  };
}
