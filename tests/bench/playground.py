"""The playground in Chromium over scripted models: ``python -m tests.bench.playground`` (about a minute).

Three things: how much later than with curl the first token is on the screen, what a frame costs while three answers
grow, and what a page weighs. Everything that answers is a script, so that a model's own time is in none of it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
from dataclasses import dataclass
from typing import Any, Final

from playwright.sync_api import Browser, BrowserContext, Page, StorageState, expect, sync_playwright

from tests.browser.conftest import FLAGS, sign_in
from tests.browser.installation import Installation
from tests.browser.playground.servers import SERVERS, serving_alone
from tests.requirements import PROBES

from .playground_frames import Frames, frames_in
from .playground_weight import PAGES, weight_of

Row = tuple[str, str, str]
ROUNDS: Final = 30
TOKENS_PER_S: Final = 200
COLUMNS: Final = 3
TRACED_S: Final = 10
SAID: Final = "Hello"
#: From the press of Enter, by the clock of the browser for input, until the browser says that it painted the answer's
#: first words (Element Timing): a callback for the next frame would come one frame late for what a frame itself draws.
#: What is drawn anew before it is painted is marked anew.
WATCH: Final = """() => {
  window.tookMs = new Promise((resolve, reject) => {
    let pressed;
    setTimeout(reject, 20000, new Error("no word was painted"));
    addEventListener("keydown", (event) => { pressed = event.timeStamp; }, { capture: true, once: true });
    const before = document.querySelectorAll(".turn-assistant").length;
    const marking = new MutationObserver(() => {
      const words = document.querySelectorAll(".turn-assistant")[before]?.querySelector("[data-text] p");
      if (words?.textContent) words.setAttribute("elementtiming", "first words");
    });
    marking.observe(document.querySelector("[data-turns]"), { childList: true, subtree: true, characterData: true });
    const painted = new PerformanceObserver((list) => {
      painted.disconnect();
      marking.disconnect();
      resolve(list.getEntries()[0].renderTime - pressed);
    });
    painted.observe({ type: "element" });
  });
}"""


@dataclass(frozen=True, kw_only=True)
class FirstTokens:
    """Milliseconds, round by round: by curl, on the screen in a new conversation, and in one that goes on."""

    curl_ms: list[float]
    begun_ms: list[float]
    going_on_ms: list[float]

    @property
    def rows(self) -> list[Row]:
        """Lines of the table; what is added is the difference within a round."""
        lines: list[Row] = [
            ("first token by curl: median", f"{statistics.median(self.curl_ms):.1f} ms", ""),
            ("  p95", f"{_p95(self.curl_ms):.1f} ms", ""),
        ]
        for name, screen in (("a new conversation", self.begun_ms), ("its second question", self.going_on_ms)):
            added = [shown - first for shown, first in zip(screen, self.curl_ms, strict=True)]
            lines += [
                (f"Enter to first token on screen, {name}: median", f"{statistics.median(screen):.1f} ms", ""),
                ("  over curl in the same round: median", f"{statistics.median(added):.1f} ms", "30 ms"),
                ("  p95", f"{_p95(added):.1f} ms", ""),
            ]
        return lines


def _p95(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.95)]


def playground_rows(*, rounds: int = ROUNDS) -> list[Row]:
    """Every figure with its target, as rows of the bench's table."""
    if PROBES["chromium"][0]() is None or shutil.which("curl") is None:
        return [("playground: left out, this machine lacks chromium or curl", "", "")]
    with (
        serving_alone(SERVERS[:1]) as berth,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=PROBES["chromium"][0](), args=FLAGS)
        expect.set_options(timeout=60_000)
        state = sign_in(browser, berth)
        context = browser.new_context(storage_state=state, locale="en-GB", viewport={"width": 1280, "height": 800})
        rows = first_tokens(context, berth, rounds=rounds).rows
        rows += _frame_rows(frames(browser, context, berth))
        context.close()
        rows += _weight_rows(browser, state, berth)
        browser.close()
    return rows


