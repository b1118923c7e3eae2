"""A load test in a thread of its own: whoever began it reports, looks for a cancel and writes rows meanwhile."""

from __future__ import annotations

import asyncio
import logging
import threading
from types import TracebackType
from typing import Self

from .figures import Level
from .outcomes import LoadError
from .ramp import ContextProbe, Ramp
from .settings import LoadSettings
from .target import Target

logger = logging.getLogger(__name__)


class LoadRun:
    """Use as a context manager: entering starts it, leaving ends it, whatever the state.

    Everything but entering and leaving may be called at any time.
    """

    def __init__(self, target: Target, settings: LoadSettings, *, seed: int = 0) -> None:
        self._ramp = Ramp(target, settings, seed=seed)
        self._thread = threading.Thread(target=self._work, name="load test", daemon=True)
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None
        self._over = threading.Event()
        self._error: Exception | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cancel()
        self._thread.join()

    def cancel(self) -> None:
        """End every request at once. Safe to repeat, and too late."""
        if not self._over.is_set():
            self._loop.call_soon_threadsafe(self._cancel)

    def wait(self, timeout_s: float) -> bool:
        """Whether it is over, after ``timeout_s`` at the latest. Raises what went wrong in here, if something did."""
        is_over = self._over.wait(timeout_s)
        if self._error is not None:
            raise self._error
        return is_over

    @property
    def levels(self) -> list[Level]:
        """Those that are over."""
        return [*self._ramp.levels]

    @property
    def current(self) -> Level | None:
        """The one under way, as it is now."""
        run = self._ramp.current
        return None if run is None else run.figures()

    @property
    def failure(self) -> LoadError | None:
        """Why nothing could be measured."""
        return self._ramp.failure

    @property
    def context(self) -> ContextProbe | None:
        """What became of the prompt that fills the context, where one was wanted."""
        return self._ramp.context

    @property
    def is_cut(self) -> bool:
        """Whether the time was over before the last level."""
        return self._ramp.is_cut

    def _work(self) -> None:
        try:
            self._task = self._loop.create_task(self._ramp.run())
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass
        except Exception as error:  # noqa: BLE001  # the edge of a thread: raised again where somebody waits
            self._error = error
        finally:
            self._over.set()
            self._loop.close()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
