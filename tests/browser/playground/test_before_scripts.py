"""What a person does before the page's scripts ran counts: the text stays, and a press is done as soon as it can be."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests.browser.installation import Installation
from tests.browser.playground.talking import ask, complete, fresh

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("browser-playground"),  # one installation serves them all
]

TYPED = '{"model": "parrot", "messages": [{"role": "user", "content": "early"}]}'


class Held:
    """A page whose own script is held back."""

    def __init__(self, page: Page, berth: Installation, script: str, address: str) -> None:
        self.page = page
        self._routes: list[Route] = []
        self._script = re.compile(rf"/js/playground/{script}\.[0-9a-f]+\.js")
        page.route(self._script, self._hold)
        page.goto(f"{berth.url}/playground/{address}", wait_until="commit")

    def _hold(self, route: Route) -> None:
        # A method of its own: Playwright cannot keep its handle on a built-in one.
        self._routes.append(route)

    def field(self, label: str) -> Locator:
        """The field, with text in it."""
        field = self.page.get_by_label(label, exact=True)
        field.fill(TYPED)
        return field

    def let_go(self) -> None:
        """Let the script come, and wait until the page is live."""
        (route,) = self._routes
        route.continue_()
        self.page.unroute(self._script)
        self.page.wait_for_load_state("load")
        expect(self.page.locator("[data-live-mark]")).to_have_attribute("data-state", "live")


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
    held = Held(page, berth, script, address)
    field = held.field(label)
    at = page.url
    held.let_go()
    expect(field).to_have_value(TYPED)
    assert page.url == at
    if script == "raw":
        expect(page.locator("[data-code]")).to_contain_text('"messages": [')


def test_what_is_typed_stays_over_a_reload_where_scripts_had_added_fields(page: Page, berth: Installation) -> None:
    """A script that breaks off late has the page loaded again (static/js/complete.js), which has fewer fields then."""
    page.goto(f"{berth.url}/playground/compare/")
    expect(page.locator("[data-live-mark]")).to_have_attribute("data-state", "live")
    field = page.get_by_label("Your prompt", exact=True)
    field.fill(TYPED)
    with page.expect_navigation():
        page.evaluate("""() => {
          const missing = Object.assign(document.createElement("script"), { src: "/static/none.js" });
          document.head.append(missing);
        }""")
    expect(page.locator("[data-live-mark]")).to_have_attribute("data-state", "live")
    expect(field).to_have_value(TYPED)


@pytest.mark.parametrize("by", ["key", "button"])
def test_a_message_sent_before_the_scripts_ran_is_sent(page: Page, berth: Installation, by: str) -> None:
    held = Held(page, berth, "chat", "?config=parrot")
    field = held.field("Your message")
    send(field, by, "Enter")
    assert page.url.endswith("?config=parrot"), "a press loaded the page anew"
    expect(field).to_have_value(TYPED)
    held.let_go()
    expect(page.locator(".turn-user")).to_have_text(re.compile(re.escape(TYPED)))
    expect(page.locator(".turn-assistant")).to_have_attribute("aria-busy", "false")
    expect(field).to_have_value("")


def test_enter_with_shift_is_a_new_line_before_the_scripts_ran_too(page: Page, berth: Installation) -> None:
    held = Held(page, berth, "chat", "?config=parrot")
    field = held.field("Your message")
    field.press("Shift+Enter")
    held.let_go()
    expect(field).to_have_value(f"{TYPED}\n")
    expect(page.locator(".turn")).to_have_count(0)


def test_a_message_sent_before_a_page_is_loaded_again_is_sent(page: Page, berth: Installation) -> None:
    """As a page loads itself again of which a script did not arrive (static/js/complete.js)."""
    script = re.compile(r"/js/playground/chat\.[0-9a-f]+\.js")
    page.route(script, lambda route: route.abort())
    page.goto(f"{berth.url}/playground/?config=parrot", wait_until="commit")
    field = page.get_by_label("Your message", exact=True)
    field.fill(TYPED)
    field.press("Enter")
    page.unroute(script)
    expect(page.locator(".turn-user")).to_have_text(re.compile(re.escape(TYPED)))
    expect(page.locator(".turn-assistant")).to_have_attribute("aria-busy", "false")
    page.wait_for_url("**/playground/c/*/")
    page.reload()
    expect(page.locator(".turn-user")).to_have_count(1)


@pytest.mark.parametrize("by", ["key", "button"])
def test_a_prompt_to_compare_sent_before_the_scripts_ran_is_sent(page: Page, berth: Installation, by: str) -> None:
    held = Held(page, berth, "compare", "compare/")
    send(held.field("Your prompt"), by, "Enter")
    held.let_go()
    expect(page.locator("[data-asked]")).to_have_text(TYPED)
    page.wait_for_url("**/playground/compare/*/")


@pytest.mark.parametrize("by", ["key", "button"])
def test_a_raw_request_sent_before_the_scripts_ran_is_sent(page: Page, berth: Installation, by: str) -> None:
    held = Held(page, berth, "raw", "raw/?config=parrot")
    send(held.field("Body, as JSON"), by, "Control+Enter")
    held.let_go()
    expect(page.get_by_role("region", name="Answer", exact=True)).to_contain_text("200")


def test_an_image_asked_for_before_the_scripts_ran_is_drawn(page: Page, berth: Installation) -> None:
    held = Held(page, berth, "images", "images/?config=retoucher")
    held.field("Prompt").press("Control+Enter")
    held.let_go()
    expect(page.get_by_alt_text(TYPED)).to_be_visible()


def send(field: Locator, by: str, key: str) -> None:
    """By the key, or by the button."""
    if by == "key":
        field.press(key)
    else:
        field.page.get_by_role("button", name="Send", exact=True).click()


def test_what_is_typed_stays_when_a_page_is_loaded_again_and_a_password_is_not_kept(
    browser: Browser, berth: Installation
) -> None:
    context = browser.new_context(locale="en-GB")
    page = context.new_page()
    script = re.compile(r"/js/app\.[0-9a-f]+\.js")
    page.route(script, lambda route: route.abort())
    page.goto(f"{berth.url}/", wait_until="commit")
    page.get_by_label("Name").fill("harbour-master")
    page.get_by_label("Password").fill("never-kept")
    with page.expect_navigation():
        page.unroute(script)
    expect(page.get_by_label("Name")).to_have_value("harbour-master")
    expect(page.get_by_label("Password")).to_have_value("")
    assert "never-kept" not in page.evaluate("JSON.stringify(sessionStorage)")
    context.close()


def test_a_module_broken_off_when_it_was_first_needed_is_asked_for_again(page: Page, berth: Installation) -> None:
    breaks = iter([True, True, False])
    page.route(
        re.compile(r"/(?:highlight|katex)[^/]*/"),
        lambda route: route.abort() if next(breaks, False) else route.continue_(),
    )
    fresh(page, berth)
    answer = complete(ask(page, "markdown"))
    expect(answer.locator("code .hljs-keyword").first).to_have_text("def")
    expect(answer.locator("math")).to_have_count(2)
    assert next(breaks, None) is None, "no module was broken off"
