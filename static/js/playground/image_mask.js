/* Paint on the image to edit; what is painted becomes transparent in the mask, which is where servers may change it. */

import { upload } from "berth/playground/api";

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** `complain(sentence)` says why a mask could not be sent. Gives what tears it down. */
export function attachMask(form, { complain }) {
  const source = form.querySelector("[data-image-source]");
  if (!source) return () => {};
  const canvas = source.querySelector("canvas");
  const pen = canvas.getContext("2d");
  const brush = source.querySelector("[data-brush]");
  const field = source.querySelector("[name=mask]");
  const ring = source.querySelector("[data-brush-ring]");
  const state = source.querySelector("[data-brush-state]");
  let painted = false;
  /* Where the brush is while it is down, and where the keyboard has it. */
  let last = null;
  let at = { x: canvas.width / 2, y: canvas.height / 2 };

  const width = () => (Number(brush.value) / 100) * Math.max(canvas.width, canvas.height);

  function place(event) {
    const shown = canvas.getBoundingClientRect();
    return {
      x: ((event.clientX - shown.left) / shown.width) * canvas.width,
      y: ((event.clientY - shown.top) / shown.height) * canvas.height,
    };
  }

  /** Paint from where the brush was, if it is down. */
  function stroke(next) {
    at = next;
    if (!last) return;
    pen.strokeStyle = getComputedStyle(canvas).color;
    pen.lineWidth = width();
    pen.lineCap = "round";
    pen.beginPath();
    pen.moveTo(last.x, last.y);
    pen.lineTo(next.x, next.y);
    pen.stroke();
    last = next;
    painted = true;
  }

  function showRing() {
    ring.style.left = `${(100 * at.x) / canvas.width}%`;
    ring.style.top = `${(100 * at.y) / canvas.height}%`;
    ring.style.width = `${(100 * width()) / canvas.width}%`;
    ring.dataset.pen = last ? "down" : "up";
  }

  function pressed(event) {
    const step = STEPS[event.key];
    if (!step && event.key !== " ") return;
    event.preventDefault();
    if (step) {
      const [x, y] = step.map((each) => (each * width()) / 4);
      stroke({ x: within(at.x + x, canvas.width), y: within(at.y + y, canvas.height) });
    } else {
      last = last ? null : at;
      stroke(at);
      state.textContent = last ? state.dataset.down : state.dataset.up;
    }
    showRing();
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
    stroke(last);
  });
  canvas.addEventListener("pointermove", (event) => last && stroke(place(event)));
  canvas.addEventListener("pointerup", () => (last = null));
  canvas.addEventListener("keydown", pressed);
  canvas.addEventListener("focus", showRing);
  canvas.addEventListener("blur", () => (last = null));
  brush.addEventListener("input", showRing);
  source.querySelector("[data-mask-clear]").addEventListener("click", clear);
  form.addEventListener("htmx:confirm", before);
  return () => form.removeEventListener("htmx:confirm", before);
}

function within(number, end) {
  return Math.min(end, Math.max(0, number));
}
