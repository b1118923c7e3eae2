/* The words of the log, which its element carries: data-text-…, with {n} filled in; data-text-…-one where one differs. */

function attribute(name) {
  return `text${name[0].toUpperCase()}${name.slice(1)}`;
}

/** A number as the page's language writes it. */
export function count(number) {
  return number.toLocaleString(document.documentElement.lang);
}

/** The words `name` of `root`, with {n} as `number`. */
export function words(root, name, number) {
  const { dataset } = root;
  if (number === undefined) return dataset[attribute(name)];
  const one = number === 1 ? dataset[`${attribute(name)}One`] : undefined;
  return (one ?? dataset[attribute(name)]).replace("{n}", count(number));
}
