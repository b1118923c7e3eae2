/* The form of sampling parameters: kept for the tab, checked before sending, left out where empty. */

const KEY = "berth.playground.parameters";

export class Parameters {
  constructor(form) {
    this.form = form;
    this.restore();
    form.addEventListener("input", () => this.save());
    form.addEventListener("submit", (event) => event.preventDefault());
  }

  restore() {
    try {
      for (const [name, value] of Object.entries(JSON.parse(sessionStorage.getItem(KEY) ?? "{}"))) {
        if (this.form.elements[name]) this.form.elements[name].value = value;
      }
    } catch {
      sessionStorage.removeItem(KEY);
    }
  }

  save() {
    try {
      sessionStorage.setItem(KEY, JSON.stringify(Object.fromEntries(new FormData(this.form))));
    } catch {
      // Without room the values last until the page is left.
    }
  }

  /** The first field whose value is out of its range, or null. */
  get wrong() {
    return this.form.querySelector(":invalid");
  }

  get system() {
    return this.form.elements.system.value.trim();
  }

  /** Name -> number, of the fields that are filled in. */
  get numbers() {
    const fields = [...this.form.querySelectorAll("input[type=number]")].filter((field) => field.value !== "");
    return Object.fromEntries(fields.map((field) => [field.name, field.valueAsNumber]));
  }
}
