"""What changes between a page's drawing and its subscription is shown all the same."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.installation import Installation
from tests.browser.test_main_job import CONFIG, phase, row

HOLD_BACK = """
  const send = WebSocket.prototype.send;
  window.asked = [];
  WebSocket.prototype.send = function (text) { window.asked.push(() => send.call(this, text)); };
"""


def test_a_change_before_the_page_is_subscribed_is_shown(page: Page, berth: Installation) -> None:
    page.add_init_script(HOLD_BACK)
    page.goto(f"{berth.url}/catalogue/")
    page.wait_for_function("window.asked.length > 0")
    page.evaluate("window.stillTheSamePage = true")
    berth.command("start", CONFIG, "--wait")
    page.evaluate("for (const ask of window.asked) ask()")
    expect(phase(row(page), "ready")).to_be_visible()
    assert page.evaluate("window.stillTheSamePage") is True
    berth.command("stop", CONFIG, "--wait")
