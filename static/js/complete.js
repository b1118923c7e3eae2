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

  /** [place, name, what is in it] of each field that somebody changed. */
  function typed() {
    const state = ({ type, checked, value }) => (type === "checkbox" || type === "radio" ? checked : value);
    const before = ({ type, options, defaultChecked, defaultValue }) => {
      if (options) return ([...options].find((option) => option.defaultSelected) ?? options[0])?.value;
      return type === "checkbox" || type === "radio" ? defaultChecked : defaultValue;
    };
    return [...document.querySelectorAll(FIELDS)]
      .map((field, place) => [place, field.name || field.id, state(field), before(field)])
      .filter(([, , now, then]) => then !== undefined && now !== then);
  }

  function putBack() {
    const fields = document.querySelectorAll(FIELDS);
    for (const [place, name, state] of JSON.parse(sessionStorage.getItem(TYPED) ?? "[]")) {
      const field = fields[place];
      if (!field || (field.name || field.id) !== name) continue;
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
        sessionStorage.setItem(TYPED, JSON.stringify(typed()));
        location.reload();
      }, WAIT_MS);
    },
    { capture: true },
  );
  // Before modules run, which take up what is in the fields.
  document.addEventListener("readystatechange", () => document.readyState === "interactive" && putBack());
  addEventListener("load", () => timer ?? sessionStorage.removeItem(KEY));
}
