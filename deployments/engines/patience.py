"""Waiting for a server that may be silent for minutes, without losing the claim or being deaf to Stop."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from deployments.exceptions import FetchCancelledError

from .base import Cancelled

T = TypeVar("T")
TICK_S = 0.5
#: What a slow reader lets pile up before the server is slowed down too.
MOST_AHEAD = 1000


@dataclass(frozen=True)
class _Item(Generic[T]):
    value: T


@dataclass(frozen=True)
class _End:
    error: Exception | None


class _Reader(Generic[T]):
    """Reads in a thread of its own until the end, an error, or :meth:`leave`."""

    def __init__(self, items: Callable[[], Iterator[T]]) -> None:
        self._items = items
        self._ahead: queue.Queue[_Item[T] | _End] = queue.Queue(MOST_AHEAD)
        self._left = threading.Event()
        threading.Thread(target=self._read, name="berth-following", daemon=True).start()

    def next(self) -> _Item[T] | _End | None:
        """What was read next; None when nothing came for half a second."""
        try:
            return self._ahead.get(timeout=TICK_S)
        except queue.Empty:
            return None

    def leave(self) -> None:
        """Read no more. The thread ends at the next item, or when the end of the server cuts its connection."""
        self._left.set()

    def _read(self) -> None:
        error = None
        try:
            for value in self._items():
                self._put(_Item(value))
                if self._left.is_set():
                    return
        except Exception as caught:  # noqa: BLE001 - raised again where it is waited for
            error = caught
        self._put(_End(error))

    def _put(self, item: _Item[T] | _End) -> None:
        while not self._left.is_set():
            try:
                self._ahead.put(item, timeout=TICK_S)
            except queue.Full:
                continue
            return


def following(items: Callable[[], Iterator[T]], *, cancelled: Cancelled) -> Iterator[T]:
    """What ``items()`` yields, while ``cancelled`` is asked at least every half second.

    Raises whatever reading raised, or FetchCancelledError.
    """
    reader = _Reader(items)
    try:
        while True:
            came = reader.next()
            _require(cancelled)
            if isinstance(came, _End):
                if came.error is not None:
                    raise came.error
                return
            if came is not None:
                yield came.value
    finally:
        reader.leave()


def pause(seconds: float, *, cancelled: Cancelled) -> None:
    """Sleep. Raises FetchCancelledError within half a second once ``cancelled`` says yes."""
    ends_at = time.monotonic() + seconds
    while True:
        _require(cancelled)
        if (left_s := ends_at - time.monotonic()) <= 0:
            return
        time.sleep(min(TICK_S, left_s))


def _require(cancelled: Cancelled) -> None:
    if cancelled():
        raise FetchCancelledError("Nobody waits for it any more.")
