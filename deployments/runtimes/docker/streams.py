"""A long answer of the engine: read in a thread of its own, so that whoever waits for it can leave at any moment."""

from __future__ import annotations

import contextlib
import json
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

from docker.types import CancellableStream

from deployments.exceptions import BerthError
from deployments.runtimes.base import Cancelled

from .engine import new_connection, silent

#: How long silence lasts before somebody is asked whether the answer is still wanted.
LOOK_EVERY_S = 0.5
#: Parts that wait for their reader; the engine waits when there are more.
MOST_PARTS = 64
CONNECT_S = 10
CHUNK_BYTES = 1024 * 1024

#: Asks the engine, given a client of its own; returns the answer of ``requests``, whose body is a stream.
Ask = Callable[[Any], Any]
#: From an answer that is no success to the error that it means.
Explain = Callable[[str], BerthError]


def lines(ask: Ask, *, explain: Explain, cancelled: Cancelled, nobody: BerthError) -> Iterator[dict[str, Any]]:
    """The engine's lines of JSON as they come.

    Raises ``nobody`` soon after ``cancelled`` says so, what ``explain`` makes of a refusal, and
    RuntimeUnavailableError where the engine falls silent.
    """
    parts = _parts(ask, lambda answer: answer.iter_lines(), explain=explain, cancelled=cancelled, nobody=nobody)
    for line in parts:
        if line.strip():
            yield json.loads(line)


def chunks(ask: Ask, *, explain: Explain, cancelled: Cancelled, nobody: BerthError) -> Iterator[bytes]:
    """The bytes of the engine's answer as they come; raises as :func:`lines` does."""
    return _parts(
        ask,
        lambda answer: answer.iter_content(CHUNK_BYTES),
        explain=explain,
        cancelled=cancelled,
        nobody=nobody,
    )


def _parts(
    ask: Ask,
    split: Callable[[Any], Iterator[bytes]],
    *,
    explain: Explain,
    cancelled: Cancelled,
    nobody: BerthError,
) -> Iterator[bytes]:
    answer = _Answer(new_connection(), ask, split)
    threading.Thread(target=answer.read, name="engine", daemon=True).start()
    try:
        while (part := _next(answer.parts, cancelled, nobody)) is not None:
            if isinstance(part, _Refusal):
                raise explain(part.said)
            if isinstance(part, BerthError):
                raise part
            if isinstance(part, Exception):
                raise silent(part) from part
            yield part
    finally:
        answer.close()


def _next(
    parts: queue.Queue[bytes | Exception | None], cancelled: Cancelled, nobody: BerthError
) -> bytes | Exception | None:
    while not cancelled():
        with contextlib.suppress(queue.Empty):
            return parts.get(timeout=LOOK_EVERY_S)
    raise nobody


class _Refusal(Exception):  # noqa: N818 - what the engine said, not yet an error of ours
    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said


class _Answer:
    """Asks and reads in a thread of its own, which also closes the connection.

    The engine answers nothing at all until the registry has: with one that is silent that took 25 s, measured.
    """

    def __init__(self, client: Any, ask: Ask, split: Callable[[Any], Iterator[bytes]]) -> None:
        self.parts: queue.Queue[bytes | Exception | None] = queue.Queue(MOST_PARTS)
        self._client = client
        self._ask = ask
        self._split = split
        self._lock = threading.Lock()
        self._response: Any = None
        self._unwanted = False

    def read(self) -> None:
        """Put each part into ``parts``; then None, or the error that ended it."""
        try:
            response = self._ask(self._client)
            with self._lock:
                self._response = response
                unwanted = self._unwanted
            if unwanted:
                _hang_up(response)
            elif not response.ok:
                self._put(_Refusal(_message(response)))
            else:
                for part in self._split(response):
                    self._put(part)
            self._put(None)
        except Exception as error:  # noqa: BLE001 - given to the reader of the queue, who knows what it means
            self._put(error)
        finally:
            self._client.close()

    def close(self) -> None:
        """Hang up, so that the engine ends its work; at once, or as soon as it has begun to answer."""
        with self._lock:
            self._unwanted = True
            response = self._response
        if response is not None:
            _hang_up(response)

    def _put(self, part: bytes | Exception | None) -> None:
        while not self._unwanted:
            with contextlib.suppress(queue.Full):
                self.parts.put(part, timeout=LOOK_EVERY_S)
                return


def _hang_up(response: Any) -> None:
    CancellableStream(iter(()), response).close()


def _message(response: Any) -> str:
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError):
        return f"{response.status_code} {response.reason}"
