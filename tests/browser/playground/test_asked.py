"""What was asked stands on the page at once, before the server has it."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.installation import Installation
from tests.browser.playground.talking import ask, complete, fresh

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("browser-playground"),  # one installation serves them all
]


class Held:
    """Questions to the server that matches ``address`` are held back until :meth:`let_go` or :meth:`refuse`."""

    def __init__(self, page: Page, address: str) -> None:
        self._routes: list[Route] = []
        page.route(re.compile(rf"/playground/{address}$"), self._hold)

    def _hold(self, route: Route) -> None:
        # A method of its own: Playwright cannot keep its handle on a built-in one.
        self._routes.append(route)

    def let_go(self) -> None:
        self._routes.pop().continue_()

    def refuse(self, status: int, sentence: str) -> None:
        body = json.dumps({"error": sentence, "fields": {}})
        self._routes.pop().fulfill(status=status, content_type="application/json", body=body)


def test_a_message_is_shown_before_the_server_has_it(page: Page, berth: Installation) -> None:
    fresh(page, berth)
    held = Held(page, "say/")
    answer = ask(page, "Hello")
    expect(page.locator("#prompt")).to_have_value("")
    expect(page.locator(".turn-user")).to_contain_text("Hello")
    expect(answer).to_have_attribute("aria-busy", "true")
    expect(answer.locator("[data-waiting]")).to_be_visible()
    expect(page.locator("[data-stop]")).to_be_visible()
    element = answer.element_handle()
    held.let_go()
    complete(answer)
    assert element.evaluate("(element) => element.isConnected"), "the answer was drawn anew"
    page.wait_for_url("**/playground/c/*/")
    expect(page.locator(".turn")).to_have_count(2)
    numbers = [int(turn.get_attribute("data-message") or 0) for turn in page.locator(".turn").all()]
    assert numbers[1] == numbers[0] + 1 < 2**31
    page.unroute(re.compile("/playground/say/$"))
    page.locator(".turn-user [data-edit]").click()
    page.locator("#prompt").fill("Hello again")
    page.locator("#prompt").press("Enter")
    expect(page.locator(".turn-user [data-branch-place]")).to_have_text("2/2")
    complete(page.locator(".turn-assistant"))


def test_what_the_server_refuses_goes_and_the_text_stays(page: Page, berth: Installation) -> None:
    fresh(page, berth)
    complete(ask(page, "Hello"))
    held = Held(page, "say/")
    ask(page, "One more")
    expect(page.locator(".turn")).to_have_count(4)
    expect(page.locator("#prompt")).to_have_value("")
    page.locator("#prompt").fill("and this")
    held.refuse(409, "8 answers are under way. Stop one, or wait.")
    expect(page.locator(".turn")).to_have_count(2)
    expect(page.locator("[data-notice-line]")).to_have_text("8 answers are under way. Stop one, or wait.")
    expect(page.locator("#prompt")).to_have_value("One more\nand this")
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible()


def test_another_answer_is_the_newest_version_at_once(page: Page, berth: Installation) -> None:
    fresh(page, berth)
    first = complete(ask(page, "Hello"))
    held = Held(page, "again/")
    first.get_by_role("button", name="Try again").click()
    place = page.locator(".turn-assistant [data-branch-place]")
    expect(place).to_have_text("2/2")
    expect(page.locator(".turn")).to_have_count(2)
    held.let_go()
    complete(page.locator(".turn-assistant"))
    expect(place).to_have_text("2/2")


def test_a_stop_before_the_server_has_the_question_stops_it(page: Page, berth: Installation) -> None:
    fresh(page, berth)
    held = Held(page, "say/")
    answer = ask(page, "hold")
    page.locator("[data-stop]").click()
    expect(answer).to_have_attribute("aria-busy", "true")
    held.let_go()
    complete(answer)
    expect(answer.locator("[data-mark]")).to_contain_text("stopped")
