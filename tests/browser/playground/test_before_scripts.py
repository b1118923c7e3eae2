"""What a person types before the page's scripts ran stays, and a press then takes nothing away."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.installation import Installation

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("browser-playground"),  # one installation serves them all
]

TYPED = '{"model": "parrot", "messages": []}'


@pytest.mark.parametrize(
    ("script", "address", "label"),
    [
        ("chat", "", "Your message"),
        ("compare", "compare/", "Your prompt"),
        ("images", "images/?config=retoucher", "Prompt"),
        ("raw", "raw/?config=parrot", "Body, as JSON"),
    ],
)
def test_what_is_typed_before_the_scripts_ran_stays(
    page: Page, berth: Installation, script: str, address: str, label: str
) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route(re.compile(rf"/js/playground/{script}\.[0-9a-f]+\.js"), hold)
    page.goto(f"{berth.url}/playground/{address}", wait_until="commit")
    field = page.get_by_label(label, exact=True)
    field.fill(TYPED)
    if script != "images":
        page.get_by_role("button", name="Send", exact=True).click()
    at = page.url
    (route,) = held
    route.continue_()
    page.wait_for_load_state("load")
    expect(page.locator("[data-live-mark]")).to_have_attribute("data-state", "live")
    expect(field).to_have_value(TYPED)
    assert page.url == at
    if script == "raw":
        expect(page.locator("[data-code]")).to_contain_text('"messages": []')
