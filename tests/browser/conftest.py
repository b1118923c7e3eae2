"""One browser, and an installation for the whole module; every test begins signed in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, Page, Response, StorageState, expect, sync_playwright

from tests.browser.installation import Installation, installed
from tests.installed import PASSWORD
from tests.requirements import left_out, require

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
#: What is waited for comes in a second or two; a busy machine is given more.
WITHIN_MS = 30_000
CHANGED = "ERR_NETWORK_CHANGED"
MOST_ARRIVALS = 20


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    chromium = require("chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def berth(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder: Path = tmp_path_factory.mktemp("berth")
    with installed(folder) as installation:
        fetched = installation.command("start", "smollm2-135m", "--wait")
        if fetched.returncode:
            left_out("model", f"smollm2-135m cannot be fetched here: {fetched.stderr[-300:]}")
        installation.command("stop", "smollm2-135m", "--wait")
        yield installation
        installation.command("stop", "smollm2-135m", "--wait")


@pytest.fixture
def complaints() -> list[str]:
    """What the browser's console complained about, CSP violations among it."""
    return []


@pytest.fixture(scope="module", autouse=True)
def _patience() -> None:
    """What is waited for comes in a second or two, and its test goes on at once; a starved browser is given more.

    Playwright's own 5 s are less than the first drawing of a long log takes where everything runs at a tenth of its
    speed: its questions wait behind that, and the last answer is that of before.
    """
    expect.set_options(timeout=WITHIN_MS)


@pytest.fixture(scope="module")
def signed_in(browser: Browser, berth: Installation) -> StorageState:
    """See :func:`sign_in`."""
    return sign_in(browser, berth)


def sign_in(browser: Browser, berth: Installation) -> StorageState:
    """The cookies of the admin, who signed in by the form: that hashes a password, which takes long by design."""
    context = browser.new_context(locale="en-GB")
    opened = context.new_page()
    opened.set_default_timeout(WITHIN_MS)
    opened.goto(f"{berth.url}/")
    opened.get_by_label("Name").fill("admin")
    opened.get_by_label("Password").fill(PASSWORD)
    opened.get_by_role("button", name="Sign in").click()
    opened.wait_for_url(f"{berth.url}/")
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def page(browser: Browser, berth: Installation, signed_in: StorageState, complaints: list[str]) -> Iterator[Page]:
    """An empty tab that is signed in as the admin, in English."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB", storage_state=signed_in)
    opened = context.new_page()
    opened.set_default_timeout(WITHIN_MS)
    opened.on(
        "console",
        lambda message: (
            complaints.append(message.text) if message.type == "error" and CHANGED not in message.text else None
        ),
    )
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    arrive_whole(opened)
    yield opened
    context.close()


def arrive_whole(page: Page) -> None:
    """Let ``goto`` load a page again of which the browser broke something off.

    Chromium does that whenever it sees the network change, as at each container and each bridge that other tests make
    meanwhile. A page does the same for a person, a second later (static/js/complete.js).
    """
    broken: list[str] = []
    page.on("requestfailed", lambda request: broken.append(request.url) if CHANGED in (request.failure or "") else None)
    once = page.goto

    def goto(url: str, **options: Any) -> Response | None:
        for _time in range(MOST_ARRIVALS):
            broken.clear()
            try:
                answer = once(url, **options)
            except Error as error:
                if CHANGED not in str(error):
                    raise
                broken.append(url)
            else:
                if not broken:
                    return answer
        raise AssertionError(f"the network changed each time: {broken}")

    page.goto = goto  # type: ignore[method-assign]


def wait_until_whole(page: Page) -> None:
    """For a page that a click loads: one of which something was broken off loads itself again (see above)."""
    page.wait_for_function(
        "() => document.readyState === 'complete' && !('incomplete' in document.documentElement.dataset)"
    )
