"""What became of one request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

UNREACHABLE: Final = "unreachable"
BROKE_OFF: Final = "broke_off"
SILENT: Final = "silent"
REFUSED: Final = "refused"
FAILED: Final = "failed"
EMPTY: Final = "empty"
LATE: Final = "late"


@dataclass(frozen=True, slots=True)
class LoadError:
    """Why there is no whole answer: a code of this module, the status where there was one, the server's own words."""

    code: str
    words: str = ""
    status: int = 0


@dataclass(slots=True)
class Outcome:
    """One request, as its user saw it. Times are seconds of one monotonic clock.

    ``sent_at`` is when the user wanted it sent, so connecting and a busy generator count. ``first_at`` and
    ``last_at`` are the first and last piece of the answer (0.0: none came), ``ended_at`` its end (0.0: still under
    way). Tokens are the server's own count; None where it told none. ``pieces`` counts what came with text in it, as
    an estimate of tokens.
    """

    sent_at: float
    first_at: float = 0.0
    last_at: float = 0.0
    ended_at: float = 0.0
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    pieces: int = 0
    error: LoadError | None = None

    @property
    def is_done(self) -> bool:
        """Whether the whole answer came."""
        return self.ended_at > 0 and self.error is None

    @property
    def tokens(self) -> int:
        """Of the answer: as counted, else as estimated."""
        return self.pieces if self.output_tokens is None else self.output_tokens

    @property
    def per_token_s(self) -> float | None:
        """Between two tokens, in the mean, after the first; None with fewer than two or without a stream."""
        if self.tokens < 2 or not self.first_at or self.last_at <= self.first_at:
            return None
        return (self.last_at - self.first_at) / (self.tokens - 1)
