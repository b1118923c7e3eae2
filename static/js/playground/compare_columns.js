/* The columns of a comparison: which config each asks, with which settings. Fixed once something was asked. */

import { words } from "berth/playground/words";

const FEWEST = 2;
const MOST = 6;

export class Columns {
  /** `changed()` after columns came, went or were named otherwise. */
  constructor(root, { ready, others, changed }) {
    this.root = root;
    this.shelf = root.querySelector("[data-columns]");
    this.template = root.querySelector("template[data-column]");
    this.ready = ready;
    this.others = others;
    this.changed = changed;
    this.all = [];
    this.fixed = false;
    root.querySelector("[data-add]").addEventListener("click", () => this.add({}));
    this.shelf.addEventListener("click", (event) => event.target.closest("[data-remove]") && this.remove(this.of(event.target)));
    this.shelf.addEventListener("change", () => this.refresh());
  }

  of(target) {
    return this.all.find((column) => column.element.contains(target));
  }

  /** What was asked so far, or two fresh ones. */
  begin(columns) {
    this.fixed = columns.length > 0;
    const first = columns.length > 0 ? columns : [{ config: this.ready[0] }, { config: this.ready[1] ?? this.ready[0] }];
    first.forEach((column) => this.add(column));
  }

  add({ id = null, config = this.ready[0], settings = {} }) {
    if (this.all.length >= MOST) return;
    const element = this.template.content.firstElementChild.cloneNode(true);
    const part = (name) => element.querySelector(`[data-${name}]`);
    const choice = part("config");
    const gone = config && ![...this.ready, ...this.others].includes(config) ? [config] : [];
    choice.append(...[...this.ready, ...gone].map((name) => new Option(name, name)));
    const group = Object.assign(document.createElement("optgroup"), { label: words("not_ready") });
    group.append(...this.others.map((name) => new Option(name, name)));
    if (this.others.length > 0) choice.append(group);
    choice.value = config ?? "";
    this.all.push({ id, element, part, choice, settings, view: null });
    this.shelf.append(element);
    this.refresh();
  }

  remove(column) {
    column.element.remove();
    this.all.splice(this.all.indexOf(column), 1);
    this.refresh();
  }

  /** The comparison began: the columns have numbers and stay. */
  fix(columns) {
    this.fixed = true;
    columns.forEach(({ id, wins }, index) => Object.assign(this.all[index], { id, wins }));
    this.refresh();
  }

  refresh() {
    this.all.forEach((column, index) => {
      const name = words("column", { n: index + 1 });
      column.element.setAttribute("aria-label", name);
      column.choice.setAttribute("aria-label", name);
      column.part("body").setAttribute("aria-label", words("column_of", { n: index + 1, config: column.choice.value }));
      column.choice.disabled = this.fixed;
      const idle = this.others.includes(column.choice.value);
      column.part("start").hidden = !idle;
      if (idle) column.part("start-link").href = this.root.dataset.configUrl.replace("CONFIG", encodeURIComponent(column.choice.value));
      column.part("remove").hidden = this.fixed || this.all.length <= FEWEST;
    });
    this.root.querySelector("[data-add]").hidden = this.fixed || this.all.length >= MOST;
    this.changed();
  }

  /** What is asked, as the server takes it; null while a column has no config. */
  get questions() {
    if (this.all.some((column) => !column.choice.value)) return null;
    return this.all.map((column) => ({ config: column.choice.value, settings: column.settings }));
  }
}
