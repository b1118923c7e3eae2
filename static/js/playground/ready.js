/* What a form's scripts say to playground/early.js. */

/** From now on presses of `form` are answered; one that came before is done now. */
export function ready(form) {
  form.dispatchEvent(new Event("berth:ready", { bubbles: true }));
}
