/* What the socket tells of an answer, taken into what the page knows of it. */

/** More of `answer` came. */
export function grow(answer, { text = "", reasoning = "", calls, facts, pieces, sequence }) {
  answer.text += text;
  answer.reasoning += reasoning;
  answer.sequence = sequence;
  if (calls) answer.calls = calls;
  if (facts) answer.facts = { ...answer.facts, ...facts };
  if (pieces) answer.pieces = pieces;
}

/** A row of the database: how far `answer` is, or how it ended. */
export function settle(answer, row) {
  const { type, ...told } = row;
  Object.assign(answer, told, { live: type === "snapshot" });
}
