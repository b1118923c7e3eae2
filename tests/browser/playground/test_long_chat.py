"""A chat of 500 messages."""

from __future__ import annotations

import re
import statistics

import pytest
from playwright.sync_api import Page, expect

from tests.browser.installation import Installation
from tests.browser.playground.talking import ask, complete, fresh

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("browser-playground"),  # one installation serves them all
]


def test_a_long_chat_stays_quick(page: Page, berth: Installation) -> None:
    """With 500 messages a press is drawn within 50 ms, or as soon as in an empty chat where the machine is slower."""
    fresh(page, berth)
    empty_ms = typing(page)
    complete(ask(page, "Hello"))
    page.wait_for_url(re.compile("/playground/c/"))
    number = int(page.url.rstrip("/").rpartition("/")[2])
    grown = berth.command("shell", "-c", GROW.format(number=number))
    assert grown.returncode == 0, grown.stderr
    page.reload()
    expect(page.locator(".turn")).to_have_count(502)
    expect(page.locator(".turn-assistant").first.locator("table").first).to_be_attached(timeout=60_000)
    long_ms = typing(page)
    assert long_ms <= max(50, empty_ms * 1.5), (long_ms, empty_ms)


def typing(page: Page) -> float:
    """The median time from a press to what it draws, in milliseconds, as the browser measures it."""
    page.evaluate(
        """() => {
          window.drawn = [];
          window.watcher?.disconnect();
          window.watcher = new PerformanceObserver((list) => {
            for (const entry of list.getEntries()) if (entry.name === "keydown") window.drawn.push(entry.duration);
          });
          window.watcher.observe({type: "event", durationThreshold: 16, buffered: false});
        }"""
    )
    field = page.locator("#prompt")  # found by its label, every message would be laid out to look for labels
    field.press_sequentially("A press is drawn at once, however long the chat is.", delay=20)
    field.fill("")
    # Presses below the threshold are not told: each counts as its 16 ms.
    told: list[float] = page.evaluate("window.drawn")
    return statistics.median([*told, *[16.0] * max(0, 51 - len(told))])


GROW = """
from playground.models import Answer, Conversation, Message
chat = Conversation.objects.get(pk={number})
parent = chat.leaf
table = "| a | b |\\n|---|---|\\n| 1 | 2 |"
text = f"# Title\\n\\nSome *words* and `code`.\\n\\n{{table}}\\n\\n```python\\nx = 1\\n```\\n" * 2
for count in range(250):
    said = Message.objects.create(conversation=chat, parent=parent, role="user", content="Another question")
    parent = Message.objects.create(conversation=chat, parent=said, role="assistant", content=text)
    Answer.objects.create(message=parent, config="parrot", protocol="openai-text", state="done")
Conversation.objects.filter(pk=chat.pk).update(leaf=parent)
Answer.objects.filter(message__conversation=chat).update(state="done")
first = Answer.objects.filter(message__conversation=chat).order_by("pk").first()
Message.objects.filter(pk=first.pk).update(content=text)
"""
