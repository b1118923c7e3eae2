"""The pages that are open in this process: the one that asks hears its answer before it knows the answer's number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

#: Of the name that a page gives itself.
LONGEST_NAME: Final = 40


class Pages:
    """Sockets by person and name. All of it in the event loop."""

    def __init__(self) -> None:
        self._begin: dict[tuple[int, str], Callable[[int], None]] = {}

    def open(self, user_id: int, name: str, begin: Callable[[int], None]) -> None:
        """``begin(answer_id)`` for each answer that the page of this name asks for. Safe to repeat."""
        self._begin[user_id, name] = begin

    def close(self, user_id: int, name: str, begin: Callable[[int], None]) -> None:
        """No more of these. Safe to repeat, and after a later socket of the same page was opened."""
        if self._begin.get((user_id, name)) == begin:
            del self._begin[user_id, name]

    def tell(self, user_id: int, name: str, answer_id: int) -> None:
        """This page asked for this answer. A page of another process asks for its words itself."""
        begin = self._begin.get((user_id, name))
        if begin is not None:
            begin(answer_id)


#: Those of this process.
pages = Pages()
