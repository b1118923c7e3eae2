/* The page of images: requests under way, the composer's sentences, the drawer. */

import { attach } from "berth/attach";
import { upload } from "berth/playground/api";
import { attachMask } from "berth/playground/image_mask";
import { ready } from "berth/playground/ready";
import { AnswerSocket } from "berth/playground/socket";
import { words } from "berth/playground/words";

const socket = new AnswerSocket({ hear, state() {} });

function hear({ type, answer, state, facts }) {
  const job = document.querySelector(`[data-image-job="${Number(answer)}"]`);
  if (!job) return;
  if (type === "over" || type === "gone") {
    say(words(state === "done" ? "ready" : "ended"));
    // Not by a trigger of the element's own: an image may be there before htmx has looked at what it put in.
    globalThis.htmx.ajax("GET", job.dataset.url, { target: job, swap: "outerHTML" });
  } else if (facts) show(job, facts);
}

function show(job, { step, steps }) {
  const bar = job.querySelector("progress");
  if (steps > 0) {
    bar.max = steps;
    bar.value = step ?? 0;
  } else bar.removeAttribute("value");
  job.querySelector("[data-image-step]").textContent = steps > 0 ? words("step", { step: step ?? 0, steps }) : words("turn");
}

/* Other tabs of this person: one that draws tells the others, and whoever comes back to a tab sees what others drew. */
const tabs = new BroadcastChannel("berth-images");
const isFirstPage = !new URLSearchParams(location.search).has("before");

function renew() {
  if (isFirstPage && document.visibilityState === "visible") {
    globalThis.htmx.ajax("GET", `${location.pathname}?part=gallery`, { target: "#gallery", swap: "morph" });
  }
}

tabs.addEventListener("message", renew);
document.addEventListener("visibilitychange", renew);

function say(sentence) {
  document.querySelector("[data-images] [data-said]").textContent = sentence;
}

attach("[data-image-job]", (job) => {
  say(words("begun"));
  socket.follow(Number(job.dataset.imageJob));
});

attach("[data-image-composer]", (form) => {
  const problem = form.querySelector("[data-image-problem]");
  const complain = (sentence) => {
    problem.textContent = sentence;
    problem.hidden = !sentence;
  };
  const detachMask = attachMask(form, { complain });
  const chosen = async ({ target }) => {
    if (!("imageFile" in target.dataset) || target.files.length === 0) return;
    const content = new FormData();
    content.append("picture", target.files[0]);
    target.value = "";
    try {
      const { id } = await upload(form.dataset.pictureUrl, content);
      location.assign(`?edit=${id}`);
    } catch (error) {
      complain(error.message);
    }
  };
  const key = (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    form.requestSubmit(form.querySelector("[type=submit]"));
  };
  const asked = ({ detail }) => detail.successful && detail.elt === form && tabs.postMessage("drawing");
  form.addEventListener("htmx:afterRequest", asked);
  form.addEventListener("change", chosen);
  form.addEventListener("keydown", key);
  ready(form);
  return () => {
    detachMask();
    form.removeEventListener("htmx:afterRequest", asked);
    form.removeEventListener("change", chosen);
    form.removeEventListener("keydown", key);
  };
});

attach("[data-image-drawer]", (drawer) => {
  const before = document.activeElement;
  const close = (event) => {
    if (event.type === "keydown" && event.key !== "Escape") return;
    event.preventDefault();
    drawer.remove();
    before?.focus?.();
  };
  drawer.querySelector("[data-drawer-close]").addEventListener("click", close);
  drawer.addEventListener("keydown", close);
  drawer.focus({ preventScroll: true });
});
