"""axe-core on every page of the playground, wide and narrow, in both themes; and everything by keys."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import arrive_whole
from tests.browser.installation import Installation
from tests.browser.playground.talking import AXE, ask, complete, fresh

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("browser-playground"),  # one installation serves them all
]


def an_open_chat(page: Page, berth: Installation) -> str:
    """The address of a conversation with a bit of everything, shared."""
    fresh(page, berth)
    complete(ask(page, "reason"))
    complete(ask(page, "tool"))
    complete(ask(page, "markdown"))
    complete(ask(page, "die"))
    page.wait_for_url("**/playground/c/*/")
    address = page.url
    page.goto(address)
    page.get_by_text("This conversation").locator("..").click()
    page.get_by_role("button", name="Share what is shown").click()
    expect(page.locator(".chat-link")).to_be_visible()
    return address


def a_comparison(page: Page, berth: Installation) -> str:
    """The address of a comparison with a round that was judged."""
    page.goto(f"{berth.url}/playground/compare/")
    page.locator("#prompt").fill("markdown")
    page.locator("#prompt").press("Enter")
    page.wait_for_url("**/playground/compare/*/")
    page.get_by_role("button", name="Tie").click()
    expect(page.get_by_role("button", name="Tie")).to_have_attribute("aria-pressed", "true")
    return page.url


def an_image(page: Page, berth: Installation) -> tuple[str, str]:
    """The address of an image in its drawer, and of the page that its owner shares."""
    page.goto(f"{berth.url}/playground/images/?config=retoucher")
    page.get_by_label("Prompt", exact=True).fill("a pier for everybody")
    page.get_by_label("Prompt", exact=True).press("Control+Enter")
    tile = page.get_by_alt_text("a pier for everybody").locator("..")
    expect(tile).to_be_visible()
    number = (tile.get_attribute("href") or "").rstrip("/").rpartition("/")[2]
    tile.click()
    page.locator("[data-image-drawer]").get_by_role("button", name="Share by link").click()
    shared = page.locator(".image-link a")
    expect(shared).to_be_visible()
    return f"{berth.url}/playground/images/?image={number}", f"{berth.url}{shared.get_attribute('href')}"


def test_axe_finds_nothing_and_nothing_scrolls_sideways(browser: Browser, page: Page, berth: Installation) -> None:
    chat = an_open_chat(page, berth)
    shared = page.locator(".chat-link a").get_attribute("href")
    addresses = [
        f"{berth.url}/playground/",
        chat,
        f"{berth.url}{shared}",
        a_comparison(page, berth),
        f"{berth.url}/playground/compare/",
        *an_image(page, berth),
        f"{berth.url}/playground/images/",
        f"{berth.url}/playground/raw/?config=parrot",
        f"{berth.url}/playground/raw/?config=retoucher&path=/v1/images/edits",
        f"{berth.url}/playground/load/",
    ]
    found: dict[str, Any] = {}
    themes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for theme in themes:
        context = browser.new_context(storage_state=page.context.storage_state(), color_scheme=theme, bypass_csp=True)
        for width in (1280, 390):
            found |= looked_at(context, addresses, width, theme)
        context.close()
    assert found == {}


def looked_at(context: BrowserContext, addresses: list[str], width: int, theme: str) -> dict[str, Any]:
    """What axe and the ruler find."""
    found: dict[str, Any] = {}
    page = context.new_page()
    arrive_whole(page)
    page.set_viewport_size({"width": width, "height": 844})
    for address in addresses:
        page.goto(address)
        page.add_script_tag(path=AXE)
        violations = page.evaluate(
            "axe.run(document, {resultTypes: ['violations']})"
            ".then((result) => result.violations.map((each) => [each.id, each.nodes[0].html]))"
        )
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if violations or wide > 0:
            found[f"{address} {width} {theme}"] = (violations, wide)
    page.close()
    return found
