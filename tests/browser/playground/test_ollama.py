"""Ollama's own protocol in the chat: thinking, its options, pictures, tools, its failures."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.installation import Installation
from tests.browser.playground.talking import ask, complete, fresh

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("browser-playground"),  # one installation serves them all
]


def test_thinking_options_pictures_and_calls(
    page: Page, berth: Installation, complaints: list[str], tmp_path: Path
) -> None:
    fresh(page, berth, "llama")
    page.locator(".parameter-ollama summary").click()
    page.locator("[name=think]").select_option("true")
    page.locator("[name=ollama_options]").fill('{"num_ctx": 4096}')
    answer = complete(ask(page, "repeat"))
    expect(answer.locator("[data-reasoning]")).to_be_hidden()
    answer.get_by_text("Reasoning").click()
    expect(answer.locator("[data-reasoning]")).to_have_text("First I think. Then I speak.")
    # What the server was asked with.
    asked = json.loads(answer.locator("[data-text]").inner_text())
    assert (asked["think"], asked["options"]["num_ctx"]) == (True, 4096)
    assert asked["model"] == "tiny-llama"
    expect(answer.locator("[data-figures]")).to_contain_text("7 + 3")
    boat = tmp_path / "boat.png"
    written = io.BytesIO()
    Image.new("RGB", (40, 20)).save(written, format="PNG")
    boat.write_bytes(written.getvalue())
    page.locator("[data-picture-file]").set_input_files([boat])
    expect(page.locator(".composer-picture")).to_have_count(1)
    answer = complete(ask(page, "look"))
    expect(answer.locator("[data-text]")).to_have_text("I see 1 pictures")
    answer = complete(ask(page, "tool"))
    expect(answer.locator("[data-call-name]")).to_have_text("tide")
    assert json.loads(answer.locator("[data-call-arguments]").inner_text()) == {"at": "noon"}
    assert complaints == []


def test_what_goes_wrong_is_kept_and_said(page: Page, berth: Installation) -> None:
    fresh(page, berth, "llama")
    answer = complete(ask(page, "die"))
    expect(answer.locator("[data-text]")).to_have_text("one two three")
    expect(answer.locator("[data-mark]")).to_contain_text("interrupted")
    answer = complete(ask(page, "fail"))
    expect(answer.locator("[data-error]")).to_contain_text("an error was encountered while running the model")
    answer = complete(ask(page, "refuse"))
    expect(answer.locator("[data-error]")).to_contain_text("model requires more system memory")
