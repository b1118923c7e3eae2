"""Hostile outputs may neither run, nor load, nor leave their bubble."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.installation import Installation
from tests.browser.playground.hostile_outputs import HOSTILE
from tests.browser.playground.talking import ask, complete, fresh

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("browser-playground"),  # one installation serves them all
]


def test_hostile_outputs_neither_run_nor_load_nor_leave_their_bubble(
    page: Page, berth: Installation, complaints: list[str], elsewhere: list[str]
) -> None:
    fresh(page, berth)
    page.evaluate("window.violations = []")
    page.evaluate("addEventListener('securitypolicyviolation', (event) => violations.push(event.blockedURI))")
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((each) => each.id)")
    for name in HOSTILE:
        answer = complete(ask(page, f"say {name}"))
        found = answer.evaluate(INSPECT)
        assert found["outside"] == [], name
        assert found["dangerous"] == [], name
        assert found["links"] == [], name
        assert found["length"] > 0, name
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{name} is {wide} px too wide"
    assert page.evaluate("window.harm") is None
    assert page.evaluate("window.violations") == []
    assert (
        page.evaluate("(ids) => ids.filter((id) => document.querySelectorAll(`#${CSS.escape(id)}`).length > 1)", ids)
        == []
    )
    expect(page.locator(".rail")).to_be_visible()
    assert elsewhere == []
    assert complaints == []
    # Kept and drawn again from the database, all of it is as harmless.
    page.reload()
    expect(page.locator(".turn-assistant")).to_have_count(len(HOSTILE))
    assert page.evaluate("window.harm") is None
    assert (elsewhere, complaints) == ([], [])


#: What of an answer is not as it should be.
INSPECT = """(turn) => {
  const bubble = turn.querySelector("[data-text]");
  const box = turn.getBoundingClientRect();
  const every = [...bubble.querySelectorAll("*")].filter((element) => !element.closest(".code-bar"));
  const within = (element) => {
    const { left, right } = element.getBoundingClientRect();
    return left >= box.left - 1 && right <= box.right + 1;
  };
  // What is too wide may be cut, or scroll, within something that is not.
  const cut = (element) => element !== turn && (
    (getComputedStyle(element).overflowX !== "visible" && within(element)) || cut(element.parentElement)
  );
  const outside = every.filter((element) => {
    const { width, height } = element.getBoundingClientRect();
    return width && height && !within(element) && !cut(element.parentElement);
  });
  const tags = "script, style, link, meta, base, iframe, object, embed, form, input, svg, video, audio";
  const acts = ({ name }) => name.startsWith("on") || name === "style";
  const handlers = every.filter((element) => [...element.attributes].some(acts));
  const sources = [...bubble.querySelectorAll("[src]")];
  const remote = sources.filter((element) => !element.getAttribute("src").startsWith("data:image/"));
  const safe = (a) => /^(https?|mailto):/.test(a.getAttribute("href")) && a.rel.includes("noopener");
  const loose = [...bubble.querySelectorAll("a[href]")].filter((a) => !safe(a));
  const fixed = every.filter((element) => ["fixed", "sticky"].includes(getComputedStyle(element).position));
  const named = bubble.querySelectorAll("[name], [id]:not(code)");
  const told = (elements) => [...elements].map((element) => element.outerHTML.slice(0, 120));
  return {
    outside: told(outside),
    dangerous: told([...every.filter((element) => element.matches(tags)), ...handlers, ...remote, ...fixed, ...named]),
    links: told(loose),
    length: turn.textContent.length,
  };
}"""
