"""The chat in a real browser over a scripted model: hostile outputs, tabs, a lost network, branches, keys, axe."""

from __future__ import annotations

import io
import json
import re
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.browser.hostile_outputs import HOSTILE
from tests.browser.installation import Installation, installed

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("browser-chat"),  # one installation serves them all
]
SERVER = Path(__file__).with_name("chatting_server.py")
PAINTER = Path(__file__).with_name("drawing_server.py")
AXE = Path(__file__).parent.parent.parent / "node_modules" / "axe-core" / "axe.min.js"
CATALOGUE = f"""\
models:
  - name: Parrot
configs:
  - name: parrot
    model: Parrot
    protocol: openai-text
    engine: custom
    runtime: process
    image: none
    served_name: parrot
    arguments: [{sys.executable}, {SERVER}, --port, "{{port}}"]
    port: 9000
    readiness_path: /health
    load_timeout_s: 60
    grace_s: 2
  - name: retoucher
    model: Parrot
    protocol: openai-image
    engine: custom
    runtime: process
    image: none
    served_name: retoucher
    arguments: [{sys.executable}, {PAINTER}, --port, "{{port}}"]
    port: 9001
    readiness_path: /health
    load_timeout_s: 60
    grace_s: 2
"""


@pytest.fixture(scope="module")
def berth(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("berth-chat")
    catalogue = folder / "data" / "catalogue"
    catalogue.mkdir(parents=True)
    (catalogue / "parrot.yaml").write_text(CATALOGUE)
    with installed(folder) as installation:
        started = installation.command("start", "parrot", "--wait")
        assert started.returncode == 0, started.stderr
        yield installation
        installation.command("stop", "parrot", "--wait")


@pytest.fixture
def elsewhere(page: Page, berth: Installation) -> list[str]:
    """Requests of the page that leave this installation."""
    asked: list[str] = []
    own = (berth.url, "data:", "blob:")
    page.on("request", lambda request: None if request.url.startswith(own) else asked.append(request.url))
    return asked


def fresh(page: Page, berth: Installation) -> None:
    """A new conversation with the parrot."""
    page.goto(f"{berth.url}/playground/?config=parrot")
    expect(page.locator("[data-live-mark]")).to_have_attribute("data-state", "live")


def ask(page: Page, text: str) -> Locator:
    """Send ``text``; gives the answer that begins."""
    answers = page.locator(".turn-assistant")
    before = answers.count()
    page.get_by_label("Your message").fill(text)
    page.keyboard.press("Enter")
    answer = answers.nth(before)
    expect(answer).to_be_attached()
    return answer


def complete(answer: Locator) -> Locator:
    """Wait until ``answer`` is over."""
    expect(answer).to_have_attribute("aria-busy", "false", timeout=60_000)
    return answer


def test_hostile_outputs_neither_run_nor_load_nor_leave_their_bubble(
    page: Page, berth: Installation, complaints: list[str], elsewhere: list[str]
) -> None:
    fresh(page, berth)
    page.evaluate("window.violations = []")
    page.evaluate("addEventListener('securitypolicyviolation', (event) => violations.push(event.blockedURI))")
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((each) => each.id)")
    for name in HOSTILE:
        answer = complete(ask(page, f"say {name}"))
        found = answer.evaluate(INSPECT)
        assert found["outside"] == [], name
        assert found["dangerous"] == [], name
        assert found["links"] == [], name
        assert found["length"] > 0, name
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{name} is {wide} px too wide"
    assert page.evaluate("window.harm") is None
    assert page.evaluate("window.violations") == []
    assert (
        page.evaluate("(ids) => ids.filter((id) => document.querySelectorAll(`#${CSS.escape(id)}`).length > 1)", ids)
        == []
    )
    expect(page.locator(".rail")).to_be_visible()
    assert elsewhere == []
    assert complaints == []
    # Kept and drawn again from the database, all of it is as harmless.
    page.reload()
    expect(page.locator(".turn-assistant")).to_have_count(len(HOSTILE))
    assert page.evaluate("window.harm") is None
    assert (elsewhere, complaints) == ([], [])


#: What of an answer is not as it should be.
INSPECT = """(turn) => {
  const bubble = turn.querySelector("[data-text]");
  const box = turn.getBoundingClientRect();
  const every = [...bubble.querySelectorAll("*")].filter((element) => !element.closest(".code-bar"));
  const within = (element) => {
    const { left, right } = element.getBoundingClientRect();
    return left >= box.left - 1 && right <= box.right + 1;
  };
  // What is too wide may be cut, or scroll, within something that is not.
  const cut = (element) => element !== turn && (
    (getComputedStyle(element).overflowX !== "visible" && within(element)) || cut(element.parentElement)
  );
  const outside = every.filter((element) => {
    const { width, height } = element.getBoundingClientRect();
    return width && height && !within(element) && !cut(element.parentElement);
  });
  const tags = "script, style, link, meta, base, iframe, object, embed, form, input, svg, video, audio";
  const acts = ({ name }) => name.startsWith("on") || name === "style";
  const handlers = every.filter((element) => [...element.attributes].some(acts));
  const sources = [...bubble.querySelectorAll("[src]")];
  const remote = sources.filter((element) => !element.getAttribute("src").startsWith("data:image/"));
  const safe = (a) => /^(https?|mailto):/.test(a.getAttribute("href")) && a.rel.includes("noopener");
  const loose = [...bubble.querySelectorAll("a[href]")].filter((a) => !safe(a));
  const fixed = every.filter((element) => ["fixed", "sticky"].includes(getComputedStyle(element).position));
  const named = bubble.querySelectorAll("[name], [id]:not(code)");
  const told = (elements) => [...elements].map((element) => element.outerHTML.slice(0, 120));
  return {
    outside: told(outside),
    dangerous: told([...every.filter((element) => element.matches(tags)), ...handlers, ...remote, ...fixed, ...named]),
    links: told(loose),
    length: turn.textContent.length,
  };
}"""


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


def an_open_chat(page: Page, berth: Installation) -> str:
    """The address of a conversation with a bit of everything, shared."""
    fresh(page, berth)
    complete(ask(page, "markdown"))
    complete(ask(page, "die"))
    page.wait_for_url(re.compile("/playground/c/"))
    address = page.url
    page.goto(address)
    page.get_by_text("This conversation").locator("..").click()
    page.get_by_role("button", name="Share what is shown").click()
    expect(page.locator(".chat-link")).to_be_visible()
    return address


def test_axe_finds_nothing_and_nothing_scrolls_sideways(browser: Browser, page: Page, berth: Installation) -> None:
    chat = an_open_chat(page, berth)
    shared = page.locator(".chat-link a").get_attribute("href")
    found: dict[str, Any] = {}
    themes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for theme in themes:
        context = browser.new_context(storage_state=page.context.storage_state(), color_scheme=theme, bypass_csp=True)
        for width in (1280, 390):
            found |= looked_at(context, [f"{berth.url}/playground/", chat, f"{berth.url}{shared}"], width, theme)
        context.close()
    assert found == {}


def looked_at(context: BrowserContext, addresses: list[str], width: int, theme: str) -> dict[str, Any]:
    """What axe and the ruler find."""
    found: dict[str, Any] = {}
    page = context.new_page()
    page.set_viewport_size({"width": width, "height": 844})
    for address in addresses:
        page.goto(address)
        page.add_script_tag(path=AXE)
        violations = page.evaluate(
            "axe.run().then((result) => result.violations.map((each) => [each.id, each.nodes[0].html]))"
        )
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if violations or wide > 0:
            found[f"{address} {width} {theme}"] = (violations, wide)
    page.close()
    return found


def test_an_image_is_drawn_opened_and_edited(page: Page, berth: Installation, complaints: list[str]) -> None:
    started = berth.command("start", "retoucher", "--wait")
    assert started.returncode == 0, started.stderr
    page.goto(f"{berth.url}/playground/images/?config=retoucher")
    prompt = "a boat <img src=x onerror=alert(1)>"
    page.get_by_label("Prompt", exact=True).fill(prompt)
    page.get_by_role("button", name="Draw").click()
    tiles = page.locator(".image-tile")
    expect(tiles).to_have_count(1)
    tiles.first.click()
    drawer = page.locator("[data-image-drawer]")
    expect(drawer).to_contain_text(prompt)
    page.keyboard.press("Escape")
    expect(drawer).to_have_count(0)
    tiles.first.click()
    drawer.get_by_role("link", name="Edit").click()
    box = page.locator("canvas").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 5, box["y"] + box["height"] / 2)
    page.mouse.up()
    page.get_by_label("Prompt", exact=True).fill("a white sail")
    page.get_by_role("button", name="Draw").click()
    expect(tiles).to_have_count(2)
    answer = page.request.get(f"{berth.url}{tiles.first.locator('img').get_attribute('src')}")
    with Image.open(io.BytesIO(answer.body())) as edited:
        colours = {edited.convert("RGB").getpixel(place) for place in ((256, 256), (5, 500))}
    # White where there was paint, as it was elsewhere.
    assert (255, 255, 255) in colours
    assert len(colours) == 2
    assert complaints == []
    berth.command("stop", "retoucher", "--wait")


