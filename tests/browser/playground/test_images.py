"""Images over every kind of engine: OpenAI's address, ComfyUI, stable-diffusion-webui."""

from __future__ import annotations

import io
from collections.abc import Callable

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


def paint_by_pointer(page: Page) -> None:
    box = page.locator("canvas").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 5, box["y"] + box["height"] / 2)
    page.mouse.up()


def paint_by_keyboard(page: Page) -> None:
    brush, state = page.locator("[data-brush-ring]"), page.locator("[data-brush-state]")
    expect(brush).to_be_hidden()
    page.get_by_label("Brush").focus()
    page.keyboard.press("Shift+Tab")
    expect(page.locator("canvas")).to_be_focused()
    expect(brush).to_be_visible()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Space")
    expect(state).to_have_text("The brush is down.")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    expect(state).to_have_text("The brush is lifted.")
    # What it passes now stays as it is.
    for _step in range(60):
        page.keyboard.press("ArrowDown")


@pytest.mark.parametrize("paint", [paint_by_pointer, paint_by_keyboard])
def test_an_image_is_drawn_opened_and_edited(
    page: Page, berth: Installation, complaints: list[str], paint: Callable[[Page], None]
) -> None:
    page.goto(f"{berth.url}/playground/images/?config=retoucher")
    prompt = f"a boat <img src=x onerror=alert(1)> {paint.__name__}"
    page.get_by_label("Prompt", exact=True).fill(prompt)
    page.get_by_role("button", name="Draw").click()
    drawn = page.get_by_alt_text(prompt)
    expect(drawn).to_be_visible()
    drawn.click()
    drawer = page.locator("[data-image-drawer]")
    expect(drawer).to_contain_text(prompt)
    page.keyboard.press("Escape")
    expect(drawer).to_have_count(0)
    drawn.click()
    drawer.get_by_role("link", name="Edit").click()
    paint(page)
    page.get_by_label("Prompt", exact=True).fill(f"a white sail {paint.__name__}")
    page.get_by_role("button", name="Draw").click()
    edited_tile = page.get_by_alt_text(f"a white sail {paint.__name__}")
    expect(edited_tile).to_be_visible()
    source = (edited_tile.get_attribute("src") or "").removesuffix("small/")
    answer = page.request.get(f"{berth.url}{source}")
    with Image.open(io.BytesIO(answer.body())) as edited:
        colours = {edited.convert("RGB").getpixel(place) for place in ((256, 256), (5, 500))}
    # White where there was paint, as it was elsewhere.
    assert (255, 255, 255) in colours
    assert len(colours) == 2
    assert complaints == []


@pytest.mark.parametrize("config", ["comfy", "webui"])
def test_an_engine_tells_its_steps_and_its_seed(
    page: Page, berth: Installation, complaints: list[str], config: str
) -> None:
    page.goto(f"{berth.url}/playground/images/?config={config}")
    prompt = f"a lighthouse of {config}"
    page.get_by_label("Prompt", exact=True).fill(prompt)
    page.get_by_label("Negative prompt").fill("fog")
    page.get_by_label("Size").fill("64x64")
    page.get_by_label("Seed").fill("42")
    page.get_by_label("Steps").fill("8")
    page.get_by_role("button", name="Draw").click()
    card = page.locator(".image-card").filter(has_text=prompt)
    expect(card.locator("[data-image-step]")).to_contain_text("of 8")
    tile = page.get_by_alt_text(prompt)
    expect(tile).to_be_visible()
    tile.click()
    drawer = page.locator("[data-image-drawer]")
    expect(drawer).to_contain_text("fog")
    expect(drawer).to_contain_text("42")
    drawer.get_by_role("link", name="Again with this seed").click()
    expect(page.get_by_label("Seed")).to_have_value("42")
    expect(page.get_by_label("Prompt", exact=True)).to_have_value(prompt)
    assert complaints == []


def test_images_that_are_there_at_once_are_shown(page: Page, berth: Installation, complaints: list[str]) -> None:
    """A quick engine is done before the page has dressed what it put in: nothing may wait for a turn for good."""
    page.goto(f"{berth.url}/playground/images/?config=retoucher")
    for number in range(8):
        page.get_by_label("Prompt", exact=True).fill(f"a quick boat, the {number}.")
        page.get_by_role("button", name="Draw").click()
        expect(page.get_by_alt_text(f"a quick boat, the {number}.")).to_be_visible()
    expect(page.locator("[data-image-job]")).to_have_count(0)
    assert complaints == []
