"""``make pictures``: the playground's pages as the READMEs show them, wide and narrow, in both languages.

Scripted models answer, so that the same sentences stand on them each time. ``--theme dark`` with another ``--out``
shows the pages as they are by night.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from tests.browser.conftest import FLAGS, sign_in
from tests.browser.installation import ROOT
from tests.browser.playground.harbour_talk import QUESTION
from tests.browser.playground.servers import Server, serving_alone
from tests.requirements import PROBES

WIDTHS: Final = {"": (1280, 800), "-narrow": (390, 844)}
LANGUAGES: Final = {"en": "en-GB", "zh-hans": "zh-CN"}
#: A picture for a page that is read on a phone, too.
LARGEST_BYTES: Final = 60_000
MODELS: Final = (
    Server("harbour-70b", "chatting_server.py", served_name="harbour-70b"),
    Server("harbour-8b", "chatting_server.py", served_name="harbour-short"),
    Server("harbour-images", "drawing_server.py", "openai-image"),
)
DRAWN: Final = {
    "en": (
        "A lighthouse at dawn, calm sea",
        "A lighthouse in a storm",
        "A harbour light at noon",
        "The old tower by night",
    ),
    "zh-hans": ("黎明时分的灯塔,海面平静", "暴风雨中的灯塔", "正午的港口灯塔", "夜色中的老灯塔"),
}
SIZES: Final = ("512x384", "384x512", "512x512", "512x640")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A page in a language; what was made for the first picture is there for the next ones."""

    page: Page
    url: str
    language: str


def chat(seen: Seen) -> None:
    """A conversation with one answer, whole."""
    _question(seen, f"{seen.url}/playground/?config=harbour-70b")
    expect(seen.page.locator(".turn-assistant")).to_have_attribute("aria-busy", "false")
    expect(seen.page.locator("[data-figures]")).to_contain_text("+")
    seen.page.evaluate("scrollTo(0, 0)")


def compare(seen: Seen) -> None:
    """One question to two models, both done, one of them voted for."""
    seen.page.goto(f"{seen.url}/playground/compare/")
    for number, config in enumerate(("harbour-70b", "harbour-8b")):
        seen.page.locator("[data-columns] [data-config]").nth(number).select_option(config)
    _question(seen)
    for number in range(2):
        expect(seen.page.locator(".turn-assistant").nth(number)).to_have_attribute("aria-busy", "false")
    best = seen.page.locator("[data-rows] [data-vote=best]").first
    best.click()
    expect(best).to_have_attribute("aria-pressed", "true")
    seen.page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    for number in range(2):
        seen.page.locator("[data-body]").nth(number).evaluate("(body) => { body.scrollTop = 0; }")


def images(seen: Seen) -> None:
    """A gallery of four."""
    seen.page.goto(f"{seen.url}/playground/images/?config=harbour-images")
    for prompt, size in zip(DRAWN[seen.language], SIZES, strict=True):
        if seen.page.get_by_alt_text(prompt).count():
            continue
        seen.page.locator("[name=prompt]").fill(prompt)
        seen.page.locator("[name=size]").fill(size)
        seen.page.locator("[data-image-composer] [type=submit]").click()
        expect(seen.page.get_by_alt_text(prompt)).to_be_visible()
    seen.page.evaluate("document.activeElement.blur()")
    seen.page.evaluate(
        """Promise.all([...document.images]
          .filter((image) => image.getBoundingClientRect().top < innerHeight)
          .map((image) => image.decode()))"""
    )


def raw(seen: Seen) -> None:
    """A stream with its frames, and the request as code."""
    seen.page.goto(f"{seen.url}/playground/raw/?config=harbour-70b")
    seen.page.locator("[data-send]").click()
    expect(seen.page.locator("[data-shown]")).to_contain_text("[DONE]")
    expect(seen.page.locator("[data-stop]")).to_be_hidden()
    seen.page.evaluate("document.activeElement.blur()")
    seen.page.locator("[data-shown]").evaluate("(shown) => { shown.scrollTop = 0; }")


def load_test(seen: Seen) -> None:
    """Two models in one chart."""
    seen.page.goto(f"{seen.url}/playground/load/")
    for config in ("harbour-70b", "harbour-8b")[seen.page.locator(".load-legend li").count() :]:
        seen.page.goto(f"{seen.url}/playground/load/?config={config}")
        seen.page.locator("[name=concurrency]").fill("1,2,4,8")
        seen.page.locator("[name=requests]").fill("16")
        seen.page.locator("form.load-form [type=submit]").click()
        seen.page.wait_for_url("**/playground/load/*/")
        expect(seen.page.locator(".load-levels tbody tr:not(.load-live)")).to_have_count(4, timeout=120_000)
        expect(seen.page.locator(".load-chart canvas")).to_have_count(2)
    seen.page.goto(f"{seen.url}/playground/load/")
    expect(seen.page.locator(".load-legend li")).to_have_count(2)
    expect(seen.page.locator(".load-chart canvas")).to_have_count(2)


PAGES: Final[dict[str, Callable[[Seen], None]]] = {
    "chat": chat,
    "compare": compare,
    "images": images,
    "raw": raw,
    "load-test": load_test,
}


def _question(seen: Seen, address: str = "") -> None:
    if address:
        seen.page.goto(address)
    expect(seen.page.locator("[data-live-mark]")).to_have_attribute("data-state", "live")
    seen.page.locator("#prompt").fill(QUESTION[seen.language])
    seen.page.locator("#prompt").press("Enter")


def take_pictures(out: Path, *, theme: str, names: list[str]) -> list[Path]:
    """Write every picture below ``out``; gives the files."""
    written = []
    with (
        serving_alone(MODELS) as berth,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=PROBES["chromium"][0](), args=FLAGS)
        expect.set_options(timeout=60_000)
        state = sign_in(browser, berth)
        for language, locale in LANGUAGES.items():
            for end, (width, height) in WIDTHS.items():
                context = browser.new_context(
                    locale=locale,
                    storage_state=state,
                    color_scheme="dark" if theme == "dark" else "light",
                    viewport={"width": width, "height": height},
                    reduced_motion="reduce",
                )
                for name in names:
                    page = context.new_page()
                    PAGES[name](Seen(page=page, url=berth.url, language=language))
                    file = out / f"playground-{name}{end}{'-zh' if language != 'en' else ''}.webp"
                    written.append(_kept(page, file))
                    page.close()
                context.close()
        browser.close()
    return written


def _kept(page: Page, file: Path) -> Path:
    shot = Image.open(io.BytesIO(page.screenshot(animations="disabled"))).convert("RGB")
    shot.save(file, lossless=True, method=6)
    if file.stat().st_size > LARGEST_BYTES:
        shot.save(file, quality=85, method=6)
    assert file.stat().st_size <= LARGEST_BYTES, f"{file.name} has {file.stat().st_size} bytes"
    return file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures")
    parser.add_argument("--theme", choices=("light", "dark"), default="light")
    parser.add_argument("pages", nargs="*", default=list(PAGES), metavar="PAGE", help=", ".join(PAGES))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for file in take_pictures(options.out, theme=options.theme, names=options.pages):
        print(f"{file.stat().st_size:7,} bytes  {file}")


if __name__ == "__main__":
    main()
