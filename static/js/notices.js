/* Notices: dismissing them, explaining buttons that one may not press, and requests that got no answer. */

import { attach } from "berth/attach";

const SHOWN_MS = 10000;
const shelf = () => document.getElementById("messages");

function show(text) {
  const notice = document.querySelector("template[data-lost-request]").content.firstElementChild.cloneNode(true);
  if (text) {
    notice.querySelector("p").textContent = text;
    notice.querySelector(".notice-next")?.remove();
    notice.className = "notice notice-warning";
  }
  const same = [...shelf().children].some((child) => child.textContent === notice.textContent);
  if (!same) shelf().append(notice);
}

document.addEventListener("click", (event) => {
  const dismiss = event.target.closest("[data-dismiss]");
  if (dismiss) dismiss.closest("[data-notice]").remove();
  const barred = event.target.closest("[data-why]");
  if (barred) show(barred.dataset.why);
});

// What went well, or was so already, goes away by itself; what went wrong stays until it is dismissed.
attach("#messages .notice-success, #messages .notice-info", (notice) => {
  const timer = setInterval(() => {
    if (!notice.matches(":hover, :focus-within")) notice.remove();
  }, SHOWN_MS);
  return () => clearInterval(timer);
});

// A background refresh that fails is the live mark's business; a press that fails is told.
function pressed(event) {
  return event.detail.requestConfig?.verb !== "get";
}

document.addEventListener("htmx:sendError", (event) => {
  if (pressed(event)) show();
});
// A press that was refused was made on a page that knew too little.
document.addEventListener("htmx:responseError", (event) => {
  if (pressed(event)) document.dispatchEvent(new CustomEvent("berth:acted"));
});
document.addEventListener("htmx:timeout", (event) => {
  if (pressed(event)) show();
});

document.addEventListener("htmx:beforeSwap", (event) => {
  const { xhr } = event.detail;
  if (event.detail.isError && !pressed(event)) event.detail.shouldSwap = false;
  const login = document.body.dataset.loginUrl;
  if (!xhr.responseURL || new URL(xhr.responseURL).pathname !== login || location.pathname === login) return;
  event.detail.shouldSwap = false;
  location.assign(`${login}?next=${encodeURIComponent(location.pathname + location.search)}`);
});

// Menus made of <details> close on Escape and on a press elsewhere.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details[data-menu][open]")) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details[data-menu][open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});
