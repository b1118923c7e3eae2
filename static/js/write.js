/* Sets a property of an element. What it is already is not set again: the browser would style and lay it out anew. */

export function write(element, name, value) {
  if (element[name] !== value) element[name] = value;
}
