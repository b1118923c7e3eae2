/* The message being written: its text, its pictures, and which earlier message it is to replace. */

import { Pictures } from "berth/playground/pictures";
import { write } from "berth/write";

export class Composer {
  /** `send({ text, pictures, edits })` gives whether it was taken; `stop()`. */
  constructor(form, { send, stop }) {
    this.form = form;
    this.prompt = form.querySelector("[data-prompt]");
    this.pictures = new Pictures(form, { complain: (sentence) => this.tell(sentence) });
    this.edits = null;
    this.send = send;
    // Until this runs a press would load the page anew, without what was typed.
    if (this.maySend) this.part("send").type = "submit";
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.prompt.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.submit();
    });
    this.part("stop")?.addEventListener("click", () => {
      stop();
      this.prompt.focus();
    });
    this.part("edit-cancel").addEventListener("click", () => this.edit(null));
  }

  part(name) {
    return this.form.querySelector(`[data-${name}]`);
  }

  get maySend() {
    return this.part("send") !== null;
  }

  /** Say something above the field; nothing takes it away. */
  tell(sentence = "") {
    const line = this.part("notice-line");
    write(line, "textContent", sentence);
    write(line, "hidden", !sentence);
  }

  set busy(isBusy) {
    if (!this.maySend) return;
    write(this.part("send"), "hidden", isBusy);
    write(this.part("stop"), "hidden", !isBusy);
  }

  get busy() {
    return this.maySend && this.part("send").hidden;
  }

  async submit() {
    const text = this.prompt.value.trim();
    const pictures = this.pictures.shown;
    if ((!text && pictures.length === 0) || this.busy || this.sending || !this.maySend) return;
    this.sending = true;
    this.tell();
    const { edits } = this;
    this.edit(null);
    const taken = await this.send({ text, pictures, edits });
    this.sending = false;
    if (!taken) this.putBack(text, pictures, edits);
  }

  /** What was not taken stands in the field again, before what was written meanwhile. */
  putBack(text, pictures, edits) {
    this.edits ??= edits;
    this.part("editing").hidden = this.edits === null;
    this.prompt.value = [text, this.prompt.value].filter(Boolean).join("\n");
    this.pictures.set([...pictures, ...this.pictures.shown]);
  }

  /** Write `message` anew; null: write another one. */
  edit(message) {
    this.edits = message;
    write(this.part("editing"), "hidden", message === null);
    this.prompt.value = message?.text ?? "";
    this.pictures.set(message?.pictures ?? []);
    this.prompt.focus();
  }
}
