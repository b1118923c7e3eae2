"""The agent of a node: it reports, ships logs and wakes the worker. It never acts on a run itself."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from deployments.exceptions import BerthError
from deployments.hints import hint_reconcile
from deployments.lifecycle.freshness import FRESH
from deployments.lifecycle.phases import MAY_HOLD_A_RUN, Phase
from deployments.log_shipping import LogShipper
from deployments.models import Deployment, Node
from deployments.redis import RedisError, client
from deployments.redis_keys import agent_heartbeat
from deployments.runtimes import offered_runtimes, runtime_named, runtime_names
from deployments.runtimes.base import RunState

from .agent_threads import ChangeListener, LoadWatchers, LogAnswers, LogFollowers

logger = logging.getLogger(__name__)
TICK_S = 0.25
HEARTBEAT_EVERY_S = 2.0
#: An engine is updated seldom, and while it is away nobody looks at its version.
FIND_EVERY_S = 60.0
REFRESH_EVERY_S = 1.0
MOST_BACKOFF_S = 15.0
#: Docker's events tell of a change at once; the list is for what they missed.
LIST_EVERY_S = {"docker": 1.0}
WRITES_ITS_LOG_ITSELF = frozenset({"process"})


class SecondNodeError(BerthError):
    """A second node cannot join with SQLite or the embedded Valkey."""


class Agent:
    """One for each node. ``run`` returns when ``stop`` is called."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.stopping = threading.Event()
        self.heartbeat_at = float("-inf")
        self.found_at = float("-inf")
        self.refreshed_at = float("-inf")
        self.watched: list[Deployment] = []
        self.states: dict[str, RunState] = {}
        self.listed: dict[str, Mapping[str, RunState]] = {}
        self.listed_at: dict[str, float] = {}
        self.silent: set[str] = set()
        self.followers = LogFollowers(ending=self.stopping)
        self.loads = LoadWatchers(node, ending=self.stopping)
        self.shipper = LogShipper()

    def stop(self) -> None:
        """Let ``run`` return after the current tick."""
        self.stopping.set()

    def listen(self) -> None:
        """Hear of changes as they happen and of questions, in the background, until stopped."""
        LogAnswers(self.node, ending=self.stopping).start()
        for runtime in runtime_names():
            ChangeListener(runtime, self.node, ending=self.stopping, on_gap=self.look_again).start()

    def run(self) -> None:
        """Tick until stopped; an outage of database or Redis, or a fault of ours, is logged and waited out."""
        backoff_s = 1.0
        while not self.stopping.is_set():
            try:
                self.tick()
            except (DatabaseError, RedisError) as error:
                logger.warning("The agent waits %.0f s: %s", backoff_s, error)
            except Exception:
                logger.exception("The agent waits %.0f s", backoff_s)
            else:
                backoff_s = 1.0
                self.stopping.wait(TICK_S)
                continue
            close_old_connections()
            self.stopping.wait(backoff_s)
            backoff_s = min(MOST_BACKOFF_S, backoff_s * 2)

    def tick(self) -> None:
        """Report if it is time, then look at each run of this node once."""
        now = time.monotonic()
        if now - self.heartbeat_at >= HEARTBEAT_EVERY_S:
            self.heartbeat()
            self.heartbeat_at = now
        if now - self.refreshed_at >= REFRESH_EVERY_S:
            self.refresh()
            self.refreshed_at = now
        self.list_runs(now)
        self.follow_logs()
        self.loads.watch([it for it in self.watched if it.phase == Phase.LOADING])
        for deployment in self.watched:
            try:
                self.look_at(deployment)
            except BerthError as error:
                # One run whose host does not answer must not keep the others' logs.
                if self.states.get(deployment.run_name) is not RunState.UNKNOWN:
                    logger.warning("Run %s cannot be looked at: %s", deployment.run_name, error)
                self.see(deployment, RunState.UNKNOWN)

    def look_again(self) -> None:
        """List everything at the next tick: something may have happened unheard."""
        self.refreshed_at = float("-inf")

    def heartbeat(self) -> None:
        """Say in the database and in Redis that this node lives and what it can run."""
        runtimes = sorted(offered_runtimes())
        told: dict[str, Any] = {"runtimes": runtimes, "heartbeat_at": Now()}
        if time.monotonic() - self.found_at >= FIND_EVERY_S:
            self.found_at = time.monotonic()
            told["facts"] = {"versions": _versions(runtimes)}
        Node.objects.update_or_create(name=self.node, defaults=told)
        client().set(agent_heartbeat(self.node), json.dumps({"at": time.time(), "runtimes": runtimes}), ex=30)

    def refresh(self) -> None:
        """Read which deployments may hold a run here. One query."""
        holding = Deployment.objects.filter(node__name=self.node, phase__in=MAY_HOLD_A_RUN)
        self.watched = list(holding.only("pk", "attempt", "phase", "spec"))
        names = {deployment.run_name for deployment in self.watched}
        self.states = {name: state for name, state in self.states.items() if name in names}
        self.shipper.keep(names)

    def list_runs(self, now: float) -> None:
        """Ask each runtime once which runs there are: with two hundred of them, one by one would be a load."""
        wanted = {deployment.spec["runtime"] for deployment in self.watched}
        for name in wanted:
            if now - self.listed_at.get(name, float("-inf")) < LIST_EVERY_S.get(name, TICK_S):
                continue
            self.listed_at[name] = now
            try:
                found = runtime_named(name).owned()
            except BerthError as error:
                if name not in self.silent:
                    logger.warning("The runs of %s cannot be listed: %s", name, error)
                self.silent.add(name)
            else:
                self.silent.discard(name)
                self.listed[name] = found

    def follow_logs(self) -> None:
        """Follow the output of each run that runs, or may: what is only created has none, what has ended no more."""
        followed = [it for it in self.watched if it.spec["runtime"] not in WRITES_ITS_LOG_ITSELF]
        alive = [it for it in followed if self.state_of(it) in {RunState.RUNNING, RunState.UNKNOWN}]
        self.followers.keep([(it.spec["runtime"], it.run_name) for it in alive])

    def state_of(self, deployment: Deployment) -> RunState:
        """What the last list said of its run."""
        runtime = deployment.spec["runtime"]
        if runtime in self.silent:
            return RunState.UNKNOWN
        return self.listed.get(runtime, {}).get(deployment.run_name, RunState.GONE)

    def look_at(self, deployment: Deployment) -> None:
        """Ship the run's new log lines, and see how it is."""
        self.shipper.ship(deployment)
        self.see(deployment, self.state_of(deployment))

    def see(self, deployment: Deployment, state: RunState) -> None:
        """Wake the worker when the run has ended, or its host fell silent or is back."""
        before = self.states.get(deployment.run_name)
        self.states[deployment.run_name] = state
        if state is before:
            return
        ended_unasked = state is RunState.EXITED and deployment.phase != Phase.STOPPING
        if before is RunState.RUNNING or RunState.UNKNOWN in {before, state} or ended_unasked:
            hint_reconcile(deployment.pk, node=self.node)


def _versions(runtimes: Iterable[str]) -> dict[str, str]:
    """The versions of the engines behind the runtimes that have one and say it."""
    found = {}
    for name in runtimes:
        with contextlib.suppress(BerthError):  # it fell silent after it was asked whether it is there
            found[name] = runtime_named(name).version()
    return {name: version for name, version in found.items() if version}


def refuse_second_node(node: str) -> None:
    """Raise SecondNodeError when another node is alive and this installation can only have one."""
    single = settings.BERTH_EMBEDDED_REDIS or connection.vendor == "sqlite"
    if not single:
        return
    other = Node.objects.filter(heartbeat_at__gt=Now() - FRESH).exclude(name=node).first()
    if other is not None:
        raise SecondNodeError(
            _(
                "Node “%(node)s” cannot join: “%(other)s” is running, and SQLite or the embedded Valkey serve "
                "one node only. Set DATABASE_URL (PostgreSQL) and REDIS_URL on both, "
                "or BERTH_NODE_NAME=%(other)s here."
            )
            % {"node": node, "other": other.name}
        )
