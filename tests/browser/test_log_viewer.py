"""The log of a run in a real browser: follows, rests, finds, leads to a line; and what a log prints stays text."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.installation import Installation, installed
from tests.chaos.control import Control
from tests.deployments.benches import wait_for

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("browser-log"),  # one installation serves them all
]
SERVER = Path(__file__).with_name("talking_server.py")
FIRST_LINES = 3000
CATALOGUE = f"""\
models:
  - name: Tiny
configs:
  - name: talker
    model: Tiny
    protocol: openai-text
    engine: custom
    runtime: process
    image: none
    served_name: tiny
    arguments: [{sys.executable}, {SERVER}, --port, "{{port}}", --lines, "{FIRST_LINES}"]
    port: 9000
    readiness_path: /health
    load_timeout_s: 60
    grace_s: 5
"""
HOSTILE = "<script>window.harm = 1</script><img src=x onerror='window.harm = 2'> \u202egnp.exe\u202c"
COLOURED = (
    "\x1b[1;31mERROR\x1b[0m \x1b[38;2;30;144;255mblue\x1b[0m \x1b[38;5;208mwarm\x1b[0m \x1b[2J\x1b]0;title\x07plain"
)


@pytest.fixture(scope="module")
def berth(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("berth-log")
    catalogue = folder / "data" / "catalogue"
    catalogue.mkdir(parents=True)
    (catalogue / "talker.yaml").write_text(CATALOGUE)
    with installed(folder) as installation:
        yield installation


@pytest.fixture(scope="module")
def control(berth: Installation) -> Iterator[Control]:
    made = Control(berth.environment)
    yield made
    made.run("stop", "talker", "--wait")
    made.close()


class Talker:
    """The model of a new run; ``address`` is the run's page."""

    def __init__(self, berth: Installation, control: Control) -> None:
        control.answer(["stop", "talker", "--wait"])  # the first time there is none
        control.run("start", "talker", "--wait")
        # Ready does not mean that what it printed at first has been shipped.
        wait_for(
            lambda: f"line {FIRST_LINES} of the start" in control.run("logs", "talker"), "the first lines", within_s=60
        )
        status = next(row for row in json.loads(control.run("status", "--json")) if row["config"] == "talker")
        self.endpoint = status["endpoint"]
        self.address = f"{berth.url}/deployments/{status['deployment']}/"

    def say(self, *texts: str, stream: str = "out") -> None:
        httpx.post(f"{self.endpoint}/print", json=[[stream, text] for text in texts], timeout=10)

    def crash(self) -> None:
        with contextlib.suppress(httpx.TransportError):  # it has no time left to answer
            httpx.post(f"{self.endpoint}/exit", json=1, timeout=10)


@pytest.fixture
def talker(berth: Installation, control: Control) -> Talker:
    return Talker(berth, control)


def state(page: Page, name: str) -> None:
    expect(page.locator("[data-log-state]")).to_have_attribute("data-state", name)


def scroll_up(page: Page, by: int = 400) -> None:
    page.locator("[data-log-lines]").evaluate(f"(list) => {{ list.scrollTop -= {by}; }}")


def test_lines_come_live_and_wait_while_the_reader_reads(page: Page, talker: Talker, complaints: list[str]) -> None:
    page.goto(talker.address)
    state(page, "live")
    talker.say("first word")
    expect(page.locator(".log-line").last).to_contain_text("first word")
    scroll_up(page)
    state(page, "paused")
    top = page.locator("[data-log-lines]").evaluate("(list) => list.scrollTop")
    talker.say("one", "two")
    expect(page.locator("[data-log-new]")).to_have_text("2 new lines")
    assert page.locator("[data-log-lines]").evaluate("(list) => list.scrollTop") == top
    page.locator("[data-log-new]").click()
    state(page, "live")
    expect(page.locator(".log-line").last).to_be_in_viewport()
    expect(page.locator(".log-line").last).to_contain_text("two")
    assert complaints == []


def test_older_lines_come_without_a_jump_and_the_page_stays_bounded(page: Page, talker: Talker) -> None:
    page.goto(talker.address)
    state(page, "live")
    rows = page.locator("[data-log-rows] .log-line")
    expect(rows).to_have_count(1000)
    page.locator("[data-log-lines]").evaluate("(list) => { list.scrollTop = 200; }")
    kept = page.evaluate(
        """() => {
          const list = document.querySelector("[data-log-lines]");
          const top = list.getBoundingClientRect().top;
          const row = [...list.querySelectorAll(".log-line")].find((each) => each.getBoundingClientRect().top > top);
          return [row.dataset.c, row.getBoundingClientRect().top];
        }"""
    )
    expect(rows).to_have_count(1500)
    assert page.evaluate(f"document.querySelector('[data-c=\"{kept[0]}\"]').getBoundingClientRect().top") == kept[1]
    page.locator("[data-log-lines]").press("End")
    talker.say(*(f"more {number}" for number in range(4000)))
    expect(rows.last).to_contain_text("more 3999", timeout=60_000)
    assert rows.count() <= 5000


