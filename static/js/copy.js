/* A button that copies the text of the element that data-copy names. */

import { attach } from "berth/attach";

const SHOWN_MS = 1500;

/** Put `text` on the clipboard. */
export async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // The clipboard interface is missing outside secure origins, as on http://host:8000.
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "visually-hidden";
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
  return undefined;
}

attach("[data-copy]", (button) => {
  let timer;
  const word = button.querySelector("[data-copy-word]");
  const before = word.textContent;
  const press = async () => {
    await copyText(document.getElementById(button.dataset.copy).textContent.trim());
    word.textContent = button.dataset.copied;
    button.classList.add("is-done");
    clearTimeout(timer);
    timer = setTimeout(() => {
      word.textContent = before;
      button.classList.remove("is-done");
    }, SHOWN_MS);
  };
  button.addEventListener("click", press);
  return () => clearTimeout(timer);
});
