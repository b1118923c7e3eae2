/* The theme button: as the system, light, dark. The cookie lets the server paint the first pixel right. */

import { attach } from "berth/attach";

const ORDER = ["auto", "light", "dark"];
const YEAR_S = 365 * 24 * 3600;

function apply(button, theme) {
  const root = document.documentElement;
  if (theme === "auto") root.removeAttribute("data-bs-theme");
  else root.dataset.bsTheme = theme;
  button.dataset.theme = theme;
  const label = button.dataset[`label${theme[0].toUpperCase()}${theme.slice(1)}`];
  button.title = label;
  button.setAttribute("aria-label", label);
}

function remember(theme) {
  document.cookie = `berth_theme=${theme}; path=/; max-age=${YEAR_S}; samesite=lax`;
  localStorage.setItem("berth_theme", theme);
}

attach("[data-theme-switch]", (button) => {
  const press = () => {
    const theme = ORDER[(ORDER.indexOf(button.dataset.theme) + 1) % ORDER.length];
    apply(button, theme);
    remember(theme);
  };
  const elsewhere = (event) => {
    if (event.key === "berth_theme" && ORDER.includes(event.newValue)) apply(button, event.newValue);
  };
  apply(button, button.dataset.theme);
  button.addEventListener("click", press);
  addEventListener("storage", elsewhere);
  return () => removeEventListener("storage", elsewhere);
});
