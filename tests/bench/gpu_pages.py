"""The GPU page in Chromium over the recording: from a reading to the changed pixel, and a range of seven days drawn.

The browser and the agent share the machine's clock. A reading's own time is taken right after the driver, here the
recording, has answered for all GPUs.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from playwright.sync_api import Page

from tests.requirements import PROBES

from .browser import signed_in_page
from .gpu_history import fill_week
from .installation import Installation

WATCHED_S = 60
DRAWN_ROUNDS = 7
#: Seconds from the newest reading that the page holds to the change that it made in the document.
WATCH = """async () => {
  const { subscribe } = await import("berth/gpus/feed");
  window.delays = [];
  let newest = 0;
  subscribe((state) => { for (const node of state.nodes.values()) newest = Math.max(newest, node.at); });
  let counted = 0;
  const look = () => {
    if (newest <= counted) return;
    counted = newest;
    window.delays.push(Date.now() / 1000 - newest);
  };
  new MutationObserver(look).observe(document.querySelector("[data-gpu]").parentElement, {
    childList: true, subtree: true, characterData: true, attributes: true,
  });
}"""
#: Milliseconds from the press on a range until the first GPU's charts have it, one frame later.
DRAW = """(name) => new Promise((resolve) => {
  const charts = document.querySelector("[data-gpu-charts]");
  const began = performance.now();
  const seen = new MutationObserver(() => {
    if (charts.dataset.drawn !== name) return;
    seen.disconnect();
    requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - began)));
  });
  seen.observe(charts, { attributes: true });
  document.querySelector(`[data-range="${name}"]`).click();
})"""


@dataclass(frozen=True, kw_only=True)
class GpuPages:
    """Seconds from a reading to the document, and milliseconds for a range."""

    delays_s: list[float]
    week_ms: list[float]

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        """Lines of the table."""
        ordered = sorted(self.delays_s)
        p95 = ordered[int(len(ordered) * 0.95)]
        return [
            ("GPU reading to pixel: p50", f"{statistics.median(ordered) * 1000:.0f} ms", ""),
            (f"  p95 of {len(ordered)}", f"{p95 * 1000:.0f} ms", "250 ms"),
            ("range of 7 days pressed to drawn: median", f"{statistics.median(self.week_ms):.0f} ms", "200 ms"),
            ("  worst", f"{max(self.week_ms):.0f} ms", ""),
        ]


def gpu_page_rows(installation: Installation) -> list[tuple[str, str, str]]:
    """The figures as lines of the table, of an installation that replays the recording."""
    if PROBES["chromium"][0]() is None:
        return [("GPU pages: left out, this machine lacks chromium", "", "")]
    return gpu_page_figures(installation).rows


def gpu_page_figures(installation: Installation) -> GpuPages:
    """Watch the live page for a minute, then choose the week again and again."""
    with signed_in_page(installation) as page:
        # So low that the charts of one GPU are near enough to be asked for: those of others draw at the same time.
        page.set_viewport_size({"width": 1280, "height": 360})
        page.goto(f"{installation.url}/gpus/")
        page.locator("[data-gpu-charts]").first.scroll_into_view_if_needed()
        page.wait_for_selector("[data-gpu-charts][data-drawn]")
        page.evaluate(WATCH)
        page.wait_for_timeout(WATCHED_S * 1000)
        delays: list[float] = page.evaluate("window.delays")
        charts = page.locator("[data-gpu-charts]")
        uuids = [str(charts.nth(number).get_attribute("data-uuid")) for number in range(charts.count())]
        node = str(charts.first.get_attribute("data-node"))
        data = installation.home / "data"
        fill_week((data / "run" / "redis.url").read_text().strip(), str(data), node=node, uuids=uuids)
        weeks = [_drawn_ms(page) for _ in range(DRAWN_ROUNDS)]
    return GpuPages(delays_s=delays, week_ms=weeks)


def _drawn_ms(page: Page) -> float:
    page.evaluate(DRAW, "6h")
    page.wait_for_timeout(1500)  # the other GPUs' charts draw too
    took: float = page.evaluate(DRAW, "7d")
    page.wait_for_timeout(1500)
    return took
