"""The GPU page in a real browser over the recording: live tiles, charts, range, cursor, small and large screens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.installation import Installation

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("browser-gpus"),  # one installation serves them all
]
AXE = Path(__file__).parent.parent.parent / "node_modules" / "axe-core" / "axe.min.js"
PHONE = {"width": 390, "height": 844}
#: Pixels that are not transparent: something was drawn.
DRAWN = """(canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let drawn = 0;
  for (let at = 3; at < data.length; at += 4) if (data[at] > 0) drawn += 1;
  return drawn;
}"""


class ReplayInstallation(Installation):
    """Its GPUs are those of the recording that comes with Berth."""

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, "BERTH_GPU_SOURCE": "replay:h200x4"}


@pytest.fixture(scope="module")
def berth(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    made = ReplayInstallation(tmp_path_factory.mktemp("berth-gpus"))
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def gpus(page: Page, berth: Installation) -> Page:
    """The GPU page, with its first charts drawn."""
    page.goto(f"{berth.url}/gpus/")
    expect(page.locator("[data-gpu]")).to_have_count(4)
    expect(page.locator("[data-gpu-charts]").first).to_have_attribute("data-drawn", "15m")
    return page


def is_wider_than_the_screen(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


def test_tiles_change_by_themselves_and_the_page_stays(gpus: Page, complaints: list[str]) -> None:
    gpus.evaluate("window.stillTheSamePage = true")
    power = gpus.locator("[data-value=power]").first
    seen = {power.inner_text()}
    for _turn in range(2):
        gpus.wait_for_function(
            "([before]) => !before.includes(document.querySelector('[data-value=power]').textContent)", arg=[list(seen)]
        )
        seen.add(power.inner_text())
    assert len(seen) == 3
    assert gpus.evaluate("window.stillTheSamePage") is True
    age = gpus.locator("[data-age-text]").first
    expect(age).to_contain_text("s old")
    assert complaints == []


def test_nothing_announces_numbers_each_second(gpus: Page) -> None:
    live = "[aria-live]:not([aria-live=off]), [role=status], [role=log], [role=alert]"
    assert gpus.locator("#gpus").locator(live).count() == 0


def test_it_says_that_it_is_a_recording(gpus: Page, berth: Installation) -> None:
    expect(gpus.get_by_text("replay: a recording, nothing of it is now")).to_be_visible()
    gpus.goto(f"{berth.url}/")
    expect(gpus.locator("#overview").get_by_text("replay", exact=True).first).to_be_visible()
    expect(gpus.locator("#overview [data-gpu]")).to_have_count(4)


def test_charts_are_drawn_and_grow(gpus: Page) -> None:
    charts = gpus.locator("[data-gpu-charts]").first
    expect(charts.locator("canvas")).to_have_count(3)
    for index in range(3):
        assert charts.locator("canvas").nth(index).evaluate(DRAWN) > 200
    charts.locator("summary").click()
    expect(charts.locator("[data-charts-table] tr")).to_have_count(6)
    expect(charts.locator("[data-charts-table] tr").nth(3)).to_contain_text("W")


def test_one_cursor_and_one_range_hold_for_all_charts(gpus: Page) -> None:
    first = gpus.locator("[data-gpu-charts]").first
    second = gpus.locator("[data-gpu-charts]").nth(1)
    second.scroll_into_view_if_needed()
    expect(second).to_have_attribute("data-drawn", "15m")
    first.locator(".u-over").first.hover(position={"x": 200, "y": 40})
    at = "(over) => over.querySelector('.u-cursor-x').style.transform"
    moved = first.locator(".u-over").first.evaluate(at)
    assert moved
    gpus.wait_for_function("() => document.querySelectorAll('.u-cursor-x:not(.u-off)').length >= 6")
    gpus.locator("[data-range='6h']").click()
    for chart in (first, second):
        expect(chart).to_have_attribute("data-drawn", "6h")
    expect(gpus.locator("[data-range='6h']")).to_have_attribute("aria-pressed", "true")
    assert "range=6h" in gpus.url
    gpus.reload()
    expect(gpus.locator("[data-gpu-charts]").first).to_have_attribute("data-drawn", "6h")


def test_another_range_is_drawn_first_where_it_is_seen_and_into_the_same_plots(gpus: Page) -> None:
    charts = gpus.locator("[data-gpu-charts]")
    gpus.set_viewport_size({"width": 1280, "height": 4000})
    expect(charts.last).to_have_attribute("data-drawn", "15m")  # all have been seen, so all are asked for again
    gpus.set_viewport_size({"width": 1280, "height": 420})
    charts.first.scroll_into_view_if_needed()
    for number in range(2):
        expect(charts.nth(number)).to_have_attribute("data-drawn", "15m")
    gpus.evaluate("document.querySelector('[data-gpu-charts] canvas').dataset.kept = '1'")
    in_view = gpus.evaluate(
        """() => [...document.querySelectorAll("[data-gpu-charts]")].filter((each) => {
            const { top, bottom } = each.getBoundingClientRect();
            return bottom > 0 && top < innerHeight;
        }).map((each) => each.dataset.series)"""
    )
    asked: list[str] = []
    gpus.on("request", lambda request: asked.append(request.url) if "/series/" in request.url else None)
    gpus.locator("[data-range='24h']").click()
    for number in range(2):
        expect(charts.nth(number)).to_have_attribute("data-drawn", "24h")
    expect(gpus.locator("[data-gpu-charts] canvas[data-kept]")).to_have_count(1)
    assert 1 <= len(in_view) < len(asked)
    assert all(any(address in url for url in asked[: len(in_view)]) for address in in_view)


def test_the_region_draws_itself_anew_without_touching_the_charts(gpus: Page) -> None:
    gpus.evaluate("document.querySelector('[data-gpu-charts] canvas').dataset.kept = '1'")
    with gpus.expect_response(lambda response: response.url.endswith("/gpus/")):
        gpus.evaluate("document.getElementById('gpus').dispatchEvent(new CustomEvent('berth:gpus'))")
    expect(gpus.locator("[data-gpu-charts] canvas[data-kept]")).to_have_count(1)


@pytest.mark.parametrize("language", ["en", "zh-hans"])
@pytest.mark.parametrize("address", ["/gpus/", "/gpus/?kiosk=1", "/"])
def test_nothing_is_wider_than_a_phone_or_a_laptop(
    page: Page, berth: Installation, address: str, language: str
) -> None:
    page.context.add_cookies([{"name": "django_language", "value": language, "url": berth.url}])
    for size in (PHONE, {"width": 1280, "height": 800}):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        page.goto(f"{berth.url}{address}")
        expect(page.locator("[data-gpu]")).to_have_count(4)
        assert not is_wider_than_the_screen(page), size
        rail = page.locator(".rail")
        assert rail.evaluate("(e) => e.scrollWidth <= e.clientWidth"), "every place is reached without scrolling"


def test_the_wall_screen_has_no_frame_and_larger_letters(page: Page, berth: Installation) -> None:
    page.set_viewport_size({"width": 1920, "height": 1080})
    page.goto(f"{berth.url}/gpus/?kiosk")
    expect(page.locator("[data-gpu]")).to_have_count(4)
    expect(page.locator(".rail")).to_be_hidden()
    expect(page.locator(".topbar")).to_be_hidden()
    assert page.locator("[data-value=power]").first.evaluate("(e) => parseFloat(getComputedStyle(e).fontSize)") > 20
    tiles = page.locator(".tiles").bounding_box()
    assert tiles is not None
    assert tiles["height"] > 1080 * 0.7, "four GPUs fill the screen"
    assert not page.evaluate("document.documentElement.scrollHeight > innerHeight")
    page.get_by_role("link", name="Leave the wall screen").click()
    expect(page.locator(".rail")).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("address", ["/gpus/", "/gpus/?kiosk=1", "/"])
def test_it_is_accessible_in_both_themes(page: Page, berth: Installation, address: str, theme: str) -> None:
    page.context.add_cookies([{"name": "berth_theme", "value": theme, "url": berth.url}])
    page.goto(f"{berth.url}{address}")
    expect(page.locator("[data-gpu]")).to_have_count(4)
    if address == "/gpus/":
        expect(page.locator("[data-gpu-charts]").first).to_have_attribute("data-drawn", "15m")
        page.locator("[data-gpu-charts] summary").first.click()
    # Run outside the page's content policy, which forbids what the checker injects.
    page.evaluate(AXE.read_text(encoding="utf-8"))
    result = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    found = [(each["id"], [node["html"] for node in each["nodes"]][:3]) for each in result["violations"]]
    assert found == []
