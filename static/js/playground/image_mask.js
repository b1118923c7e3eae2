/* Paint on the image to edit; what is painted becomes transparent in the mask, which is where servers may change it. */

import { upload } from "berth/playground/api";

/** `complain(sentence)` says why a mask could not be sent. Gives what tears it down. */
export function attachMask(form, { complain }) {
  const source = form.querySelector("[data-image-source]");
  if (!source) return () => {};
  const canvas = source.querySelector("canvas");
  const pen = canvas.getContext("2d");
  const brush = source.querySelector("[data-brush]");
  const field = source.querySelector("[name=mask]");
  let painted = false;
  let last = null;

  function place(event) {
    const shown = canvas.getBoundingClientRect();
    return {
      x: ((event.clientX - shown.left) / shown.width) * canvas.width,
      y: ((event.clientY - shown.top) / shown.height) * canvas.height,
    };
  }

  function stroke(event) {
    if (!last) return;
    const next = place(event);
    pen.strokeStyle = getComputedStyle(canvas).color;
    pen.lineWidth = (Number(brush.value) / 100) * Math.max(canvas.width, canvas.height);
    pen.lineCap = "round";
    pen.beginPath();
    pen.moveTo(last.x, last.y);
    pen.lineTo(next.x, next.y);
    pen.stroke();
    last = next;
    painted = true;
  }

  function clear() {
    pen.clearRect(0, 0, canvas.width, canvas.height);
    painted = false;
    field.value = "";
  }

  /** Opaque but for the paint: https://platform.openai.com/docs/api-reference/images/createEdit */
  async function mask() {
    const drawn = new OffscreenCanvas(canvas.width, canvas.height);
    const context = drawn.getContext("2d");
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.globalCompositeOperation = "destination-out";
    context.drawImage(canvas, 0, 0);
    return drawn.convertToBlob({ type: "image/png" });
  }

  async function before(event) {
    if (event.target !== form || !painted) return;
    event.preventDefault();
    const content = new FormData();
    try {
      content.append("picture", new File([await mask()], "mask.png", { type: "image/png" }));
      content.append("side", "");
      field.value = (await upload(form.dataset.pictureUrl, content)).id;
      event.detail.issueRequest(true);
    } catch (error) {
      complain(error.message);
    }
  }

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    last = place(event);
    stroke(event);
  });
  canvas.addEventListener("pointermove", stroke);
  canvas.addEventListener("pointerup", () => (last = null));
  source.querySelector("[data-mask-clear]").addEventListener("click", clear);
  form.addEventListener("htmx:confirm", before);
  return () => form.removeEventListener("htmx:confirm", before);
}
