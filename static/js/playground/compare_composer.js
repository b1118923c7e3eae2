/* The prompt to all columns, or a set of prompts; and what is said above it. */

import { Pictures } from "berth/playground/pictures";
import { words } from "berth/playground/words";

export class PromptForm {
  /** `send({ prompt, set, pictures })` gives whether it was taken; `stop()`. */
  constructor(root, { send, stop }) {
    this.form = root.querySelector("[data-composer]");
    this.prompt = this.part("prompt");
    this.pictures = new Pictures(this.form, { complain: (sentence) => this.tell(sentence) });
    this.send = send;
    // Until this runs a press would load the page anew, without what was typed.
    if (this.part("send")) this.part("send").type = "submit";
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.prompt.addEventListener("keydown", (event) => {
      const sends = this.part("set").checked ? event.ctrlKey || event.metaKey : !event.shiftKey;
      if (event.key !== "Enter" || !sends || event.isComposing) return;
      event.preventDefault();
      this.submit();
    });
    this.part("stop")?.addEventListener("click", stop);
  }

  part(name) {
    return this.form.querySelector(`[data-${name}]`);
  }

  tell(sentence = "") {
    this.part("notice").textContent = sentence;
    this.part("notice").hidden = !sentence;
  }

  set busy(isBusy) {
    if (!this.part("send")) return;
    this.part("send").hidden = isBusy;
    this.part("stop").hidden = !isBusy;
  }

  async submit() {
    const prompt = this.prompt.value.trim();
    const pictures = this.pictures.ids;
    if ((!prompt && pictures.length === 0) || this.sending || !this.part("send") || this.part("send").hidden) return;
    this.sending = true;
    this.tell();
    if (await this.send({ prompt, pictures, set: this.part("set").checked })) {
      this.prompt.value = "";
      this.pictures.set([]);
    }
    this.sending = false;
  }

  /** How far a set is; null: there is none. */
  showBatch(batch) {
    this.part("batch").hidden = !batch;
    if (!batch) return;
    Object.assign(this.part("progress"), { max: batch.total, value: batch.asked });
    const told = [words("batch", batch), batch.state_words, batch.error];
    this.part("batch-words").textContent = told.filter(Boolean).join(" · ");
  }
}
