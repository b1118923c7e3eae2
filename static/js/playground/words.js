/* The page's words, as the server wrote them in the reader's language. */

const known = JSON.parse(document.getElementById("playground-strings").textContent);

/** The words called `name`, each {place} filled from `values`. */
export function words(name, values = {}) {
  return known[name].replace(/\{(\w+)\}/g, (place, key) => String(values[key] ?? place));
}
