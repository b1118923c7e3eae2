/* The GPU pages' words, as the server wrote them in the reader's language. */

const WINDOW_S = 60;
const NOT_TOLD = "idle";
const known = JSON.parse(document.getElementById("gpu-strings").textContent);

function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (place, key) => String(values[key] ?? place));
}

/** The words called `name`, each {place} filled from `values`. */
export function words(name, values = {}) {
  return fill(known[name], values);
}

/** The word of a kind of marker. */
export function markWord(kind) {
  return known.marks[kind] ?? kind;
}

/** "power-capped 18 s of the last minute"; empty when nothing slowed it. The server's limiter_words does the same. */
export function limiterWords(limited) {
  let name = "";
  for (const each of Object.keys(known.limited)) if (each !== NOT_TOLD && (limited?.[each] ?? 0) > (limited?.[name] ?? 0)) name = each;
  if (!name) return "";
  return limited[name] >= WINDOW_S ? known.limited_whole[name] : fill(known.limited[name], { n: limited[name] });
}
