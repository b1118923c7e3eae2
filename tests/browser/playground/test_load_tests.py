"""Load tests: begun, watched, cancelled and compared."""

from __future__ import annotations

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


def test_a_load_test_is_begun_watched_compared_and_cancelled(
    page: Page, berth: Installation, complaints: list[str]
) -> None:
    def begin(**fields: str) -> None:
        page.goto(f"{berth.url}/playground/load/?config=parrot")
        for label, text in {"Users at once, a level each": "1,2", "Requests a level": "4", **fields}.items():
            page.get_by_label(label).fill(text)
        page.get_by_role("button", name="Begin").click()
        page.wait_for_url("**/playground/load/*/")

    begin()
    begin_row = page.locator(".load-levels tbody tr")
    expect(begin_row).to_have_count(2)
    expect(page.locator(".chip")).to_contain_text("done")
    expect(page.locator(".load-chart canvas")).to_have_count(2)
    # A second run, on its way: cancelled, it keeps what came.
    begin(**{"Requests a level": "5000"})
    expect(page.locator("tr.load-live")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".chip")).to_contain_text("cancelled")
    expect(begin_row).to_have_count(1)
    # Both in one chart, told apart by more than their colour; the choice stands in the address.
    page.goto(f"{berth.url}/playground/load/")
    marks = page.locator(".load-legend li")
    expect(marks).to_have_count(2)
    dashes = page.locator(".load-dash").evaluate_all("each => each.map((path) => path.getAttribute('class'))")
    assert len(set(dashes)) == 2
    page.get_by_label("parrot #1", exact=True).uncheck()
    expect(marks).to_have_count(1)
    page.wait_for_function("() => location.search.includes('run=2') && !location.search.includes('run=1')")
    page.reload()
    expect(marks).to_have_count(1)
    page.evaluate(AXE.read_text())
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        violations = page.evaluate("axe.run().then((found) => found.violations.map((each) => each.id))")
        assert violations == []
    assert complaints == []
