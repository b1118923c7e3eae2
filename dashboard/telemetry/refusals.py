"""Remembers what a GPU does not support, so that it is asked for that once an hour."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from .nvml_values import CLOSED, FUNCTION_NOT_FOUND, NOT_SUPPORTED, code_of

#: A field that a GPU does not have is asked for again after this long.
ASK_AGAIN_S = 3600.0
T = TypeVar("T")


@dataclass
class Refusals:
    """``error`` is pynvml's NVMLError."""

    error: type[Exception] = Exception
    clock: Callable[[], float] = time.monotonic
    _refused_at: dict[tuple[str, str], float] = field(default_factory=dict)

    def ask(self, uuid: str, what: str, question: Callable[[], T]) -> T:
        """The answer. Raises NVMLError, without asking while the last refusal is not an hour old."""
        refused_at = self._refused_at.get((uuid, what))
        if refused_at is not None and self.clock() - refused_at < ASK_AGAIN_S:
            raise self.error(NOT_SUPPORTED)
        try:
            answer = question()
        except AttributeError:
            # The binding is older than this question.
            self._refused_at[uuid, what] = self.clock()
            raise self.error(FUNCTION_NOT_FOUND) from None
        except self.error as error:
            if code_of(error) in {NOT_SUPPORTED, FUNCTION_NOT_FOUND}:
                self._refused_at[uuid, what] = self.clock()
            raise
        self._refused_at.pop((uuid, what), None)
        return answer

    def optional(self, uuid: str, what: str, question: Callable[[], T]) -> T | None:
        """The answer, or None when the GPU cannot tell. Raises NVMLError when the whole library is closed."""
        return self.tried(lambda: self.ask(uuid, what, question))

    def tried(self, question: Callable[[], T]) -> T | None:
        """As :meth:`optional`, with nothing remembered."""
        try:
            return question()
        except AttributeError:
            return None
        except self.error as error:
            if code_of(error) in CLOSED:
                raise
            return None
