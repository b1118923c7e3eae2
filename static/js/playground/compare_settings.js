/* One sheet of settings for all columns, or for one of them. */

import { Parameters } from "berth/playground/parameters";
import { words } from "berth/playground/words";

/** Attach to the page's root; `columns` get the settings when the sheet closes. */
export function attachSettings(root, columns) {
  const sheet = root.querySelector("[data-settings]");
  const parameters = new Parameters(root.querySelector("[data-parameters]"), "");
  let bound = [];

  function open(which, title) {
    bound = which;
    sheet.querySelector("[data-settings-title]").textContent = title;
    parameters.value = which[0].settings;
    sheet.showModal();
  }

  function close() {
    const { wrong } = parameters;
    if (!wrong) return sheet.close();
    wrong.closest("details")?.setAttribute("open", "");
    return wrong.reportValidity();
  }

  root.querySelector("[data-all-settings]").addEventListener("click", () => open(columns.all, words("all_settings")));
  root.querySelector("[data-columns]").addEventListener("click", (event) => {
    if (!event.target.closest("[data-own-settings]")) return;
    const column = columns.of(event.target);
    open([column], words("own_settings", { n: columns.all.indexOf(column) + 1 }));
  });
  sheet.querySelector("[data-settings-close]").addEventListener("click", close);
  sheet.addEventListener("close", () => {
    // Escape with something wrong in it leaves the columns as they were.
    if (!parameters.wrong) for (const column of bound) column.settings = structuredClone(parameters.value);
  });
}
