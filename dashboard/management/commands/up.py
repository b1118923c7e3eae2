"""``manage.py up``: everything on one host, as one supervised tree."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from celery import current_app
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connections

from dashboard import installing
from dashboard.children import berth_processes, embedded_redis
from dashboard.environment import reachable_host, redis_url_file
from dashboard.health import missing_parts
from dashboard.settings import ENVIRONMENT, broker_url
from dashboard.supervisor import Supervisor
from deployments.actors import Actor
from deployments.exceptions import BerthError
from deployments.redis import RedisError, client
from deployments.redis_keys import SWEEP_HEARTBEAT, agent_heartbeat
from deployments.selectors import live_deployments
from deployments.services.lifecycle import stop_deployment

READY_WITHIN_S = 60.0
REDIS_WITHIN_S = 10.0
STOP_MODELS_WITHIN_S = 120.0
OPEN_FILES = 65_536
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Command(BaseCommand):
    help = "Start everything on this host and keep it running until Ctrl-C."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--stop-models", action="store_true", help="At the end, stop the running models too.")

    def handle(self, *args: Any, **options: Any) -> None:
        for number in ENDING:
            signal.signal(number, _interrupt)
        _allow_many_sockets()
        supervisor = Supervisor()
        with _only_one(), contextlib.ExitStack() as undo:
            _require_free_ports()
            with contextlib.suppress(KeyboardInterrupt):
                self._start(supervisor, undo)
                self._tend(supervisor)
            if options["stop_models"]:
                self._stop_models(supervisor)
            self.stdout.write("Berth stops. Running models go on." if not options["stop_models"] else "Berth stops.")

    def _start(self, supervisor: Supervisor, undo: contextlib.ExitStack) -> None:
        redis_url = self._start_redis(supervisor, undo) if ENVIRONMENT.embedded_redis else ENVIRONMENT.redis_url
        undo.callback(supervisor.stop)
        _await_redis(supervisor, redis_url)
        # Redis may remember what the last run's processes said.
        client().delete(SWEEP_HEARTBEAT, agent_heartbeat(settings.BERTH_NODE_NAME))
        if not ENVIRONMENT.gateway_url_given:
            self._point_to_gateway(undo)
        # With the schema in place nobody has to wait for the catalogue: the processes load beside it.
        was_installed = self._schema_is_current()
        if not was_installed:
            self._install()
        for spec in berth_processes(ENVIRONMENT, redis_url=redis_url, node=settings.BERTH_NODE_NAME):
            supervisor.start(spec)
        if was_installed:
            self._install()
        connections.close_all()
        self._await_ready(supervisor)
        self.stdout.write(f"Berth is ready at {settings.BERTH_PUBLIC_URL}")

    def _point_to_gateway(self, undo: contextlib.ExitStack) -> None:
        """Let commands in other shells find the gateway, whatever port this one was told."""
        pointer = Path(settings.BERTH_GATEWAY_POINTER)
        pointer.parent.mkdir(parents=True, exist_ok=True)
        pointer.write_text(settings.BERTH_GATEWAY_URL)
        undo.callback(pointer.unlink, missing_ok=True)

    def _start_redis(self, supervisor: Supervisor, undo: contextlib.ExitStack) -> str:
        # A socket's path may have 107 bytes; the data folder may be deeper than that.
        folder = Path(tempfile.mkdtemp(prefix="berth-"))
        url = f"unix://{folder / 'redis.sock'}"
        pointer = redis_url_file(settings.BERTH_DATA_DIR)
        pointer.parent.mkdir(parents=True, exist_ok=True)
        pointer.write_text(url)
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        undo.callback(pointer.unlink, missing_ok=True)
        settings.REDIS_URL = url
        settings.CELERY_BROKER_URL = broker_url(url)
        current_app.conf.update(broker_url=broker_url(url))
        client.cache_clear()
        supervisor.start(embedded_redis(folder / "redis.sock", settings.BERTH_DATA_DIR / "redis"))
        return url

    def _schema_is_current(self) -> bool:
        try:
            return not installing.missing_migrations()
        except DatabaseError as error:
            raise CommandError(f"The database cannot be used ({str(error).strip()}): check DATABASE_URL.") from None

    def _install(self) -> None:
        try:
            told = installing.install(ENVIRONMENT.admin_password)
        except BerthError as error:
            raise CommandError(f"The catalogue was not loaded:\n{error}") from None
        except DatabaseError as error:
            raise CommandError(f"The database cannot be used ({str(error).strip()}): check DATABASE_URL.") from None
        for line in told:
            self.stdout.write(line)

    def _await_ready(self, supervisor: Supervisor) -> None:
        ends_at = time.monotonic() + READY_WITHIN_S
        missing: dict[str, str] = {"berth": "Nothing has answered yet."}
        while time.monotonic() < ends_at:
            supervisor.tend()
            missing = _missing()
            if not missing:
                return
            time.sleep(0.1)
        raise CommandError("Berth did not get ready:\n" + "\n".join(missing.values()))

    def _tend(self, supervisor: Supervisor) -> None:
        while True:
            supervisor.tend()
            time.sleep(0.2)

    def _stop_models(self, supervisor: Supervisor) -> None:
        running = list(live_deployments())
        for deployment in running:
            stop_deployment(deployment.pk, actor=Actor.command_line())
            self.stdout.write(f"Stopping {deployment.config.name} …")
        ends_at = time.monotonic() + STOP_MODELS_WITHIN_S
        while live_deployments().exists() and time.monotonic() < ends_at:
            supervisor.tend()
            time.sleep(0.2)
        for deployment in live_deployments():
            self.stderr.write(f"{deployment.config.name} did not stop within {STOP_MODELS_WITHIN_S:.0f} s.")


def _allow_many_sockets() -> None:
    """Each open page and each request is an open file, and the usual limit of 1,024 is soft. Children inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def _interrupt(*_: object) -> None:
    """End once: a second signal must not cut the ending short."""
    for number in ENDING:
        signal.signal(number, lambda *_: None)
    raise KeyboardInterrupt


