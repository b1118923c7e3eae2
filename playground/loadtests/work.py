"""The work of one load test, in its node's worker: run it, write what is known each second, judge it at the end."""

from __future__ import annotations

import time
from typing import Any, Final, Protocol

from django.utils.translation import gettext as _

from deployments.exceptions import ConflictError, JobCancelledError
from deployments.progress import Progress
from playground.exceptions import RequestError
from playground.models.load_test import LoadTest

from .figures import GpuFigures, Level
from .gpu_figures import Gpus, gpu_figures
from .smoke import Smoke, run_smoke, smoke_names
from .target import Target
from .targeting import gpus_of, target_of
from .thread import LoadRun
from .verdicts import verdicts
from .words import error_words

#: How often the run is looked at, and how often its row is written.
_LOOK_S: Final = 0.25
_WRITE_S: Final = 1.0


class Watcher(Protocol):
    """What :class:`deployments.jobs.Watch` gives to its work."""

    def report(self, progress: Progress) -> None:
        """Note how far it is."""
        ...

    def cancelled(self) -> bool:
        """Whether to give up."""
        ...

    def write(self, **columns: object) -> bool:
        """Set columns of the row."""
        ...


def run_load_test(test: LoadTest, watch: Watcher) -> None:
    """Smoke requests where they were asked for, then the ramp. What was measured is kept, however it ends.

    Raises JobCancelledError, TargetNotRunningError, RequestError when nothing could be measured, and ConflictError for
    a test whose worker died: half of a ramp and half of another is no figure.
    """
    if test.runs > 1:
        raise ConflictError(_("The worker ended in the middle of it. What was measured is kept; start it again."))
    target = target_of(test)
    gpus = gpus_of(test)
    if test.smoke:
        _ask_smoke(test, target, watch)
    ramp = _Ramping(test, watch, gpus)
    with LoadRun(target, test.asked, seed=test.pk) as run:
        ramp.follow(run)
        found = verdicts(test.targets, ramp.levels, context_tokens=None if run.context is None else run.context.tokens)
        watch.write(
            verdicts=[verdict.to_json() for verdict in found],
            context_tokens=None if run.context is None else run.context.tokens,
        )
        if run.failure is not None:
            raise RequestError(error_words(run.failure))


def _ask_smoke(test: LoadTest, target: Target, watch: Watcher) -> None:
    """The row's list has names only until they were asked."""
    names = [str(each["name"]) for each in test.smoke]
    found: list[Smoke] = []

    def note(smoke: Smoke) -> None:
        found.append(smoke)
        waiting = [{"name": name} for name in names[len(found) :]]
        watch.write(smoke=[*(each.to_json() for each in found), *waiting])

        if watch.cancelled():
            raise JobCancelledError(_("It was cancelled."))

    run_smoke(target, names, on_result=note)


def planned_smoke(protocol: str, engine: str, *, vision: bool, embedding: bool) -> list[dict[str, Any]]:
    """What a new row has in ``smoke``, when it is to be asked."""
    return [{"name": name} for name in smoke_names(protocol, engine, vision=vision, embedding=embedding)]


class _Ramping:
    """Writes a run's levels while it goes on."""

    def __init__(self, test: LoadTest, watch: Watcher, gpus: list[Gpus]) -> None:
        self._watch = watch
        self._gpus = gpus
        self._total = test.asked.total_requests
        self._written_at = float("-inf")
        self.levels: list[Level] = []

    def follow(self, run: LoadRun) -> None:
        """Until it is over. Raises JobCancelledError when that was wanted."""
        is_unwanted = False
        while not run.wait(_LOOK_S):
            if not is_unwanted and self._watch.cancelled():
                is_unwanted = True
                run.cancel()
            self._note(run)
        self._note(run, at_once=True)
        if is_unwanted or self._watch.cancelled():
            raise JobCancelledError(_("It was cancelled."))

    def _note(self, run: LoadRun, *, at_once: bool = False) -> None:
        over = run.levels
        is_news = len(over) > len(self.levels)
        for level in over[len(self.levels) :]:
            self.levels.append({**level, "gpu": self._gpus_during(level)})
        now = time.monotonic()
        if not (is_news or at_once) and now - self._written_at < _WRITE_S:
            return
        self._written_at = now
        current = run.current
        levels = [*self.levels, *([] if current is None else [current])]
        sent = sum(level["done"] + level["failed"] for level in levels)
        self._watch.report(Progress(done=float(sent), total=float(self._total), unit="requests"))
        self._watch.write(levels=levels)

    def _gpus_during(self, level: Level) -> GpuFigures:
        began = level["started_at"]
        return gpu_figures(self._gpus, began=began, ended=began + level["seconds"])
