"""What one request has reserved of its key's budgets."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .key_budgets import KeyBudget

RateHeaders = tuple[tuple[bytes, bytes], ...]


class Reservation:
    """One admitted request. :meth:`settle` it once it is over, however it ended; later calls do nothing."""

    __slots__ = ("_budget", "_settled", "_tokens", "_windows")

    def __init__(self, budget: KeyBudget | None, tokens: int, windows: tuple[int, ...]) -> None:
        self._budget = budget
        self._tokens = tokens
        self._windows = windows
        self._settled = budget is None

    @property
    def headers(self) -> RateHeaders:
        """x-ratelimit headers for the answer; none for a key without limits."""
        return () if self._budget is None else self._budget.headers()

    def settle(self, prompt_tokens: int | None, completion_tokens: int | None) -> None:
        """Correct the reserve to what was used; (0, 0) gives all tokens back, unknown usage keeps the reserve."""
        if self._settled or self._budget is None:
            return
        self._settled = True
        if prompt_tokens is None and completion_tokens is None:
            return
        used = (prompt_tokens or 0) + (completion_tokens or 0)
        if used != self._tokens:
            self._budget.correct(self._tokens - used, self._windows)


#: For every caller without limits.
UNLIMITED = Reservation(None, 0, ())
