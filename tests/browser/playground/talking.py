"""What the playground's browser tests share: a conversation, a question, its answer."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from playwright.sync_api import Locator, Page, expect

from tests.browser.installation import Installation

AXE: Final = Path(__file__).parents[3] / "node_modules" / "axe-core" / "axe.min.js"


def fresh(page: Page, berth: Installation, config: str = "parrot") -> None:
    """A new conversation with ``config``."""
    page.goto(f"{berth.url}/playground/?config={config}")
    expect(page.locator("[data-live-mark]")).to_have_attribute("data-state", "live")


def ask(page: Page, text: str) -> Locator:
    """Send ``text``; gives the answer that begins."""
    answers = page.locator(".turn-assistant")
    before = answers.count()
    page.locator("#prompt").fill(text)
    page.locator("#prompt").press("Enter")
    answer = answers.nth(before)
    expect(answer).to_be_attached()
    return answer


def complete(answer: Locator) -> Locator:
    """Wait until ``answer`` is over."""
    expect(answer).to_have_attribute("aria-busy", "false", timeout=60_000)
    return answer