def _missing() -> dict[str, str]:
    for name, port in (("web", settings.BERTH_PORT), ("gateway", settings.BERTH_GATEWAY_PORT)):
        try:
            httpx.get(f"http://{reachable_host(settings.BERTH_HOST)}:{port}/healthz", timeout=2).raise_for_status()
        except httpx.HTTPError as error:
            return {name: f"The {name} does not answer on port {port}: {error}"}
    return missing_parts()


def _await_redis(supervisor: Supervisor, url: str) -> None:
    ends_at = time.monotonic() + REDIS_WITHIN_S
    while time.monotonic() < ends_at:
        with contextlib.suppress(RedisError):
            client().ping()
            return
        supervisor.tend()
        time.sleep(0.02)
    if ENVIRONMENT.embedded_redis:
        raise CommandError("The embedded Valkey did not start. Is the data folder writable and the disk not full?")
    where = url.rsplit("@", 1)[-1]  # without a password
    raise CommandError(f"Redis does not answer at {where}: check REDIS_URL, or unset it for an embedded one.")


@contextlib.contextmanager
def _only_one() -> Iterator[None]:
    """Hold the data folder's lock, so that a second ``up`` is refused with a sentence."""
    path = settings.BERTH_DATA_DIR / "run" / "up.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise CommandError(
                f"Berth runs already with this data folder (process {lock.read().strip()}). "
                "Stop it first, or set BERTH_DATA_DIR and BERTH_PORT for a second one."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _require_free_ports() -> None:
    for variable, port in (
        ("BERTH_PORT", settings.BERTH_PORT),
        ("BERTH_GATEWAY_PORT", settings.BERTH_GATEWAY_PORT),
    ):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((reachable_host(settings.BERTH_HOST), port))
            except OSError as error:
                raise CommandError(
                    f"Port {port} cannot be used ({error.strerror}): "
                    f"set {variable} to a free port, or stop the program that has it."
                ) from None