def test_columns_grow_stop_and_are_judged(page: Page, berth: Installation, complaints: list[str]) -> None:
    page.goto(f"{berth.url}/playground/compare/")
    page.get_by_role("button", name="Column", exact=True).click()
    prompt = page.get_by_label("Your prompt")
    prompt.fill("hold")
    prompt.press("Enter")
    answers = page.locator(".compare-column .turn-assistant")
    expect(answers).to_have_count(3)
    for number in range(3):
        expect(answers.nth(number)).to_contain_text("one two three")
    # One column stops, then all; a reload meanwhile loses nothing.
    page.locator("[data-stop-one]").nth(1).click()
    expect(answers.nth(1)).to_have_attribute("aria-busy", "false")
    page.wait_for_url(re.compile(r"/playground/compare/\d+/"))
    page.reload()
    expect(answers.nth(0)).to_contain_text("one two three")
    expect(answers.nth(0)).to_have_attribute("aria-busy", "true")
    page.get_by_role("button", name="Stop all").click()
    expect(page.locator("[data-rows] tr").nth(2)).to_contain_text("stopped")
    # A set of prompts, the vote about its last one, both ways to scroll.
    page.get_by_label("a set: one prompt a line").check()
    prompt.fill("markdown\nmarkdown")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("[data-place]")).to_have_text("3 of 3", timeout=30_000)
    expect(page.get_by_role("button", name="Send")).to_be_visible(timeout=30_000)
    page.get_by_role("button", name="2: parrot is best").click()
    page.reload()
    expect(page.get_by_role("button", name="2: parrot is best")).to_have_attribute("aria-pressed", "true")
    bodies = page.locator(".compare-body")
    bodies.nth(0).hover()
    page.mouse.wheel(0, 4000)
    page.wait_for_function("document.querySelectorAll('.compare-body')[2].scrollTop > 50")
    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_role("button", name="3: parrot", exact=True).click()
    expect(bodies.nth(2)).to_be_in_viewport(ratio=0.3)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    page.evaluate(AXE.read_text())
    violations = page.evaluate("axe.run().then((found) => found.violations.map((each) => each.id))")
    assert violations == []
    assert complaints == []


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


