/* A page of which a script or a style did not arrive is loaded again: nothing on it would work, and it would not say so.
   What was typed meanwhile stays.

   A browser that sees its network change breaks off what it is loading; it does so at each container that starts on its own
   machine. No module, because modules are what may be missing. */

{
  const KEY = "berth_incomplete";
  const TYPED = "berth_typed";
  const MOST_TIMES = 3;
  const WAIT_MS = 1000;
  /* Secrets are typed again. */
  const FIELDS = "input:not([type=password], [type=hidden], [type=file]), textarea, select";
  let timer;

  const times = () => Number(sessionStorage.getItem(KEY) ?? 0);

  /** Fields by their name, since a script may have added others between them. */
  function named() {
    const found = Object.create(null);
    for (const field of document.querySelectorAll(FIELDS)) (found[field.name || field.id] ??= []).push(field);
    return found;
  }

  /** [name, which of that name, what is in it] of each field that somebody changed. */
  function typed() {
    const state = ({ type, checked, value }) => (type === "checkbox" || type === "radio" ? checked : value);
    const before = ({ type, options, defaultChecked, defaultValue }) => {
      if (options) return ([...options].find((option) => option.defaultSelected) ?? options[0])?.value;
      return type === "checkbox" || type === "radio" ? defaultChecked : defaultValue;
    };
    return Object.entries(named())
      .flatMap(([name, fields]) => fields.map((field, place) => [name, place, state(field), before(field)]))
      .filter(([, , now, then]) => then !== undefined && now !== then);
  }

  function putBack() {
    const fields = named();
    for (const [name, place, state] of JSON.parse(sessionStorage.getItem(TYPED) ?? "[]")) {
      const field = fields[name]?.[place];
      if (!field) continue;
      if (typeof state === "boolean") field.checked = state;
      else field.value = state;
    }
    sessionStorage.removeItem(TYPED);
  }

  addEventListener(
    "error",
    ({ target }) => {
      if (!(target instanceof HTMLScriptElement || target instanceof HTMLLinkElement) || times() >= MOST_TIMES) return;
      document.documentElement.dataset.incomplete = "";
      timer ??= setTimeout(() => {
        sessionStorage.setItem(KEY, String(times() + 1));
        // At its very end: until the page has come again somebody types on.
        addEventListener("pagehide", () => sessionStorage.setItem(TYPED, JSON.stringify(typed())));
        location.reload();
      }, WAIT_MS);
    },
    { capture: true },
  );
  // Before modules run, which take up what is in the fields.
  document.addEventListener("readystatechange", () => document.readyState === "interactive" && putBack());
  addEventListener("load", () => timer ?? sessionStorage.removeItem(KEY));
}
