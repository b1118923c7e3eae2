"""Fills an :class:`.outcomes.Outcome` from the bytes of an answer. Pure.

A stream is parsed up to its first text, then only counted, and its last frames are parsed when it is over: to
understand each of them (:mod:`playground.protocols.streams`) costs 12 µs a frame and this 1.3, and whatever one
stream costs, all others wait for.
"""

from __future__ import annotations

import json
from typing import Final

from playground.protocols.streams.base import failure_in

from .outcomes import BROKE_OFF, EMPTY, FAILED, REFUSED, LoadError, Outcome
from .wires import Content, Wire

#: The last frames with usage and reason are within so many bytes.
TAIL_BYTES: Final = 4 * 1024
#: Of the server's own words.
LONGEST_WORDS: Final = 300


class StreamMeter:
    """One stream. Call :meth:`feed` for each chunk and :meth:`end` at the end, once."""

    __slots__ = ("_before", "_outcome", "_tail", "_wire")

    def __init__(self, wire: Wire, outcome: Outcome) -> None:
        self._wire = wire
        self._outcome = outcome
        self._before = b""
        self._tail = b""

    def feed(self, chunk: bytes, now: float) -> None:
        """Bytes came at ``now``."""
        outcome = self._outcome
        if outcome.first_at:
            mark = self._wire.mark or b"\n"
            # A mark may be cut in two.
            frames = (self._tail[1 - len(mark) :] + chunk if len(mark) > 1 else chunk).count(mark)
            if frames:
                outcome.pieces += frames
                outcome.last_at = now
        else:
            self._look_for_text(chunk, now)
        self._tail = (self._tail + chunk)[-TAIL_BYTES:]

    def end(self, now: float) -> None:
        """The answer is over, in good order as far as HTTP goes."""
        outcome, wire = self._outcome, self._wire
        outcome.ended_at = now
        whole, error, after_text = False, None, 0
        for line in map(bytes.strip, self._tail.split(b"\n")):
            if not line or not line.startswith(wire.mark):
                continue
            after_text += 1
            whole |= line == wire.last_word
            content = wire.frame(line)
            if content is None:
                continue
            whole |= wire.ends(content)
            error = error or _failure(content)
            _note_tokens(wire, content, outcome)
            if wire.text(content):
                after_text = 0
        # Usage, the reason and the last word are no pieces of the answer.
        outcome.pieces = max(outcome.pieces - after_text, min(outcome.pieces, 1))
        if error is not None:
            outcome.error = error
        elif not whole:
            outcome.error = LoadError(BROKE_OFF)
        elif not outcome.first_at:
            outcome.error = LoadError(EMPTY)

    def _look_for_text(self, chunk: bytes, now: float) -> None:
        outcome, wire = self._outcome, self._wire
        *lines, self._before = (self._before + chunk).split(b"\n")
        for line in lines:
            if outcome.first_at:
                outcome.pieces += bool(line.strip()) and line.startswith(wire.mark)
                continue
            content = wire.frame(line)
            if content is not None and wire.text(content):
                outcome.first_at = outcome.last_at = now
                outcome.pieces = 1
        if outcome.first_at and wire.mark:
            # Of the frame that is half there; its end counts no more.
            outcome.pieces += self._before.count(wire.mark)


def read_whole(wire: Wire, body: bytes, outcome: Outcome, *, now: float) -> None:
    """A whole answer came at ``now``."""
    outcome.ended_at = now
    content = _object(body)
    if content is None:
        outcome.error = LoadError(FAILED, "not JSON: " + _shortened(body))
        return
    outcome.error = _failure(content)
    _note_tokens(wire, content, outcome)
    if outcome.error is None and not wire.text(content):
        outcome.error = LoadError(EMPTY)


def refusal(status: int, body: bytes) -> LoadError:
    """What an answer with another status than 200 says."""
    content = _object(body)
    failure = None if content is None else failure_in(content)
    said = _shortened(body) if failure is None else failure.message[:LONGEST_WORDS]
    return LoadError(REFUSED, said, status)


def _failure(content: Content) -> LoadError | None:
    failure = failure_in(content)
    return None if failure is None else LoadError(FAILED, failure.message[:LONGEST_WORDS])


def _note_tokens(wire: Wire, content: Content, outcome: Outcome) -> None:
    tokens = wire.tokens(content)
    if tokens is not None:
        outcome.prompt_tokens = tokens.prompt if tokens.prompt is not None else outcome.prompt_tokens
        outcome.output_tokens = tokens.output if tokens.output is not None else outcome.output_tokens


def _object(body: bytes) -> Content | None:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _shortened(body: bytes) -> str:
    return " ".join(body[: 4 * LONGEST_WORDS].decode(errors="replace").split())[:LONGEST_WORDS]