def test_a_new_line_leaves_the_style_of_all_others_alone(browser: Browser, page: Page, talker: Talker) -> None:
    """Or else a log of thousands of lines has the page busy for as long as it grows."""
    page.goto(talker.address)
    expect(page.locator("[data-log-rows] .log-line")).to_have_count(1000)
    state(page, "live")
    browser.start_tracing(page=page, categories=["devtools.timeline"])
    talker.say("one more")
    expect(page.locator(".log-line").last).to_contain_text("one more")
    events = json.loads(browser.stop_tracing())["traceEvents"]
    styled = [event["args"].get("elementCount", 0) for event in events if event["name"] == "UpdateLayoutTree"]
    assert 0 < max(styled) < 1000  # of more than 5000


def test_a_search_counts_marks_and_goes_from_match_to_match(page: Page, talker: Talker) -> None:
    page.goto(talker.address)
    state(page, "live")
    page.keyboard.press("/")
    page.keyboard.type("LINE 123 of")
    expect(page.locator("[data-log-count]")).to_have_text("1 / 1")
    expect(page.locator(".log-line.is-current mark")).to_have_text("line 123 of")
    expect(page.locator(".log-line.is-current")).to_be_in_viewport()
    page.locator("[data-log-search]").fill("line 99")
    expect(page.locator("[data-log-count]")).to_have_text(re.compile(r"^\d+ / 11$"))
    page.keyboard.press("Enter")
    before = page.locator(".log-line.is-current").get_attribute("data-c")
    page.keyboard.press("Enter")
    expect(page.locator(f".log-line.is-current:not([data-c='{before}'])")).to_be_visible()
    page.keyboard.press("Shift+Enter")
    expect(page.locator(f".log-line.is-current[data-c='{before}']")).to_be_visible()
    talker.say("line 99 again")
    expect(page.locator("[data-log-count]")).to_have_text(re.compile(r"/ 12$"))
    page.locator("[data-log-search]").fill("(a+)+$")
    expect(page.locator("[data-log-count]")).to_have_text("no match")


def test_an_address_leads_to_its_line(page: Page, talker: Talker) -> None:
    page.goto(f"{talker.address}?tab=log&attempt=1&line=1500")
    row = page.locator(".log-line.is-chosen")
    expect(row).to_contain_text("line 1500 of the start")
    expect(row).to_be_in_viewport()
    page.locator(".log-no", has_text="1502").click()
    assert page.url.endswith("?tab=log&attempt=1&line=1502")
    page.goto(f"{talker.address}#L7")
    expect(page.locator(".log-line.is-chosen")).to_contain_text("line 7 of the start")
    page.get_by_role("button", name="To the end").click()
    state(page, "live")


def test_what_is_printed_stays_text_and_its_colours_are_classes(
    page: Page, talker: Talker, complaints: list[str]
) -> None:
    page.goto(talker.address)
    state(page, "live")
    talker.say(HOSTILE, stream="err")
    talker.say(COLOURED)
    hostile = page.locator(".log-line", has_text="window.harm").locator(".log-text")
    expect(hostile).to_have_text(HOSTILE.replace("\u202e", "⟨U+202E⟩").replace("\u202c", "⟨U+202C⟩"))
    assert hostile.locator("*").count() == 0
    assert page.evaluate("window.harm") is None
    coloured = page.locator(".log-line", has_text="ERROR blue warm plain").locator(".log-text")
    expect(coloured).to_have_text("ERROR blue warm plain")
    classes = coloured.locator("span").evaluate_all("(spans) => spans.map((span) => span.className)")
    assert classes == ["ansi-bold ansi-fg-1", "ansi-fg-12", "ansi-fg-11"]
    expect(page.locator(".log-err .log-stream").last).to_have_text("err")
    page.locator("[data-log-lines]").press("e")
    page.locator("[data-log-lines]").press("e")
    expect(hostile).to_be_visible()
    expect(coloured).to_be_hidden()
    assert complaints == []


def test_attempts_can_be_chosen_and_the_log_goes_over_to_the_next(page: Page, talker: Talker) -> None:
    page.goto(talker.address)
    state(page, "live")
    talker.say("torch.cuda.OutOfMemoryError: CUDA out of memory.", stream="err")
    expect(page.locator(".log-line").last).to_contain_text("CUDA out of memory")
    talker.crash()
    expect(page.locator("[data-log]")).to_have_attribute("data-attempt", "2", timeout=60_000)
    expect(page.locator(".log-before")).to_contain_text("Attempt 1 ended: CUDA out of memory.")
    page.get_by_label("Attempt", exact=True).select_option(label="attempt 1 – CUDA out of memory")
    expect(page.locator(".log-line").last).to_contain_text("CUDA out of memory")
    state(page, "ended")
    assert "attempt=1" in page.url
    with page.expect_download() as download:
        page.locator("[data-log-download]").click()
    assert re.fullmatch(r"talker-\d+-attempt-1\.log", download.value.suggested_filename)
    text = Path(download.value.path()).read_text()
    assert "line 1 of the start\n" in text
    assert text.rstrip().endswith("CUDA out of memory.")
