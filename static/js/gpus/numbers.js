/* Numbers as the server writes them: see the template filters of the same names. */

const GIB = 1024 ** 3;
const DASH = "–";
const language = document.documentElement.lang;
const decimal = new Intl.NumberFormat(language, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const integer = new Intl.NumberFormat(language, { maximumFractionDigits: 0 });
//: How far the browser's clock is off the server's, in s.
const skew = Number(document.documentElement.dataset.now) - Date.now() / 1000;

/** Now by the server's clock, epoch seconds. */
export const now = () => Date.now() / 1000 + skew;
export const isKnown = (value) => value !== null && value !== undefined;
export const whole = (value) => (isKnown(value) ? integer.format(value) : DASH);
export const tenth = (value) => (isKnown(value) ? decimal.format(value) : DASH);
export const toGib = (bytes) => (isKnown(bytes) ? bytes / GIB : null);
export const gib = (bytes) => tenth(toGib(bytes));
export const wholeGib = (bytes) => whole(toGib(bytes));

/** 3.1 kW, 812 W. */
export function kilowatts(watts) {
  if (!isKnown(watts)) return DASH;
  return watts < 1000 ? `${whole(watts)} W` : `${decimal.format(watts / 1000)} kW`;
}

/** 1.2 MB/s. */
export function rate(bytes) {
  if (!isKnown(bytes)) return DASH;
  let value = bytes;
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (value < 1000) return `${unit === "B" || value >= 100 ? integer.format(value) : decimal.format(value)} ${unit}/s`;
    value /= 1000;
  }
  return `${decimal.format(value)} TB/s`;
}

/** Change an element's text only when it differs, so that nothing is selected or announced anew. */
export function write(element, text) {
  if (element && element.textContent !== text) element.textContent = text;
}
