"""What arrives while a model answers, whatever the protocol."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """The next piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """The next piece of what the model thought before it answered."""

    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolCall:
    """A call of a tool, or the next piece of one: those with one index belong together."""

    index: int
    call_id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """Tokens as the server counted them; None where it told none."""

    prompt_tokens: int | None
    completion_tokens: int | None
    load_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Finish:
    """Why the model ended: ``stop``, ``length``, ``tool_calls`` and what else servers say."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """The server's own words for what went wrong, in the middle of a stream too."""

    message: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class Served:
    """What the gateway's headers would have told, had they not gone ahead of the answer: numbers by header's name."""

    headers: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class BrokeOff:
    """The stream ended before its end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """How far an image is; ``steps`` is 0 as long as it waits for others."""

    step: int
    steps: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    """An image in base64, as it came. ``seed`` is that of the first one of its request, where the server tells it."""

    image: str
    seed: int | None = None


Event = Text | Reasoning | ToolCall | Usage | Finish | Failure | Served | BrokeOff | Step | Drawn
