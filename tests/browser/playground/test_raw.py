"""Raw requests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.installation import Installation

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("browser-playground"),  # one installation serves them all
]


def test_a_raw_request_shows_its_frames_and_its_code(page: Page, berth: Installation, complaints: list[str]) -> None:
    page.goto(f"{berth.url}/playground/raw/?config=parrot")
    expect(page.locator("[data-code]")).to_contain_text("curl -N")
    body = page.get_by_label("Body, as JSON")
    body.fill('{"model": "parrot", "stream": true, "messages": [{"role": "user", "content": "hold"}]}')
    page.get_by_role("button", name="Send").click()
    shown = page.locator("[data-shown]")
    expect(shown).to_contain_text('"content": "three "')
    expect(page.locator("[data-status]")).to_have_text("200 OK")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("[data-note]")).to_have_text("stopped by you")
    page.get_by_label("Tool").select_option("openai")
    expect(page.locator("[data-code]")).to_contain_text("content': 'hold'")
    body.fill('{"model": "parrot", "messages": [{"role": "user", "content": "<img src=x>"}]}')
    body.press("Control+Enter")
    # Not streamed, so it is written to be read.
    expect(shown).to_contain_text('"content": "tiny"')
    assert complaints == []
    body.fill('{\n "model" 1}')
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("alert").filter(has_text="line 2, column 10")).to_be_visible()
    expect(shown).to_contain_text('"content": "tiny"')


def test_a_form_with_a_file_and_what_is_only_read(
    page: Page, berth: Installation, complaints: list[str], tmp_path: Path
) -> None:
    page.goto(f"{berth.url}/playground/raw/?config=retoucher&path=/v1/images/edits")
    body = page.get_by_label("Fields of the form, as JSON")
    expect(body).to_have_value(re.compile("A red sail"))
    Image.new("RGBA", (40, 20), (9, 9, 9, 0)).save(tmp_path / "sail.png")
    for name in ("image", "mask"):
        page.locator(f"[data-files] [name={name}]").set_input_files(tmp_path / "sail.png")
    expect(page.locator("[data-code]")).to_contain_text('image=@"sail.png"')
    page.get_by_role("button", name="Send").click()
    expect(page.locator("[data-status]")).to_have_text("200 OK")
    expect(page.locator("[data-shown]")).to_contain_text("b64_json")
    page.get_by_label("Address").select_option("/v1/models/retoucher")
    expect(body).to_be_hidden()
    expect(page.locator("[data-code]")).to_contain_text("/v1/models/retoucher")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("[data-shown]")).to_contain_text('"id": "retoucher"')
    page.get_by_label("Tool").select_option("openai")
    expect(page.locator("[data-code]")).to_contain_text("models.retrieve('retoucher')")
    assert complaints == []
    page.get_by_label("Address").select_option("/v1/images/edits")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("alert").filter(has_text="Choose a file for image")).to_be_visible()
