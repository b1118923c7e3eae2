/* Asks before something is lost: data-confirm="question", data-confirm-list="consequences, one a line", data-confirm-verb on a form. */

const dialog = document.querySelector("[data-confirm-dialog]");

function slot(name) {
  return dialog.querySelector(`[data-confirm-slot="${name}"]`);
}

/** Ask about `form`; resolves to true when the person goes ahead. */
function ask(form) {
  slot("title").textContent = form.dataset.confirm;
  slot("verb").textContent = form.dataset.confirmVerb;
  slot("list").replaceChildren(
    ...(form.dataset.confirmList ?? "").split("\n").filter(Boolean).map((line) => {
      const item = document.createElement("li");
      item.textContent = line;
      return item;
    }),
  );
  dialog.returnValue = "no";
  dialog.showModal();
  dialog.querySelector("[data-confirm-no]").focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

document.addEventListener("htmx:confirm", async (event) => {
  const form = event.target;
  if (!form.dataset.confirm) return;
  event.preventDefault();
  if (await ask(form)) event.detail.issueRequest(true);
});

// Forms that htmx does not send.
document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.dataset.confirm || form.hasAttribute("hx-post")) return;
  event.preventDefault();
  if (await ask(form)) form.submit();
});

dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close("no");
});
