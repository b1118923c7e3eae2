"""The pages that are open in this process: the one that asks hears its answer before it knows the answer's number."""

from __future__ import annotations

from typing import Any, Final, Protocol

#: Of the name that a page gives itself.
LONGEST_NAME: Final = 40


class Page(Protocol):
    """What an open page is told, in the event loop."""

    def begin(self, answer_id: int) -> None:
        """It asked for this answer."""

    def hear(self, answer_id: int, sequence: int, delta: dict[str, Any]) -> None:
        """The next delta of an answer that it asked for, or ``{"over": True}``."""


class Pages:
    """Open pages by person and name. All of it in the event loop."""

    def __init__(self) -> None:
        self._open: dict[tuple[int, str], Page] = {}

    def open(self, user_id: int, name: str, page: Page) -> None:
        """It hears of each answer that is asked for under this name. Safe to repeat."""
        self._open[user_id, name] = page

    def close(self, user_id: int, name: str, page: Page) -> None:
        """No more of these. Safe to repeat, and after a later socket of the same page was opened."""
        if self._open.get((user_id, name)) is page:
            del self._open[user_id, name]

    def tell(self, user_id: int, name: str, answer_id: int) -> Page | None:
        """The page of this name, which hears now that it asked for this answer.

        None where it is open in another process: there it asks for the words itself.
        """
        page = self._open.get((user_id, name))
        if page is not None:
            page.begin(answer_id)
        return page


#: Those of this process.
pages = Pages()