def test_a_load_test_is_begun_watched_compared_and_cancelled(
    page: Page, berth: Installation, complaints: list[str]
) -> None:
    def begin(**fields: str) -> None:
        page.goto(f"{berth.url}/playground/load/?config=parrot")
        for label, text in {"Users at once, a level each": "1,2", "Requests a level": "4", **fields}.items():
            page.get_by_label(label).fill(text)
        page.get_by_role("button", name="Begin").click()
        page.wait_for_url("**/playground/load/*/")

    begin()
    begin_row = page.locator(".load-levels tbody tr")
    expect(begin_row).to_have_count(2)
    expect(page.locator(".chip")).to_contain_text("done")
    expect(page.locator(".load-chart canvas")).to_have_count(2)
    # A second run, on its way: cancelled, it keeps what came.
    begin(**{"Requests a level": "5000"})
    expect(page.locator("tr.load-live")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".chip")).to_contain_text("cancelled")
    expect(begin_row).to_have_count(1)
    # Both in one chart, told apart by more than their colour; the choice stands in the address.
    page.goto(f"{berth.url}/playground/load/")
    marks = page.locator(".load-legend li")
    expect(marks).to_have_count(2)
    dashes = page.locator(".load-dash").evaluate_all("each => each.map((path) => path.getAttribute('class'))")
    assert len(set(dashes)) == 2
    page.get_by_label("parrot #1", exact=True).uncheck()
    expect(marks).to_have_count(1)
    page.wait_for_function("location.search.includes('run=2') && !location.search.includes('run=1')")
    page.reload()
    expect(marks).to_have_count(1)
    page.evaluate(AXE.read_text())
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        violations = page.evaluate("axe.run().then((found) => found.violations.map((each) => each.id))")
        assert violations == []
    assert complaints == []
