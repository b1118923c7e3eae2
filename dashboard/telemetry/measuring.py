"""Asks a source in a thread of its own, so that a driver call that hangs stops nothing else."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue

from deployments.gpu_reasons import NOT_MEASURED

from .facts import GpuFacts
from .source import GpuSource, Measurement

logger = logging.getLogger(__name__)
END = "end"


@dataclass
class Measurer:
    """Never more than one question at a time: while one hangs, no other is asked."""

    source: GpuSource
    clock: Callable[[], float] = time.monotonic
    _questions: SimpleQueue[str] = field(default_factory=SimpleQueue)
    _answers: SimpleQueue[Measurement] = field(default_factory=SimpleQueue)
    _thread: threading.Thread | None = None
    _asked_at: float | None = None
    _is_late: bool = False
    _facts: tuple[GpuFacts, ...] | None = None

    def measure(self, timeout_s: float) -> Measurement | None:
        """What there is now; None when the driver has not answered within ``timeout_s``.

        An answer that comes after a hang was partly read before it: it is dropped, and the driver asked again.
        """
        if self._thread is None:
            # A daemon: a thread that hangs inside the driver must not keep the agent from ending.
            self._thread = threading.Thread(target=self._serve, name="gpu-measurer", daemon=True)
            self._thread.start()
        answer = self._answer(timeout_s)
        if answer is not None and self._is_late:
            # What the GPUs are is told once a minute, and as true after a hang as before.
            self._is_late, self._facts = False, self._facts if answer.facts is None else answer.facts
            answer = self._answer(timeout_s)
        if answer is None:
            self._is_late = True
            return None
        facts, self._facts = self._facts, None
        return answer if answer.facts is not None else replace(answer, facts=facts)

    def _answer(self, timeout_s: float) -> Measurement | None:
        if self._asked_at is None:
            self._asked_at = self.clock()
            self._questions.put("measure")
        try:
            answer = self._answers.get(timeout=timeout_s)
        except Empty:
            return None
        self._asked_at = None
        return answer

    @property
    def waiting_s(self) -> float:
        """For how long the driver has not answered."""
        return 0.0 if self._asked_at is None else self.clock() - self._asked_at

    def stop(self) -> None:
        """Let the thread end after what it is doing."""
        self._questions.put(END)

    def _serve(self) -> None:
        while self._questions.get() != END:
            try:
                answer = self.source.measure()
            except Exception as error:
                logger.exception("The GPUs could not be measured")
                answer = Measurement(reason=NOT_MEASURED % {"error": error})
            self._answers.put(answer)
