"""What a page weighs on the wire at its first visit, with an empty cache."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from playwright.sync_api import Browser, StorageState

PAGES: Final = {
    "chat": "/playground/?config=parrot",
    "compare": "/playground/compare/",
    "images": "/playground/images/",
    "raw": "/playground/raw/?config=parrot",
}
_PARTS: Final = ("Script", "Stylesheet", "Document")


@dataclass(frozen=True, kw_only=True)
class Weight:
    """Bytes with their heads, as the network carried them, by the browser's kinds of resources."""

    by_kind: Counter[str]

    @property
    def total_bytes(self) -> int:
        """Everything: icons and the page's own requests, too."""
        return sum(self.by_kind.values())

    @property
    def parts(self) -> str:
        """The largest kinds, in thousands of bytes."""
        return " + ".join(f"{self.by_kind[kind] / 1000:.0f}" for kind in _PARTS)


def weight_of(browser: Browser, state: StorageState, address: str) -> Weight:
    """Load it once in a browser that has nothing, until nothing more is asked for."""
    context = browser.new_context(storage_state=state, locale="en-GB")
    page = context.new_page()
    session = context.new_cdp_session(page)
    kinds: dict[str, str] = {}
    found: Counter[str] = Counter()

    def asked(event: dict[str, Any]) -> None:
        kinds[event["requestId"]] = event["type"]

    def finished(event: dict[str, Any]) -> None:
        found[kinds.get(event["requestId"], "Other")] += int(event["encodedDataLength"])

    session.on("Network.responseReceived", asked)
    session.on("Network.loadingFinished", finished)
    session.send("Network.enable")
    page.goto(address, wait_until="networkidle")
    context.close()
    return Weight(by_kind=found)
