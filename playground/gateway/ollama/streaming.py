"""OpenAI's stream of events as Ollama's stream of lines."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _

from playground.exceptions import GatewayError, UpstreamError
from playground.gateway.usage import UNKNOWN, Usage, usage_of

from .answers import Objects, encoded
from .choices import (
    ToolCalls,
    done_reason,
    failure_in,
    first_choice,
    member,
    parsed,
    probabilities_in,
    reasoning_in,
    text_in,
)
from .server_events import EventTooLongError, ServerEvents

_DONE = b"[DONE]"


class LineStream:
    """Takes chunks of an engine's stream as they come and gives the lines that go to the client.

    What comes out does not depend on where the chunks are cut. Nothing is raised: ``failure`` tells what went wrong,
    after the lines that were right. ``ended`` means that the last line is out; what follows is not looked at.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._events = ServerEvents()
        self._calls = ToolCalls()
        self._lines: list[bytes] = []
        self._reason: object = None
        self._timings: dict[str, Any] = {}
        self.usage: Usage = UNKNOWN
        self.failure: GatewayError | None = None
        self.ended = False

    def is_over(self) -> bool:
        """Whether nothing more will come out, for better or worse."""
        return self.ended or self.failure is not None

    @property
    def finished(self) -> bool:
        """Whether the engine said why it stopped: then only counts can be missing."""
        return self._reason is not None

    def feed(self, chunk: bytes) -> bytes:
        """The lines that ``chunk`` completes; perhaps none."""
        try:
            self._take_all(self._events.feed(chunk))
        except EventTooLongError:
            self.failure = self.failure or _garbage()
        return self._out()

    def end(self) -> bytes:
        """The rest of a stream that was closed, with or without its last event."""
        # Half an event at the end means that something was cut off, not that the engine writes nonsense.
        rest = self._events.end()
        if rest and not self.ended and (rest[0].strip() == _DONE or parsed(rest[0]) is not None):
            self._take_all(rest)
        if self.finished:
            self._finish()
        return self._out()

    def _take_all(self, events: list[bytes]) -> None:
        for event in events:
            if self.is_over():
                return
            try:
                self._take(event)
            except GatewayError as error:
                self.failure = error

    def _take(self, event: bytes) -> None:
        if event.strip() == _DONE:
            self._finish()
            return
        content = parsed(event)
        if content is None:
            raise _garbage()
        failure = failure_in(content)
        if failure is not None:
            raise failure
        if usage := member(content, "usage"):
            self.usage = usage_of(usage)
        self._timings = member(content, "timings") or self._timings
        choice = first_choice(content)
        if choice is not None:
            self._take_choice(choice)

    def _take_choice(self, choice: dict[str, Any]) -> None:
        delta = member(choice, "delta")
        self._calls.add(delta.get("tool_calls"))
        text, thought = text_in(delta, "content") or text_in(choice, "text"), reasoning_in(delta)
        probabilities = probabilities_in(choice)
        if text or thought or probabilities:
            self._write(text=text, thinking=thought, **({"logprobs": probabilities} if probabilities else {}))
        if (reason := choice.get("finish_reason")) is not None:
            self._reason = reason
            self._write_calls()

    def _write_calls(self) -> None:
        if calls := self._calls.joined(self._reason):
            self._write(tool_calls=calls)

    def _finish(self) -> None:
        if self.is_over():
            return
        try:
            self._write_calls()
        except GatewayError as error:
            self.failure = error
            return
        self.ended = True
        last = self._objects.last(done_reason(self._reason), self.usage, timings=self._timings)
        self._lines.append(encoded(last))

    def _write(self, **content: Any) -> None:
        part = self._objects.part(**content)
        if part is not None:
            self._lines.append(encoded(part))

    def _out(self) -> bytes:
        lines, self._lines = self._lines, []
        return b"".join(line + b"\n" for line in lines)


def _garbage() -> UpstreamError:
    return UpstreamError(_("The model's server sent something that is no event of a chat. Its log may have the cause."))
