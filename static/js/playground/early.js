/* A press that comes before the scripts of its form have run is kept, and done once the form says that it is ready.

   No module: modules are what is waited for. A page that is loaded again (js/complete.js) keeps the press, as the browser
   keeps what was typed. */

{
  const KEY = "berth_pressed";
  let isAgain = sessionStorage.getItem(KEY) === location.href && performance.getEntriesByType("navigation")[0]?.type === "reload";
  sessionStorage.removeItem(KEY);

  const waiting = (element) => {
    const form = element?.closest("form[data-early]");
    return form && !("ready" in form.dataset) ? form : null;
  };
  const sends = (form, { key, isComposing, shiftKey, ctrlKey, metaKey }) => {
    if (key !== "Enter" || isComposing) return false;
    const alone = form.dataset.early === "enter" && !form.querySelector("[data-set]")?.checked;
    return alone ? !shiftKey : ctrlKey || metaKey;
  };

  addEventListener(
    "keydown",
    (event) => {
      const form = waiting(event.target.closest("textarea"));
      if (!form || !sends(form, event)) return;
      event.preventDefault();
      form.dataset.pressed = "";
    },
    { capture: true },
  );
  addEventListener(
    "click",
    ({ target }) => {
      const form = waiting(target.closest("[data-send]"));
      if (form) form.dataset.pressed = "";
    },
    { capture: true },
  );
  addEventListener("pagehide", () => document.querySelector("form[data-pressed]") && sessionStorage.setItem(KEY, location.href));

  addEventListener("berth:ready", ({ target: form }) => {
    form.dataset.ready = "";
    if (!("pressed" in form.dataset) && !isAgain) return;
    isAgain = false;
    delete form.dataset.pressed;
    form.requestSubmit();
  });
}
