/* The form of settings: kept for the tab, checked before sending, left out where empty. */

import { words } from "berth/playground/words";

const KEY = "berth.playground.settings";

function objectIn(field) {
  if (!field.value.trim()) return undefined;
  try {
    const content = JSON.parse(field.value);
    if (content && typeof content === "object" && !Array.isArray(content)) return content;
  } catch {
    // Said by the field itself.
  }
  return null;
}

/** Whether a person changed the field since the server wrote it. */
function isWritten(field) {
  if (field.type === "checkbox") return field.checked !== field.defaultChecked;
  if (field.type === "select-one") return field.value !== ([...field.options].find((option) => option.defaultSelected) ?? field.options[0])?.value;
  return field.defaultValue !== undefined && field.value !== field.defaultValue;
}

export class Parameters {
  /** `key`: where the tab keeps them; without one they are not kept. */
  constructor(form, key = KEY) {
    this.form = form;
    this.key = key;
    form.addEventListener("input", () => {
      this.check();
      this.save();
    });
    form.addEventListener("submit", (event) => event.preventDefault());
  }

  field(name) {
    return this.form.elements.namedItem(name);
  }

  get numberFields() {
    return [...this.form.querySelectorAll("input[type=number]")];
  }

  /** The settings as the server takes them. */
  get value() {
    const filled = this.numberFields.filter((field) => field.value !== "");
    const think = this.field("think").value;
    const settings = {
      system: this.field("system").value.trim(),
      numbers: Object.fromEntries(filled.map((field) => [field.name, field.valueAsNumber])),
      stop: this.field("stop").value.split("\n").filter(Boolean),
      json_mode: this.field("json_mode").checked,
      think: think === "true" || (think === "false" ? false : think || null),
      ollama_options: objectIn(this.field("ollama_options")),
      extra: objectIn(this.field("extra")),
    };
    return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined && value !== null));
  }

  set value(settings) {
    for (const field of this.numberFields) field.value = settings.numbers?.[field.name] ?? "";
    this.field("system").value = settings.system ?? "";
    this.field("stop").value = (settings.stop ?? []).join("\n");
    this.field("json_mode").checked = settings.json_mode === true;
    this.field("think").value = settings.think === undefined || settings.think === null ? "" : String(settings.think);
    for (const name of ["ollama_options", "extra"]) {
      const content = settings[name];
      this.field(name).value = content && Object.keys(content).length > 0 ? JSON.stringify(content, null, 1) : "";
    }
    this.check();
    this.save();
  }

  check() {
    for (const field of this.form.querySelectorAll("[data-json]")) {
      field.setCustomValidity(objectIn(field) === null ? words("no_json") : "");
    }
  }

  /** The first field whose value cannot be sent, or null. */
  get wrong() {
    return this.form.querySelector("input:invalid, textarea:invalid");
  }

  /** Begin with what the conversation was asked with last, else with what this tab had, and what was written before this ran. */
  begin(settings) {
    const written = [...this.form.elements].filter(isWritten).map((field) => [field, field.value, field.checked]);
    try {
      this.value = settings ?? JSON.parse(sessionStorage.getItem(this.key) ?? "{}");
    } catch {
      sessionStorage.removeItem(this.key);
    }
    for (const [field, value, checked] of written) Object.assign(field, field.type === "checkbox" ? { checked } : { value });
    this.check();
    this.save();
  }

  save() {
    if (!this.key) return;
    try {
      sessionStorage.setItem(this.key, JSON.stringify(this.value));
    } catch {
      // Without room the values last until the page is left.
    }
  }
}