def first_tokens(context: BrowserContext, berth: Installation, *, rounds: int) -> FirstTokens:
    """By curl and by the page in turn; the first round of each, which fills caches, does not count."""
    made = berth.command("key", "create", "bench")
    key = next(word for word in made.stdout.split() if word.startswith("berth-"))
    page = context.new_page()
    curl, begun, going_on = [], [], []
    for _round in range(rounds + 1):
        curl.append(_by_curl(berth, key))
        page.goto(f"{berth.url}/playground/?config=parrot")
        expect(page.locator("[data-live-mark]")).to_have_attribute("data-state", "live")
        begun.append(_on_screen(page))
        page.wait_for_url("**/playground/c/*/")
        # A person reads before the next question; until then the conversation has come into the list.
        expect(page.locator(".conversation-link[aria-current]")).to_be_visible()
        going_on.append(_on_screen(page))
    page.close()
    return FirstTokens(curl_ms=curl[1:], begun_ms=begun[1:], going_on_ms=going_on[1:])


def _by_curl(berth: Installation, key: str) -> float:
    """Until the answer's first byte. The process's own start is not in it."""
    body = {"model": "parrot", "messages": [{"role": "user", "content": SAID}], "stream": True}
    url = f"http://127.0.0.1:{berth.port + 1}/v1/chat/completions"
    asked = ["curl", "-sN", "-o", "/dev/null", "-w", "%{http_code} %{time_starttransfer}", url, "-d", json.dumps(body)]
    headers = ["-H", f"Authorization: Bearer {key}", "-H", "Content-Type: application/json"]
    told = subprocess.run([*asked, *headers], capture_output=True, text=True, check=True, timeout=30).stdout
    status, seconds = told.split()
    assert status == "200", told
    return 1000 * float(seconds)


def _on_screen(page: Page) -> float:
    page.locator("#prompt").fill(SAID)
    page.evaluate(WATCH)
    page.keyboard.press("Enter")
    took: float = page.evaluate("window.tookMs")
    expect(page.locator(".turn-assistant").last).to_have_attribute("aria-busy", "false")
    return took


def frames(browser: Browser, context: BrowserContext, berth: Installation) -> Frames:
    """Trace the page while three columns grow, from when each of them shows something."""
    page = context.new_page()
    page.goto(f"{berth.url}/playground/compare/")
    for _column in range(COLUMNS - 2):
        page.get_by_role("button", name="Column", exact=True).click()
    page.locator("#prompt").fill(f"pace {TOKENS_PER_S} {TOKENS_PER_S * TRACED_S * 3}")
    page.locator("#prompt").press("Enter")
    for number in range(COLUMNS):
        expect(page.locator(".compare-body [data-text]").nth(number)).not_to_be_empty()
    categories = ["toplevel", "devtools.timeline", "disabled-by-default-devtools.timeline"]
    browser.start_tracing(page=page, categories=[*categories, "disabled-by-default-devtools.timeline.frame"])
    page.wait_for_timeout(TRACED_S * 1000)
    busy = page.locator(".turn-assistant[aria-busy=true]").count()
    trace: dict[str, Any] = json.loads(browser.stop_tracing())
    assert busy == COLUMNS, f"only {busy} columns grew to the end of the trace"
    page.close()
    return frames_in(trace["traceEvents"])


def _frame_rows(seen: Frames) -> list[Row]:
    name = f"{COLUMNS} columns of {TOKENS_PER_S} tokens/s: processor per frame"
    return [
        (f"{name}, p50", f"{statistics.median(seen.cpu_ms):.1f} ms", ""),
        (f"  p95 of {len(seen.cpu_ms)}", f"{_p95(seen.cpu_ms):.1f} ms", "16 ms"),
        ("  worst", f"{max(seen.cpu_ms):.1f} ms", ""),
        ("  by the clock, others' turns with it: p95", f"{_p95(seen.work_ms):.1f} ms", ""),
        ("  from frame to frame: p95", f"{_p95(seen.apart_ms):.1f} ms", ""),
        ("  frames dropped", f"{100 * seen.dropped_share:.1f} %", ""),
    ]


def _weight_rows(browser: Browser, state: StorageState, berth: Installation) -> list[Row]:
    rows = []
    for name, address in PAGES.items():
        found = weight_of(browser, state, f"{berth.url}{address}")
        rows.append((f"page weight, compressed: {name}", f"{found.total_bytes / 1000:.0f} KB", "250 KB"))
        rows.append(("  of this scripts, styles, HTML", found.parts, ""))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of the first token")
    rows = playground_rows(rounds=parser.parse_args().rounds)
    for name, measured, wanted in rows:
        print(f"{name:70}  {measured:>16}  {wanted}")


if __name__ == "__main__":
    main()
