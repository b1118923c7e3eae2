"""A browser and an installation for the whole module; every test begins signed in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.installation import PASSWORD, Installation, installed
from tests.requirements import left_out, require

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="module")
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


@pytest.fixture
def complaints() -> list[str]:
    """What the browser's console complained about, CSP violations among it."""
    return []


@pytest.fixture
def page(browser: Browser, berth: Installation, complaints: list[str]) -> Iterator[Page]:
    """A tab that is signed in as the admin, in English."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB")
    opened = context.new_page()
    opened.set_default_timeout(30_000)
    opened.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.goto(f"{berth.url}/")
    opened.get_by_label("Name").fill("admin")
    opened.get_by_label("Password").fill(PASSWORD)
    opened.get_by_role("button", name="Sign in").click()
    opened.wait_for_url(f"{berth.url}/")
    yield opened
    context.close()
