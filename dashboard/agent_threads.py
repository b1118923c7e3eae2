"""What the agent waits for beside its ticks: changes that a runtime tells, and output as it comes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection

from django.db import close_old_connections

from deployments.exceptions import BerthError
from deployments.hints import hint_reconcile
from deployments.lifecycle.sweep import deployment_of
from deployments.log_answers import answer_next
from deployments.redis import RedisError
from deployments.runtimes import runtime_named

logger = logging.getLogger(__name__)
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 15.0


class ChangeListener:
    """Wakes the reconcile of each run that a runtime says has changed. ``on_gap`` is told after each interruption."""

    def __init__(self, runtime: str, node: str, *, ending: threading.Event, on_gap: Callable[[], None]) -> None:
        self.runtime = runtime
        self.node = node
        self._ending = ending
        self._on_gap = on_gap
        self._thread = threading.Thread(target=self._run, name=f"changes of {runtime}", daemon=True)

    def start(self) -> None:
        """Listen in the background until the agent ends."""
        self._thread.start()

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._ending.is_set():
            try:
                # What happened before this point was not heard.
                self._on_gap()
                for name in runtime_named(self.runtime).changes(ended=self._ending.is_set):
                    pause_s = FIRST_PAUSE_S
                    if (deployment_id := deployment_of(name)) is not None:
                        hint_reconcile(deployment_id, node=self.node)
            except BerthError as error:
                logger.info("Changes of %s are not heard, next try in %.1f s: %s", self.runtime, pause_s, error)
            except Exception:
                logger.exception("Changes of %s are not heard, next try in %.1f s", self.runtime, pause_s)
            close_old_connections()
            self._ending.wait(pause_s)
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)


class LogAnswers:
    """Answers what pages ask about logs of this node: one thread, one question at a time."""

    def __init__(self, node: str, *, ending: threading.Event) -> None:
        self.node = node
        self._ending = ending
        self._thread = threading.Thread(target=self._run, name="answers about logs", daemon=True)

    def start(self) -> None:
        """Answer in the background until the agent ends."""
        self._thread.start()

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._ending.is_set():
            try:
                if not answer_next(self.node):
                    close_old_connections()
                pause_s = FIRST_PAUSE_S
                continue
            except RedisError as error:
                logger.info("Nothing is asked about logs, next try in %.1f s: %s", pause_s, error)
            except Exception:
                logger.exception("A question about a log was not answered")
            close_old_connections()
            self._ending.wait(pause_s)
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)


class LogFollowers:
    """One thread for each run whose output has to be fetched; started again, with a pause, when it fails."""

    def __init__(self, *, ending: threading.Event) -> None:
        self._ending = ending
        self._threads: dict[str, threading.Thread] = {}
        self._wanted: set[str] = set()

    def keep(self, runs: Collection[tuple[str, str]]) -> None:
        """Follow exactly these runs: pairs of runtime and name."""
        self._wanted = {name for _runtime, name in runs}
        self._threads = {name: thread for name, thread in self._threads.items() if thread.is_alive()}
        for runtime, name in runs:
            if name not in self._threads:
                thread = threading.Thread(target=self._follow, args=(runtime, name), name=f"log of {name}", daemon=True)
                self._threads[name] = thread
                thread.start()

    def _follow(self, runtime: str, name: str) -> None:
        def ended() -> bool:
            return self._ending.is_set() or name not in self._wanted

        pause_s = FIRST_PAUSE_S
        while not ended():
            began = time.monotonic()
            try:
                runtime_named(runtime).follow(name, ended=ended)
            except BerthError as error:
                logger.info("The log of %s is not followed, next try in %.1f s: %s", name, pause_s, error)
            except Exception:
                logger.exception("The log of %s is not followed, next try in %.1f s", name, pause_s)
            # It has ended, or another process is at it.
            if time.monotonic() - began > LONGEST_PAUSE_S:
                pause_s = FIRST_PAUSE_S
            self._ending.wait(pause_s)
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
