"""What a load test asks for, within bounds. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Final, Self

from django.utils.translation import gettext as _

from deployments.exceptions import InvalidInputError

DEFAULT_CONCURRENCY: Final = (1, 2, 4, 8, 16, 32)
#: The bounds: a test is for one model and not for a network.
MOST_LEVELS: Final = 12
MOST_CONCURRENCY: Final = 512
MOST_REQUESTS: Final = 5000
MOST_PROMPT_TOKENS: Final = 200_000
MOST_OUTPUT_TOKENS: Final = 16_384
MOST_WARM_UP: Final = 20
MOST_LEVEL_S: Final = 1800
MOST_TOTAL_S: Final = 4 * 3600


@dataclass(frozen=True, kw_only=True)
class LoadSettings:
    """A ramp: for each number of users in ``concurrency``, so many ``requests``, but one for each user at least.

    ``kind`` is one of :data:`.asking.KINDS`. ``direct`` asks the server itself instead of the gateway. ``level_s``
    bounds a level and ``total_s`` the test, in seconds. ``context_length`` asks one prompt more before the ramp, of
    so many tokens together with its answer; 0 leaves it out. ``size`` is that of images.
    """

    kind: str = "chat"
    concurrency: tuple[int, ...] = DEFAULT_CONCURRENCY
    requests: int = 32
    prompt_tokens: int = 256
    output_tokens: int = 128
    stream: bool = True
    direct: bool = False
    warm_up: int = 2
    level_s: int = 120
    total_s: int = 1800
    context_length: int = 0
    size: str = "512x512"

    def __post_init__(self) -> None:
        """Raise InvalidInputError for what is out of bounds."""
        levels = self.concurrency
        _require(0 < len(levels) <= MOST_LEVELS, _("A load test has 1 to %(most)s levels."), most=MOST_LEVELS)
        _require(
            all(low < high for low, high in pairwise(levels)),
            _("Write the numbers of users in rising order, as in 1,2,4."),
        )
        _bound(_("Users at once"), min(levels), 1, MOST_CONCURRENCY)
        _bound(_("Users at once"), max(levels), 1, MOST_CONCURRENCY)
        _bound(_("Requests a level"), self.requests, 1, MOST_REQUESTS)
        _bound(_("Prompt tokens"), self.prompt_tokens, 1, MOST_PROMPT_TOKENS)
        _bound(_("Output tokens"), self.output_tokens, 1, MOST_OUTPUT_TOKENS)
        _bound(_("Warm-up requests"), self.warm_up, 0, MOST_WARM_UP)
        _bound(_("Seconds a level"), self.level_s, 1, MOST_LEVEL_S)
        _bound(_("Seconds in all"), self.total_s, 1, MOST_TOTAL_S)
        _bound(_("Context length"), self.context_length, 0, MOST_PROMPT_TOKENS)

    def requests_at(self, concurrency: int) -> int:
        """How many requests a level of so many users sends."""
        return max(self.requests, concurrency)

    @property
    def total_requests(self) -> int:
        """Of all levels, without warm-up."""
        return sum(map(self.requests_at, self.concurrency))

    def to_json(self) -> dict[str, Any]:
        """For the row; :meth:`from_json` reads it."""
        return {**asdict(self), "concurrency": list(self.concurrency)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """What was kept; members of a newer version are passed over."""
        known = {name: content[name] for name in cls.__dataclass_fields__ if name in content}
        return cls(**{**known, "concurrency": tuple(known.get("concurrency", DEFAULT_CONCURRENCY))})


def read_concurrency(text: str) -> tuple[int, ...]:
    """``1,2,4`` as numbers. Raises InvalidInputError; the bounds are those of :class:`LoadSettings`."""
    parts = [part.strip() for part in text.replace("，", ",").split(",")]
    _require(
        all(part.isascii() and part.isdecimal() and len(part) < 6 for part in parts),
        _("Write the numbers of users with commas between them, as in 1,2,4."),
    )
    return tuple(int(part) for part in parts)


def in_words(concurrency: Sequence[int]) -> str:
    """``1, 2, 4``."""
    return ", ".join(map(str, concurrency))


def _bound(name: str, value: int, least: int, most: int) -> None:
    told = {"name": name, "least": f"{least:,}", "most": f"{most:,}"}
    if not least <= value <= most:
        raise InvalidInputError(_("%(name)s: between %(least)s and %(most)s.") % told)


def _require(holds: bool, sentence: str, **told: object) -> None:  # noqa: FBT001  # reads as an assertion
    if not holds:
        raise InvalidInputError(sentence % told if told else sentence)
