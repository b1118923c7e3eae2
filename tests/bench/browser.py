"""Chromium, signed in to an installation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page, expect, sync_playwright

from tests.requirements import PROBES

from .installation import ADMIN_PASSWORD, Installation


@contextmanager
def signed_in_page(installation: Installation) -> Iterator[Page]:
    """The overview, as the admin sees it. The probe ``chromium`` must have found one."""
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=PROBES["chromium"][0](), args=flags)
        page = browser.new_context(locale="en-GB").new_page()
        page.set_default_timeout(60_000)
        expect.set_options(timeout=60_000)
        page.goto(f"{installation.url}/")
        page.get_by_label("Name").fill("admin")
        page.get_by_label("Password").fill(ADMIN_PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{installation.url}/")
        yield page
        browser.close()
