/* A page of which a script or a style did not arrive is loaded again: nothing on it would work, and it would not say so.

   A browser that sees its network change breaks off what it is loading; it does so at each container that starts on its own
   machine. No module, because modules are what may be missing. */

{
  const KEY = "berth_incomplete";
  const MOST_TIMES = 3;
  const WAIT_MS = 1000;
  let timer;

  const times = () => Number(sessionStorage.getItem(KEY) ?? 0);

  addEventListener(
    "error",
    ({ target }) => {
      if (!(target instanceof HTMLScriptElement || target instanceof HTMLLinkElement) || times() >= MOST_TIMES) return;
      timer ??= setTimeout(() => {
        sessionStorage.setItem(KEY, String(times() + 1));
        location.reload();
      }, WAIT_MS);
    },
    { capture: true },
  );
  addEventListener("load", () => timer ?? sessionStorage.removeItem(KEY));
}
