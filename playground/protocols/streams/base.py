"""What the readers of all protocols share: lines out of chunks, JSON out of lines, thoughts out of the text."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Final, Protocol

from .events import BrokeOff, Event, Failure, Finish, Reasoning, Served, Text

#: A line that is longer ends the answer: no server sends such, and memory is finite.
LONGEST_LINE: Final = 16 * 1024 * 1024
#: A comment of the gateway for clients whose headers went ahead, see playground/gateway/ahead.py.
SERVED: Final = ": x-berth-"
_OPEN, _CLOSE = "<think>", "</think>"


class EventReader(Protocol):
    """Makes events of an answer's bytes, whatever they carry."""

    def feed(self, chunk: bytes) -> list[Event]:
        """The events of what is complete now."""
        ...

    def end(self) -> list[Event]:
        """What the end of the stream means. Call it once."""
        ...


class StreamReader(ABC):
    """Makes events of an answer's bytes. Call :meth:`feed` for each chunk and :meth:`end` at the end, once."""

    def __init__(self) -> None:
        self._rest = b""
        self._over = False
        self._finished = False
        self._thoughts = _Thoughts()

    def feed(self, chunk: bytes) -> list[Event]:
        """The events of what is complete now. After a failure or the protocol's last word there are none."""
        self._rest += chunk
        *lines, self._rest = self._rest.split(b"\n")
        found = [event for line in lines for event in self._taken(self._line(_decoded(line)))]
        if len(self._rest) > LONGEST_LINE:
            self._rest = b""
            found += self._taken(iter([Failure(message="the server sent a line of more than 16 MB", code="too_long")]))
        return found

    def end(self) -> list[Event]:
        """What the end of the stream means: a last line without its end, and whether the answer is whole."""
        found = self._taken(self._line(_decoded(self._rest)))
        found += self._taken(self._last())
        self._rest = b""
        if not self._over:
            found += self._thoughts.end()
            # Some servers close after the reason without their protocol's last word: then nothing is missing.
            if not self._finished:
                found.append(BrokeOff())
        self._over = True
        return found

    @abstractmethod
    def _line(self, line: str) -> Iterator[Event]:
        """The events of one line."""

    def _last(self) -> Iterator[Event]:
        """The events of what waits for a line that will not come."""
        return iter(())

    def _taken(self, events: Iterator[Event]) -> list[Event]:
        if self._over:
            return []
        found: list[Event] = []
        for event in events:
            if isinstance(event, Text) and not self._over:
                found += self._thoughts.feed(event.text)
                continue
            if isinstance(event, Failure):
                self._over = True
                return [*found, *self._thoughts.end(), event]
            self._finished |= isinstance(event, Finish)
            found.append(event)
        return found

    def _complete(self) -> list[Event]:
        """The protocol's last word: what follows is not looked at. Gives what was held back."""
        self._over = True
        return self._thoughts.end()


class _Thoughts:
    """Tells ``<think>…</think>`` at the beginning of a text from the text, where a server leaves it in there.

    Line ends beside the marks belong to neither.
    """

    def __init__(self) -> None:
        self._held = ""
        self._step = self._before
        self._kind: type[Text | Reasoning] = Text
        self._trims = False

    def feed(self, text: str) -> list[Event]:
        self._held += text
        return self._step()

    def end(self) -> list[Event]:
        held, self._held = self._held, ""
        return self._released(held)

    def _before(self) -> list[Event]:
        began = self._held.lstrip()
        if began.startswith(_OPEN):
            self._held = began.removeprefix(_OPEN)
            self._step, self._kind, self._trims = self._within, Reasoning, True
            return self._within()
        if _OPEN.startswith(began):
            return []
        self._step = self._after
        return self._after()

    def _within(self) -> list[Event]:
        thoughts, closed, rest = self._held.partition(_CLOSE)
        if closed:
            found = self._released(thoughts.rstrip("\n"))
            self._held = rest
            self._step, self._kind, self._trims = self._after, Text, True
            return found + self._after()
        # The end of what is there may be the beginning of the closing mark, or of line ends before it.
        kept = next((size for size in range(len(_CLOSE) - 1, 0, -1) if self._held.endswith(_CLOSE[:size])), 0)
        ready = self._held[: len(self._held) - kept].rstrip("\n")
        self._held = self._held[len(ready) :]
        return self._released(ready)

    def _after(self) -> list[Event]:
        held, self._held = self._held, ""
        return self._released(held)

    def _released(self, text: str) -> list[Event]:
        if self._trims:
            text = text.lstrip("\n")
            self._trims = not text
        return [self._kind(text)] if text else []


def _decoded(line: bytes) -> str:
    return line.removesuffix(b"\r").decode(errors="replace")


def parsed(text: str) -> dict[str, Any] | None:
    """A JSON object, or None."""
    try:
        content = json.loads(text)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def unreadable(text: str) -> Failure:
    """The failure for a line that is not what the protocol says."""
    return Failure(message=f"the server sent something that is not JSON: {text[:200]}", code="not_json")


def failure_in(content: dict[str, Any]) -> Failure | None:
    """The error that an object carries, as OpenAI's, Ollama's and vLLM's servers write it."""
    error = content.get("error")
    if isinstance(error, dict):
        return Failure(message=str(error.get("message") or error), code=str(error.get("code") or ""))
    if error:
        return Failure(message=str(error))
    if content.get("object") == "error":
        return Failure(message=str(content.get("message") or content), code=str(content.get("code") or ""))
    return None


def served_in(comment: str) -> Served:
    """What a comment that begins with :data:`SERVED` tells."""
    pairs = (part.partition("=") for part in comment[2:].split())
    return Served(tuple((name, int(text)) for name, _is, text in pairs if text.isdecimal() and len(text) < 10))


def count(value: object) -> int | None:
    """A number of tokens, or None for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else None


def words(value: object) -> str:
    """Text as servers send it: a string, or OpenAI's list of parts."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(str(part.get("text") or "") for part in value if isinstance(part, dict))
    return ""
