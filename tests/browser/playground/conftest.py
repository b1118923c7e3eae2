"""One installation with a scripted server of each kind for all tests of the playground."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, StorageState

from tests.browser.conftest import sign_in
from tests.browser.installation import Installation
from tests.browser.playground.servers import serving


@pytest.fixture(scope="package")
def berth(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Berth with every server ready."""
    with serving(tmp_path_factory.mktemp("berth-playground")) as installation:
        yield installation


@pytest.fixture(scope="package")
def signed_in(browser: Browser, berth: Installation) -> StorageState:
    """The admin's cookies, for as long as the installation."""
    return sign_in(browser, berth)


@pytest.fixture
def elsewhere(page: Page, berth: Installation) -> list[str]:
    """Requests of the page that leave this installation."""
    asked: list[str] = []
    own = (berth.url, "data:", "blob:")
    page.on("request", lambda request: None if request.url.startswith(own) else asked.append(request.url))
    return asked
