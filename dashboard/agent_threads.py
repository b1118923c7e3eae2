"""What the agent waits for beside its ticks: changes that a runtime tells, and output as it comes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping

from django.db import close_old_connections

from deployments.deployment_keys import deployment_key
from deployments.engines import engine_named
from deployments.exceptions import BerthError
from deployments.hints import hint_reconcile
from deployments.lifecycle.sweep import deployment_of
from deployments.log_answers import answer_next
from deployments.models import Deployment
from deployments.redis import RedisError
from deployments.runtimes import runtime_named
from deployments.runtimes.base import RunState

logger = logging.getLogger(__name__)
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 15.0
#: How often the server of a loading run is asked, and the pause where there is nothing to ask or nothing to add.
LOAD_LOOK_S = 0.2
LOAD_PAUSE_S = 2.0
#: Then the runtime is asked again: a restart from outside may have changed the port.
LOOKS_AT_ONE_ADDRESS = 50


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


class RunThreads:
    """One thread for each run that there is something to wait for; started again, with a pause, when it fails."""

    #: What a thread is at, for its name and its log lines.
    work = ""

    def __init__(self, *, ending: threading.Event) -> None:
        self._ending = ending
        self._threads: dict[str, threading.Thread] = {}
        self._wanted: set[str] = set()

    def keep(self, runs: Collection[tuple[str, str]]) -> None:
        """Be at exactly these runs: pairs of runtime and name."""
        self._wanted = {name for _runtime, name in runs}
        self._threads = {name: thread for name, thread in self._threads.items() if thread.is_alive()}
        for runtime, name in runs:
            if name not in self._threads:
                title = f"{self.work} of {name}"
                thread = threading.Thread(target=self._go_on, args=(runtime, name), name=title, daemon=True)
                self._threads[name] = thread
                thread.start()

    def _go_on(self, runtime: str, name: str) -> None:
        def ended() -> bool:
            return self._ending.is_set() or name not in self._wanted

        pause_s = FIRST_PAUSE_S
        while not ended():
            began = time.monotonic()
            try:
                self._attend(runtime, name, ended)
            except BerthError as error:
                logger.info("The %s of %s failed, next try in %.1f s: %s", self.work, name, pause_s, error)
            except Exception:
                logger.exception("The %s of %s failed, next try in %.1f s", self.work, name, pause_s)
            # It has ended, or another process is at it.
            if time.monotonic() - began > LONGEST_PAUSE_S:
                pause_s = FIRST_PAUSE_S
            self._ending.wait(pause_s)
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)

    def _attend(self, runtime: str, name: str, ended: Callable[[], bool]) -> None:
        """Wait for what there is to wait for, until ``ended`` says so."""
        raise NotImplementedError


class LogFollowers(RunThreads):
    """Fetch the output of the runs whose engine does not hand it over by itself."""

    work = "log"

    def _attend(self, runtime: str, name: str, ended: Callable[[], bool]) -> None:
        runtime_named(runtime).follow(name, ended=ended)


class LoadWatchers(RunThreads):
    """Wake the reconcile as soon as the server of a loading run answers.

    The worker looks at a long load ever less often; a load of ten minutes must not be shown for two seconds more.
    """

    work = "load"

    def __init__(self, node: str, *, ending: threading.Event) -> None:
        super().__init__(ending=ending)
        self._node = node
        self._loading: Mapping[str, Deployment] = {}

    def watch(self, loading: Collection[Deployment]) -> None:
        """Watch exactly these runs."""
        self._loading = {deployment.run_name: deployment for deployment in loading}
        self.keep([(deployment.spec["runtime"], name) for name, deployment in self._loading.items()])

    def _attend(self, runtime: str, name: str, ended: Callable[[], bool]) -> None:
        deployment = self._loading.get(name)
        if deployment is None:  # it was dropped this moment
            return
        spec = deployment.serving_spec()
        engine = engine_named(spec.engine)
        key = deployment_key(deployment.pk) if engine.key_variable else ""
        while not ended():
            run = runtime_named(runtime).observe(name)
            is_there, answers = run.state is RunState.RUNNING and bool(run.endpoint), False
            for _look in range(LOOKS_AT_ONE_ADDRESS if is_there else 0):
                answers = engine.probe(run.endpoint, spec, thorough=False, key=key).answering
                if answers or ended():
                    break
                self._ending.wait(LOAD_LOOK_S)
            if answers and not ended():
                hint_reconcile(deployment.pk, node=self._node)
            if answers or not is_there:
                # Where it answers and stays loading: its model comes afterwards, or no gateway reaches it.
                self._ending.wait(LOAD_PAUSE_S)
