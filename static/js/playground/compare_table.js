/* Speed and tokens of each column in the round that is looked at, and the vote. */

import { words } from "berth/playground/words";

function rate({ rate: value, about }) {
  if (value === undefined) return "–";
  return words(about ? "about_per_s" : "per_s", { rate: value < 10 ? value.toFixed(1) : Math.round(value) });
}

/* The row is told only now and then: that something came is seen here. */
function stateOf({ live, state, text, reasoning }) {
  return live && (text || reasoning) ? "streaming" : state;
}

function cells(answer) {
  const { facts = {} } = answer;
  const ms = (value) => (value === undefined ? "–" : words("ms", { ms: value }));
  return [ms(facts.first_token_ms), rate(facts), facts.prompt_tokens ?? "–", facts.completion_tokens ?? "–", ms(facts.duration_ms), words(`${stateOf(answer)}_state`)];
}

/** Which of `values` is the best, where at least two are known and differ. */
function most(values, better) {
  const known = values.filter((value) => value !== undefined);
  const top = better(...known);
  return known.length > 1 && known.some((value) => value !== top) ? values.indexOf(top) : -1;
}

export class Table {
  constructor(root, columns) {
    this.root = root;
    this.columns = columns;
    this.rows = root.querySelector("[data-rows]");
    this.template = root.querySelector("template[data-row]");
  }

  /** Draw `messages` of a round with its vote. */
  draw(messages, { vote, best }) {
    this.root.querySelector("[data-verdict]").hidden = messages.length === 0;
    while (this.rows.childElementCount > messages.length) this.rows.lastElementChild.remove();
    const facts = messages.map(({ answer }) => (answer.live ? {} : (answer.facts ?? {})));
    const first = most(facts.map((each) => each.first_token_ms), Math.min);
    const fastest = most(facts.map((each) => each.rate), Math.max);
    messages.forEach(({ answer }, index) => {
      const row = this.rows.children[index] ?? this.rows.appendChild(this.template.content.firstElementChild.cloneNode(true));
      const { id, wins } = this.columns.all[index];
      row.children[0].textContent = words("column_of", { n: index + 1, config: answer.config });
      cells(answer).forEach((text, place) => (row.children[place + 1].textContent = text));
      row.children[1].classList.toggle("is-most", index === first);
      row.children[2].classList.toggle("is-most", index === fastest);
      const button = row.querySelector("button");
      button.dataset.column = id;
      button.setAttribute("aria-pressed", String(vote === "best" && best === id));
      button.setAttribute("aria-label", words("best_of", { config: row.children[0].textContent }));
      button.title = wins ? words("wins", { n: wins }) : "";
      row.querySelector("[data-best]").textContent = words("best");
    });
    for (const button of this.root.querySelectorAll("[data-vote]:not([data-column])")) {
      button.setAttribute("aria-pressed", String(vote === button.dataset.vote));
    }
  }
}
