"""The main job in a real browser on a real model: start, watch, edit, chat, stop; and what a lost web does."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Literal

import httpx
import pytest
import yaml
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import arrive_whole, wait_until_whole
from tests.browser.installation import ROOT, Installation

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.real_model,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("browser"),  # one installation serves them all
]
CONFIG = "smollm2-135m"
ON_REQUEST = "smollm2-on-request"
PAGES = [
    *("/", "/catalogue/", f"/catalogue/{CONFIG}/", f"/catalogue/{CONFIG}/edit/", "/catalogue/new/", "/models/"),
    *("/deployments/", "/deployments/1/", "/playground/", "/keys/", "/activity/"),
]
AXE = Path(__file__).parent.parent.parent / "node_modules" / "axe-core" / "axe.min.js"
READY_MS = 60_000
#: Lets a test subscribe the page when it wants to.
HOLD_BACK = """
  const send = WebSocket.prototype.send;
  window.asked = [];
  WebSocket.prototype.send = function (text) { window.asked.push(() => send.call(this, text)); };
"""


def row(page: Page) -> Locator:
    return page.locator("tr[data-row]", has=page.get_by_role("link", name=CONFIG, exact=True))


def phase(scope: Page | Locator, name: str) -> Locator:
    return scope.locator(f".chip[data-phase='{name}']")


def start(page: Page, berth: Installation) -> None:
    """From the catalogue, without ever loading the page again; it may run already."""
    page.goto(f"{berth.url}/catalogue/")
    page.evaluate("window.stillTheSamePage = true")
    if not phase(row(page), "ready").is_visible():
        row(page).locator("[data-action=start]").click()
    expect(phase(row(page), "ready")).to_be_visible(timeout=READY_MS)
    assert page.evaluate("window.stillTheSamePage") is True


def stop(page: Page) -> None:
    """The stop button of the page, and yes to what it asks."""
    page.locator("[data-action=stop]").first.click()
    page.locator("dialog[open] button[value=yes]").click()


def test_start_watch_edit_chat_and_stop(page: Page, berth: Installation, complaints: list[str]) -> None:
    start(page, berth)

    row(page).get_by_role("link", name="Try").click()
    expect(page.locator("[data-chat]")).to_be_visible()
    wait_until_whole(page)
    lengths = watch_the_answer_grow(page)
    page.get_by_label("Max tokens").fill("60")
    page.get_by_label("Your message").fill("Tell me about harbours, please.")
    page.keyboard.press("Enter")
    answer = page.locator(".turn-assistant").last
    expect(answer).to_have_attribute("aria-busy", "false", timeout=120_000)
    expect(answer.locator("[data-figures]")).to_contain_text("tok/s")
    assert len(answer.locator("[data-text]").inner_text()) > 40
    assert len(set(page.evaluate(lengths))) > 5, "the answer came in one piece"

    page.goto(f"{berth.url}/catalogue/{CONFIG}/edit/")
    page.get_by_label("Notes").fill("Tried in a browser.")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("link", name="2", exact=False).filter(has_text="2").first).to_be_visible()
    page.goto(f"{berth.url}/catalogue/{CONFIG}/revisions/2/")
    expect(page.locator("main")).to_contain_text("Tried in a browser.")
    expect(page.locator("main")).to_contain_text("admin")

    page.goto(f"{berth.url}/catalogue/")
    page.evaluate("window.stillTheSamePage = true")
    stop(page)
    expect(phase(row(page), "stopped")).to_be_visible(timeout=30_000)
    assert page.evaluate("window.stillTheSamePage") is True
    assert complaints == []


def watch_the_answer_grow(page: Page) -> str:
    """Notes the answer's length at each change; returns the expression that reads the notes."""
    page.evaluate(
        """() => {
          window.lengths = [];
          new MutationObserver(() => {
            const text = document.querySelector(".turn-assistant [data-text]");
            if (text) window.lengths.push(text.textContent.length);
          }).observe(document.querySelector("[data-turns]"), {childList: true, subtree: true, characterData: true});
        }"""
    )
    return "window.lengths"


def test_stop_in_the_middle_of_an_answer_keeps_what_came(page: Page, berth: Installation) -> None:
    start(page, berth)
    page.goto(f"{berth.url}/playground/?config={CONFIG}")
    page.get_by_label("Your message").fill("Write a very long story about a ship and its harbour, in many chapters.")
    page.keyboard.press("Enter")
    answer = page.locator(".turn-assistant").last
    expect(answer.locator("[data-text]")).not_to_be_empty()
    page.locator("[data-chat] [data-stop]").click()
    expect(answer.locator("[data-mark]")).to_be_visible()
    assert answer.locator("[data-text]").inner_text()


def test_the_deployment_page_follows_log_and_stop(page: Page, berth: Installation, complaints: list[str]) -> None:
    start(page, berth)
    row(page).locator("a.situation").click()
    expect(phase(page, "ready").first).to_be_visible()
    expect(page.locator("main")).to_contain_text("listening on")
    expect(page.locator("main")).to_contain_text("/v1/chat/completions")
    stop(page)
    expect(phase(page, "stopped").first).to_be_visible(timeout=30_000)
    expect(page.locator("[data-log-state]")).to_have_attribute("data-state", "ended")
    assert complaints == []


def test_a_change_before_the_page_is_subscribed_is_shown(page: Page, berth: Installation) -> None:
    page.add_init_script(HOLD_BACK)
    page.goto(f"{berth.url}/catalogue/")
    page.wait_for_function("() => window.asked.length > 0")
    page.evaluate("window.stillTheSamePage = true")
    berth.command("start", CONFIG, "--wait")
    page.evaluate("for (const ask of window.asked) ask()")
    expect(phase(row(page), "ready")).to_be_visible()
    assert page.evaluate("window.stillTheSamePage") is True
    berth.command("stop", CONFIG, "--wait")


