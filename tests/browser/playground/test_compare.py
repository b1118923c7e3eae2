"""Columns that grow, stop, and are judged."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.installation import Installation
from tests.browser.playground.talking import AXE

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("browser-playground"),  # one installation serves them all
]


def test_columns_grow_stop_and_are_judged(page: Page, berth: Installation, complaints: list[str]) -> None:
    page.goto(f"{berth.url}/playground/compare/")
    page.get_by_role("button", name="Column", exact=True).click()
    for number in range(3):
        page.get_by_role("combobox", name=f"Column {number + 1}").select_option("parrot")
    prompt = page.get_by_label("Your prompt")
    prompt.fill("hold")
    prompt.press("Enter")
    answers = page.locator(".compare-column .turn-assistant")
    expect(answers).to_have_count(3)
    for number in range(3):
        expect(answers.nth(number)).to_contain_text("one two three")
    # One column stops, then all; a reload meanwhile loses nothing.
    page.locator("[data-stop-one]").nth(1).click()
    expect(answers.nth(1)).to_have_attribute("aria-busy", "false")
    page.wait_for_url(re.compile(r"/playground/compare/\d+/"))
    page.reload()
    expect(answers.nth(0)).to_contain_text("one two three")
    expect(answers.nth(0)).to_have_attribute("aria-busy", "true")
    page.get_by_role("button", name="Stop all").click()
    expect(page.locator("[data-rows] tr").nth(2)).to_contain_text("stopped")
    # A set of prompts, the vote about its last one, both ways to scroll.
    page.get_by_label("a set: one prompt a line").check()
    prompt.fill("markdown\nmarkdown")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("[data-place]")).to_have_text("3 of 3", timeout=30_000)
    expect(page.get_by_role("button", name="Send")).to_be_visible(timeout=30_000)
    page.get_by_role("button", name="2: parrot is best").click()
    # Three columns at 800 px: nothing of figures and votes is behind the composer.
    page.evaluate("scrollTo(0, 0)")
    votes, composer = (page.locator(name).bounding_box() for name in (".compare-votes", "[data-composer]"))
    assert votes
    assert composer
    assert votes["y"] + votes["height"] <= composer["y"]
    page.reload()
    expect(page.get_by_role("button", name="2: parrot is best")).to_have_attribute("aria-pressed", "true")
    bodies = page.locator(".compare-body")
    bodies.nth(0).hover()
    page.mouse.wheel(0, 4000)
    page.wait_for_function("() => document.querySelectorAll('.compare-body')[2].scrollTop > 50")
    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_role("button", name="3: parrot", exact=True).click()
    expect(bodies.nth(2)).to_be_in_viewport(ratio=0.3)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    page.evaluate(AXE.read_text())
    violations = page.evaluate("axe.run().then((found) => found.violations.map((each) => each.id))")
    assert violations == []
    assert complaints == []
