/* Pictures of the message being written: dropped, pasted or chosen; the server decodes each before it is taken. */

import { post, upload } from "berth/playground/api";
import { words } from "berth/playground/words";
import { write } from "berth/write";

const MOST = 8;

export class Pictures {
  /** `complain(sentence)` says what is wrong with one. */
  constructor(form, { complain }) {
    this.form = form;
    this.complain = complain;
    this.shelf = form.querySelector("[data-pictures]");
    this.items = [];
    const chooser = form.querySelector("[data-picture-file]");
    chooser.addEventListener("change", () => {
      // The list empties itself with the field.
      this.add([...chooser.files]);
      chooser.value = "";
    });
    form.addEventListener("paste", (event) => this.takeFrom(event, event.clipboardData));
    form.addEventListener("dragover", (event) => event.preventDefault());
    form.addEventListener("drop", (event) => this.takeFrom(event, event.dataTransfer));
  }

  get ids() {
    return this.items.map((item) => item.id);
  }

  /** As messages have them. */
  get shown() {
    return this.items.map(({ id, name, width, height }) => ({ id, name, width, height }));
  }

  takeFrom(event, transfer) {
    const files = [...(transfer?.files ?? [])];
    if (files.length === 0) return;
    event.preventDefault();
    this.add(files);
  }

  async add(files) {
    for (const file of files) {
      if (this.items.length >= MOST) {
        this.complain(words("too_many_pictures", { most: MOST }));
        return;
      }
      const content = new FormData();
      content.append("picture", file);
      content.append("side", this.form.querySelector("[data-picture-side]").value);
      try {
        this.show(await upload(this.form.dataset.pictureUrl, content));
      } catch (error) {
        this.complain(error.message);
      }
    }
  }

  show(picture) {
    const element = this.form.querySelector("template[data-picture-item]").content.firstElementChild.cloneNode(true);
    element.querySelector("img").src = `${this.form.dataset.pictureUrl}${picture.id}/`;
    element.querySelector("[data-picture-name]").textContent = `${picture.name} ${picture.width}×${picture.height}`;
    const item = { ...picture, element };
    element.querySelector("button").addEventListener("click", () => this.drop(item));
    this.items.push(item);
    this.shelf.append(element);
    this.shelf.hidden = false;
  }

  drop(item) {
    this.forget(item);
    // One that an earlier message shows stays there: the server knows.
    post(`${this.form.dataset.pictureUrl}${item.id}/drop/`).catch(() => {});
  }

  forget(item) {
    this.items = this.items.filter((each) => each !== item);
    item.element.remove();
    this.shelf.hidden = this.items.length === 0;
  }

  /** Begin with these, as when a message is edited. */
  set(pictures) {
    this.items.forEach((item) => item.element.remove());
    this.items = [];
    write(this.shelf, "hidden", true);
    pictures.forEach((picture) => this.show(picture));
  }
}
