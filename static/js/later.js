/* Modules that are loaded when they are needed for the first time. */

/* A browser that sees its network change breaks off what it is loading, and does not ask again of its own. */
const WAITS_MS = [200, 1000, 5000];

/** What `load()` gives, which imports something; tried again where it was broken off. */
export async function later(load) {
  for (const wait of WAITS_MS) {
    try {
      return await load();
    } catch {
      await new Promise((go) => setTimeout(go, wait));
    }
  }
  return load();
}