def test_a_page_of_which_a_module_did_not_arrive_is_loaded_again(page: Page, berth: Installation) -> None:
    page.route("**/js/live*.js", lambda route: route.abort("connectionreset"), times=1)
    page.goto(f"{berth.url}/catalogue/")
    expect(page.locator("[data-live-mark]")).to_have_attribute("data-state", "live")
    expect(row(page)).to_be_visible()


def test_pages_recover_by_themselves_when_the_web_dies(page: Page, berth: Installation) -> None:
    page.goto(f"{berth.url}/catalogue/")
    mark = page.locator("[data-live-mark]")
    expect(mark).to_have_attribute("data-state", "live")
    page.evaluate("window.stillTheSamePage = true")
    berth.member("web").kill()
    expect(mark).to_have_attribute("data-state", "offline")
    berth.command("start", CONFIG, "--wait")
    expect(mark).to_have_attribute("data-state", "live", timeout=60_000)
    expect(phase(row(page), "ready")).to_be_visible()
    assert page.evaluate("window.stillTheSamePage") is True


def test_a_model_outlives_berth_and_is_adopted_after_a_restart(page: Page, berth: Installation) -> None:
    start(page, berth)
    endpoint = berth.command("status").stdout
    berth.stop()
    assert "Running models go on." in berth.log.read_text()
    berth.start()
    assert berth.command("status").stdout == endpoint
    key = berth.command("key", "create", "browser-test").stdout.strip()
    said = httpx.post(
        f"http://127.0.0.1:{berth.port + 1}/v1/chat/completions",
        json={"model": CONFIG, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8},
        headers={"Authorization": f"Bearer {key}"},
        timeout=60,
    )
    assert said.json()["choices"][0]["message"]["content"]


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_no_page_scrolls_sideways_or_complains(
    page: Page, berth: Installation, complaints: list[str], width: int, language: str
) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    page.context.add_cookies([{"name": "django_language", "value": language, "url": berth.url}])
    for path in PAGES:
        page.goto(berth.url + path)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{path} is {wide} px too wide"
    assert complaints == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_violation_on_any_page(
    browser: Browser, page: Page, berth: Installation, theme: Literal["light", "dark"]
) -> None:
    context = browser.new_context(
        storage_state=page.context.storage_state(), color_scheme=theme, bypass_csp=True, locale="en-GB"
    )
    checked = context.new_page()
    arrive_whole(checked)
    found = {}
    for path in PAGES:
        checked.goto(berth.url + path)
        checked.add_script_tag(path=AXE)
        violations = checked.evaluate("axe.run().then((result) => result.violations.map((each) => each.id))")
        found.update({path: violations} if violations else {})
    context.close()
    assert found == {}


def add_config(berth: Installation) -> None:
    """The example's config under another name, as a catalogue file of one's own."""
    shipped = yaml.safe_load((ROOT / "deployments" / "catalogue" / "smollm.yaml").read_text())
    config = next(each for each in shipped["configs"] if each["name"] == "smollm2-135m")
    own = {**config, "name": ON_REQUEST, "start_on_request": True, "stop_after_idle_minutes": 12}
    folder = Path(berth.environment["BERTH_DATA_DIR"]) / "catalogue"
    folder.mkdir(exist_ok=True)
    (folder / "on-request.yaml").write_text(yaml.safe_dump({"configs": [own]}))
    loaded = berth.command("load_catalogue")
    assert loaded.returncode == 0, loaded.stderr


def test_the_first_request_starts_the_model_and_is_answered(page: Page, berth: Installation) -> None:
    add_config(berth)
    page.goto(f"{berth.url}/catalogue/")
    row = page.locator("tr[data-row]", has=page.get_by_role("link", name=ON_REQUEST, exact=True))
    expect(row.get_by_text("starts on request")).to_be_visible()

    key = berth.command("key", "create", "on-request").stdout.strip()
    with httpx.Client(
        base_url=f"http://127.0.0.1:{berth.port + 1}", headers={"Authorization": f"Bearer {key}"}, timeout=120
    ) as client:
        ends_at = time.monotonic() + 10
        while {"id": ON_REQUEST, "ready": False} not in [
            {name: model[name] for name in ("id", "ready")} for model in client.get("/v1/models").json()["data"]
        ]:
            assert time.monotonic() < ends_at
            time.sleep(0.1)
        body = {"model": ON_REQUEST, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}
        answer = client.post("/v1/chat/completions", json={**body, "stream": True})
        assert answer.status_code == 200
        assert answer.text.endswith("data: [DONE]\n\n")
        assert '"content"' in answer.text

    told = json.loads(berth.command("status", "--json").stdout)
    run = next(each for each in told if each["config"] == ON_REQUEST)
    assert run["phase"] == "ready"
    page.goto(f"{berth.url}/deployments/{run['deployment']}/")
    expect(page.locator("#head").get_by_text("a request")).to_be_visible()
    # The gateways tell in turns when they were last asked; until then the page says only after how long it stops.
    ends_at = time.monotonic() + 20
    while not page.get_by_text("when nobody asks").is_visible():
        expect(page.get_by_text("without requests")).to_be_visible()
        assert time.monotonic() < ends_at
        page.reload()
    assert berth.command("stop", ON_REQUEST, "--wait").returncode == 0
