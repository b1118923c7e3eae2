/* The files of a raw request: a field for each that its address takes. */

export class RawFiles {
  /** `changed()` when another file was chosen. */
  constructor(root, { changed }) {
    this.shelf = root.querySelector("[data-files]");
    this.template = root.querySelector("template[data-file]");
    this.shelf.addEventListener("change", changed);
  }

  /** Fields for these names, the first of them required. */
  show(names) {
    this.shelf.hidden = names.length === 0;
    this.shelf.replaceChildren(
      ...names.map((name, index) => {
        const field = this.template.content.firstElementChild.cloneNode(true);
        field.querySelector("[data-file-name]").textContent = name;
        field.querySelector("[data-optional]").hidden = index === 0;
        field.querySelector("input").name = name;
        return field;
      }),
    );
  }

  get chosen() {
    return [...this.shelf.querySelectorAll("input")].filter((field) => field.files.length > 0);
  }

  /** Names of files by field, for code. */
  get names() {
    return Object.fromEntries(this.chosen.map((field) => [field.name, field.files[0].name]));
  }

  /** The request with its files as a form. */
  form(question) {
    const form = new FormData();
    for (const [name, text] of Object.entries(question)) form.append(name, text);
    for (const field of this.chosen) form.append(field.name, field.files[0]);
    return form;
  }
}
