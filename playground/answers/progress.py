"""What came of an answer so far: pure, told by events and a clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from playground.protocols.streams.events import (
    BrokeOff,
    Drawn,
    Event,
    Failure,
    Finish,
    Reasoning,
    Step,
    Text,
    ToolCall,
    Usage,
)

#: Of text, of reasoning, and of the arguments of all calls, in characters: an answer that never ends is ended here.
LONGEST: Final = 2_000_000
MOST_CALLS: Final = 200


@dataclass(kw_only=True)
class Progress:
    """An answer under way. Times are seconds of one clock; ``sent_at`` is when the request went out."""

    sent_at: float
    content: str = ""
    reasoning: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    finish_reason: str = ""
    failure: Failure | None = None
    broke_off: bool = False
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    load_ms: int | None = None
    pieces: int = 0
    first_at: float | None = None
    last_at: float | None = None
    images: list[str] = field(default_factory=list)
    seed: int | None = None
    step: Step | None = None

    @property
    def is_too_long(self) -> bool:
        """Whether it has to be ended."""
        arguments = sum(len(call["arguments"]) for call in self.calls)
        return max(len(self.content), len(self.reasoning), arguments) > LONGEST or len(self.calls) > MOST_CALLS

    @property
    def has_something(self) -> bool:
        """Whether anything came that is worth keeping."""
        return bool(self.content or self.reasoning or self.calls or self.images)

    @property
    def first_token_ms(self) -> int | None:
        """From sending to the first piece."""
        return None if self.first_at is None else round((self.first_at - self.sent_at) * 1000)

    @property
    def stream_ms(self) -> int | None:
        """From the first piece to the last."""
        if self.first_at is None or self.last_at is None:
            return None
        return round((self.last_at - self.first_at) * 1000)

    def apply(self, event: Event, *, now: float) -> None:
        """Take one event that came at ``now``."""
        match event:
            case Text(text):
                self.content += _kept(text)
                self._note_piece(now)
            case Reasoning(text):
                self.reasoning += _kept(text)
                self._note_piece(now)
            case ToolCall():
                self._call(event)
                self._note_piece(now)
            case Usage():
                self.prompt_tokens = event.prompt_tokens if event.prompt_tokens is not None else self.prompt_tokens
                if event.completion_tokens is not None:
                    self.completion_tokens = event.completion_tokens
                self.load_ms = event.load_ms if event.load_ms is not None else self.load_ms
            case Step():
                # What has begun waits no more: between its last step and the image an engine may tell of none.
                self.step = event if event.steps or self.step is None else self.step
            case Drawn():
                self.images.append(event.image)
                self.seed = event.seed if event.seed is not None else self.seed
            case Finish(reason):
                self.finish_reason = reason[:40]
            case Failure():
                self.failure = event
            case BrokeOff():
                self.broke_off = True

    def _note_piece(self, now: float) -> None:
        self.pieces += 1
        self.first_at = now if self.first_at is None else self.first_at
        self.last_at = now

    def _call(self, piece: ToolCall) -> None:
        """Pieces of a call come with its index; some servers repeat the id and the name, others do not."""
        call = next((each for each in self.calls if each["index"] == piece.index), None)
        if call is None:
            call = {"index": piece.index, "id": "", "name": "", "arguments": ""}
            self.calls.append(call)
        call["id"] = call["id"] or _kept(piece.call_id)[:200]
        call["name"] = call["name"] or _kept(piece.name)[:200]
        call["arguments"] += _kept(piece.arguments)


def _kept(text: str) -> str:
    """PostgreSQL keeps no NUL, and half a surrogate pair is no text."""
    return text.replace("\0", "�").encode("utf-8", "replace").decode()
