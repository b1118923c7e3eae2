"""The chat over a scripted model: tabs, a lost network, stop, branches, failures, keys, what is not running."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from tests.browser.installation import Installation
from tests.browser.playground.talking import ask, complete, fresh

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("browser-playground"),  # one installation serves them all
]


def test_two_tabs_a_closed_tab_and_a_lost_network_show_the_same_words(
    page: Page, berth: Installation, complaints: list[str]
) -> None:
    fresh(page, berth)
    answer = ask(page, "count 400")
    expect(answer.locator("[data-text]")).to_contain_text("word20 ")
    page.wait_for_url(re.compile("/playground/c/"))
    other = page.context.new_page()
    other.goto(page.url)
    late = other.locator(".turn-assistant").last
    expect(late.locator("[data-text]")).to_contain_text("word40 ")
    page.context.set_offline(True)
    page.context.set_offline(False)
    for shown in (answer, late):
        complete(shown)
        assert shown.locator("[data-text]").inner_text().split() == [f"word{number}" for number in range(400)]
    # What one tab says the other shows; a tab that is closed takes nothing with it.
    ask(other, "count 300")
    expect(page.locator(".turn-assistant")).to_have_count(2)
    other.close()
    complete(page.locator(".turn-assistant").nth(1))
    words = page.locator(".turn-assistant").nth(1).locator("[data-text]").inner_text().split()
    assert words == [f"word{number}" for number in range(300)]
    assert [each for each in complaints if "ERR_INTERNET_DISCONNECTED" not in each and "WebSocket" not in each] == []


def test_what_somebody_selected_in_an_answer_stays_when_it_ends(page: Page, berth: Installation) -> None:
    fresh(page, berth)
    answer = ask(page, "hold")
    words = answer.locator("[data-text] p")
    expect(words).to_contain_text("three")
    words.select_text()
    page.keyboard.press("Escape")
    expect(answer.locator("[data-mark]")).to_contain_text("stopped")
    assert page.evaluate("getSelection().toString()").strip() == "one two three"


@pytest.mark.parametrize("press", ["Enter", "Send"])
def test_whoever_asks_looks_at_the_end(page: Page, berth: Installation, press: str) -> None:
    fresh(page, berth)
    complete(ask(page, "count 300"))
    complete(ask(page, "pace 400 300"))
    page.evaluate("document.scrollingElement.scrollTop = 0")
    page.locator("#prompt").fill("\n".join(["count 3", *["more"] * 12]))
    if press == "Enter":
        page.keyboard.press("Enter")
    else:
        page.get_by_role("button", name="Send").click()
    complete(page.locator(".turn-assistant").nth(2))
    left_px = "() => { const e = document.scrollingElement; return e.scrollHeight - e.clientHeight - e.scrollTop; }"
    assert page.evaluate(left_px) < 2


def test_stop_keeps_what_came_and_another_try_is_a_branch(page: Page, berth: Installation) -> None:
    fresh(page, berth)
    answer = ask(page, "hold")
    expect(answer.locator("[data-text]")).to_contain_text("three")
    page.keyboard.press("Escape")
    expect(answer.locator("[data-mark]")).to_contain_text("stopped")
    assert answer.locator("[data-text]").inner_text() == "one two three"
    answer.get_by_role("button", name="Try again").click()
    answer = page.locator(".turn-assistant")
    expect(answer.locator("[data-branch-place]")).to_have_text("2/2")
    page.get_by_role("button", name="Stop", exact=True).click()
    complete(answer)
    page.keyboard.press("Alt+ArrowLeft")
    expect(answer.locator("[data-branch-place]")).to_have_text("1/2")
    page.reload()
    expect(page.locator(".turn-assistant [data-branch-place]")).to_have_text("1/2")
    # The arrow brings the last message back; sending it again is a branch beside it.
    page.get_by_label("Your message").press("ArrowUp")
    expect(page.get_by_label("Your message")).to_have_value("hold")
    expect(page.locator("[data-editing]")).to_be_visible()
    page.get_by_label("Your message").fill("Hello")
    page.keyboard.press("Enter")
    complete(page.locator(".turn-assistant"))
    expect(page.locator(".turn-assistant [data-text]")).to_have_text("You said: Hello")
    expect(page.locator(".turn-user [data-branch-place]")).to_have_text("2/2")


#: Timers that would put a conversation into the list never run; those that are set and not cleared are counted.
HOLD_LISTING = """
window.listing = new Set();
const { setTimeout: set, clearTimeout: clear } = window;
window.setTimeout = (run, ...others) => {
  if (run.name !== "enlist") return set(run, ...others);
  const timer = set(() => {}, 0);
  window.listing.add(timer);
  return timer;
};
window.clearTimeout = (timer) => window.listing.delete(timer) || clear(timer);
"""


def test_a_new_conversation_waits_for_the_list_with_one_timer_that_ends_with_the_page(
    page: Page, berth: Installation
) -> None:
    page.add_init_script(HOLD_LISTING)
    fresh(page, berth)
    complete(ask(page, "count 20"))
    assert page.evaluate("window.listing.size") == 1
    page.evaluate("document.querySelector('[data-chat]').remove()")
    page.wait_for_function("() => window.listing.size === 0")


def test_what_was_written_before_the_scripts_ran_is_asked_with(page: Page, berth: Installation) -> None:
    held: list[Route] = []
    page.route(re.compile("/playground/parameters"), lambda route: held.append(route))  # noqa: PLW0108  # it is given a mark
    with page.expect_request(re.compile("/playground/parameters")):
        page.goto(f"{berth.url}/playground/?config=parrot", wait_until="commit")
    page.get_by_label("Max tokens").fill("60")
    page.get_by_label("JSON mode").check()
    page.get_by_label("System prompt").fill("Be brief.")
    page.locator("#prompt").fill("Hello")
    for route in held:
        route.continue_()
    expect(page.locator("[data-live-mark]")).to_have_attribute("data-state", "live")
    kept = "() => JSON.parse(sessionStorage.getItem('berth.playground.settings') ?? '{}')"
    page.wait_for_function(f"() => ({kept})().numbers?.max_tokens === 60")
    assert page.evaluate(kept) == {"system": "Be brief.", "numbers": {"max_tokens": 60}, "stop": [], "json_mode": True}
    expect(page.get_by_label("Max tokens")).to_have_value("60")
    expect(page.locator("#prompt")).to_have_value("Hello")


def test_what_goes_wrong_is_said_in_the_words_of_the_server(page: Page, berth: Installation) -> None:
    fresh(page, berth)
    answer = complete(ask(page, "die"))
    expect(answer.locator("[data-text]")).to_have_text("one two three")
    expect(answer.locator("[data-mark]")).to_contain_text("interrupted")
    expect(answer.locator("[data-error]")).to_contain_text("broke off")
    expect(answer.get_by_role("button", name="Try again")).to_be_visible()
    answer = complete(ask(page, "refuse"))
    expect(answer.locator("[data-error]")).to_have_text("CUDA out of memory, said the engine")


def test_reasoning_calls_markdown_and_pictures(page: Page, berth: Installation, tmp_path: Path) -> None:
    fresh(page, berth)
    answer = complete(ask(page, "reason"))
    expect(answer.locator("[data-text]")).to_have_text("Said.")
    expect(answer.locator("[data-reasoning]")).to_be_hidden()
    answer.get_by_text("Reasoning").click()
    expect(answer.locator("[data-reasoning]")).to_have_text("First I think. Then I speak.")
    answer = complete(ask(page, "tool"))
    expect(answer.locator("[data-call-name]")).to_have_text("tide")
    assert json.loads(answer.locator("[data-call-arguments]").inner_text()) == {"at": "noon"}
    answer = complete(ask(page, "markdown"))
    expect(answer.locator("table td").first).to_have_text("Rotterdam")
    expect(answer.locator("table td").nth(1)).to_have_css("text-align", "right")
    expect(answer.locator("ol").nth(1)).to_have_attribute("start", "7")
    expect(answer.locator(".code-bar")).to_contain_text("python")
    expect(answer.locator("code .hljs-keyword").first).to_have_text("def")
    expect(answer.locator("math")).to_have_count(2)
    written = io.BytesIO()
    Image.new("RGB", (40, 20)).save(written, format="PNG")
    boat, lie = tmp_path / "boat.png", tmp_path / "lie.png"
    boat.write_bytes(written.getvalue())
    lie.write_bytes(b"<svg onload=alert(1)>")
    page.locator("[data-picture-file]").set_input_files([boat, lie])
    expect(page.locator(".composer-picture")).to_have_count(1)
    expect(page.locator("[data-notice-line]")).to_contain_text("lie.png is no PNG")
    answer = complete(ask(page, "look"))
    expect(answer.locator("[data-text]")).to_have_text("You said: look with 1 pictures")
    expect(page.locator(".turn-user").last.locator("img")).to_be_visible()


def test_thoughts_grow_while_they_are_read_and_none_is_lost(page: Page, berth: Installation) -> None:
    fresh(page, berth)
    answer = ask(page, "ponder 200")
    thoughts = answer.locator("[data-reasoning]")
    thoughts.evaluate(
        """(node) => {
          window.lengths = [];
          new MutationObserver(() => window.lengths.push(node.textContent.length)).observe(node, {childList: true});
        }"""
    )
    answer.get_by_text("Reasoning").click()
    complete(answer)
    expect(thoughts).to_be_visible()
    expect(thoughts).to_have_text(" ".join(f"thought{number}" for number in range(200)))
    expect(answer.locator("[data-text]")).to_have_text("Said.")
    lengths = page.evaluate("window.lengths")
    assert len(lengths) > 2
    assert lengths == sorted(set(lengths))


def test_a_screen_reader_hears_sentences_and_the_end(page: Page, berth: Installation) -> None:
    fresh(page, berth)
    page.evaluate(
        """() => {
          window.heard = [];
          const region = document.querySelector("[data-chat] [data-said]");
          const watcher = new MutationObserver(() => window.heard.push(region.textContent));
          watcher.observe(region, {childList: true, characterData: true, subtree: true});
        }"""
    )
    complete(ask(page, "markdown"))
    expect(page.locator("[data-chat] [data-said]")).to_contain_text("The answer is complete.")
    heard = page.evaluate("window.heard")
    assert len(heard) <= 3, "it was read token by token"
    assert "see [the list]" in "".join(heard)


def test_everything_goes_by_keys_and_the_palette_leads_anywhere(page: Page, berth: Installation) -> None:
    fresh(page, berth)
    page.locator("h1").click()
    page.keyboard.press("?")
    expect(page.locator("dialog[open]")).to_contain_text("another answer")
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    expect(page.get_by_label("Your message")).to_be_focused()
    page.keyboard.press("Alt+s")
    expect(page.locator("[data-panel]")).to_be_hidden()
    page.keyboard.press("Control+k")
    page.keyboard.type("parrot")
    expect(page.locator(".palette-item").first).to_contain_text("parrot")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/catalogue/parrot/|/deployments/"))


def test_what_is_not_running_is_started_inside_the_conversation(page: Page, berth: Installation) -> None:
    berth.command("stop", "parrot", "--wait")
    fresh(page, berth)
    card = page.locator("#awaiting")
    expect(card).to_contain_text("parrot")
    answer = complete(ask(page, "Hello"))
    expect(answer.locator("[data-error]")).not_to_be_empty()
    card.locator("[data-action=start]").click()
    expect(card.locator(".awaiting-card")).to_have_count(0, timeout=60_000)
    answer.get_by_role("button", name="Try again").click()
    expect(page.locator(".turn-assistant [data-text]")).to_have_text("You said: Hello")
