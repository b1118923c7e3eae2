/* The editor: fills in an engine's defaults, asks before typed text is lost, and brings the first problem into view. */

import { attach } from "berth/attach";

const FILLED = ["image", "port", "readiness_path", "grace_s"];

function readDefaults() {
  return JSON.parse(document.getElementById("engine-defaults")?.textContent ?? "{}");
}

// A field is filled in when it is empty or still holds what the engine before gave it.
attach("[data-config-form]", (form) => {
  const defaults = readDefaults();
  const engine = form.elements.namedItem("engine");
  let before = engine.value;

  function fill() {
    const old = defaults[before] ?? {};
    const chosen = defaults[engine.value] ?? {};
    before = engine.value;
    for (const name of FILLED) {
      const field = form.elements.namedItem(name);
      const untouched = field.value.trim() === "" || field.value === String(old[name] ?? "");
      if (untouched && chosen[name] !== undefined) field.value = String(chosen[name]);
    }
  }

  engine.addEventListener("change", fill);
  return () => engine.removeEventListener("change", fill);
});

// A part that one protocol alone uses; what stands in it is kept.
attach("[data-only-protocol]", (part) => {
  const protocol = part.form.elements.namedItem("protocol");
  const show = () => {
    part.hidden = protocol.value !== part.dataset.onlyProtocol && part.querySelector(".has-problem") === null;
  };
  show();
  protocol.addEventListener("change", show);
  return () => protocol.removeEventListener("change", show);
});

attach("[data-unsaved]", (form) => {
  // "already" is what an import filled in.
  const filled = form.dataset.unsaved === "already" || form.querySelector(".has-problem") !== null;
  let unsaved = filled || document.querySelector("[data-conflict]") !== null;
  const typed = () => {
    unsaved = true;
  };
  const sent = () => {
    unsaved = false;
  };
  const leaving = (event) => {
    if (unsaved) event.preventDefault();
  };
  form.addEventListener("input", typed);
  form.addEventListener("submit", sent);
  addEventListener("beforeunload", leaving);
  return () => removeEventListener("beforeunload", leaving);
});

attach("[data-first-problem]", (summary) => {
  summary.focus();
});
