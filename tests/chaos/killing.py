"""Makes a Berth process kill itself, once, at a named step of one config's life.

BERTH_KILL_AT is a JSON list of ``[config, step]``. A kill leaves a file in the data folder, so that the
process that is started next goes past that step. Steps are the side effects of the lifecycle, before and
after; see :func:`install`.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import secrets
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

Wrapped = Callable[..., Any]
RUNTIMES = ("process", "docker")


def plan() -> set[tuple[str, str]]:
    """What is to be killed where."""
    return {(config, step) for config, step in json.loads(os.environ.get("BERTH_KILL_AT", "[]"))}


def reach(config: str, step: str) -> None:
    """Die here if that is planned and has not happened yet."""
    if (config, step) not in plan():
        return
    mark = Path(os.environ["BERTH_DATA_DIR"]) / "kills" / f"{config}@{step}"
    mark.parent.mkdir(exist_ok=True)
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def around(owner: Any, name: str, step: str, config_of: Callable[..., str]) -> None:
    """Wrap ``owner.name`` so that it reaches ``step:before`` and ``step:after``."""
    inner: Wrapped = getattr(owner, name)

    @functools.wraps(inner)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        config = config_of(*args, **kwargs)
        reach(config, f"{step}:before")
        result = inner(*args, **kwargs)
        reach(config, f"{step}:after")
        return result

    setattr(owner, name, wrapped)


def install() -> None:
    """Wrap every side effect of the lifecycle. Call after django.setup()."""
    from deployments import logs
    from deployments.lifecycle import acting, reconcile, record
    from deployments.models import Deployment
    from deployments.runtimes import runtime_named
    from deployments.services import lifecycle

    def of_run(run: Any, **_: Any) -> str:
        name = run if isinstance(run, str) else run.name
        return str(Deployment.objects.values_list("config__name", flat=True).get(pk=int(name.rsplit("-", 2)[1])))

    def of_id(deployment_id: int, **_: Any) -> str:
        return str(Deployment.objects.values_list("config__name", flat=True).get(pk=deployment_id))

    def of_row(deployment: Any, *_args: Any, **_: Any) -> str:
        return str(deployment.spec["config"])

    for runtime in map(runtime_named, RUNTIMES):
        for verb in ("create", "start", "stop", "remove"):
            around(runtime, verb, verb, of_run)
    around(reconcile, "take_claim", "claim", of_id)
    around(logs, "keep", "keep_log", of_row)
    around(lifecycle, "_note_wish", "wish", of_row)
    around(lifecycle, "hint_reconcile", "hint", of_id)
    _around_moves(acting, record.move)


def _around_moves(acting: Any, move: Wrapped) -> None:
    @functools.wraps(move)
    def wrapped(deployment: Any, phase: Any, **kwargs: Any) -> None:
        config = deployment.spec["config"]
        reach(config, f"{phase}:before")
        move(deployment, phase, **kwargs)
        reach(config, f"{phase}:after")

    acting.move = wrapped


def plant_bug() -> None:
    """BERTH_PLANTED_BUG=forgets_its_runs: a launch does not adopt the run that a killed worker left behind.

    It makes another one under another name. The sweep would end that as a stray within seconds; it is blinded, so
    that the bug shows.
    """
    if os.environ.get("BERTH_PLANTED_BUG") != "forgets_its_runs":
        return
    from deployments import tasks
    from deployments.lifecycle import sweep
    from deployments.runtimes import runtime_named

    for module in (sweep, tasks):
        setattr(module, "end_strays", lambda: None)  # noqa: B010  # neither module means to be changed
    for runtime in map(runtime_named, RUNTIMES):
        _forget(runtime)


def _forget(runtime: Any) -> None:
    """Let ``create`` and ``start`` double a run that another process has created."""
    create, start = runtime.create, runtime.start
    doubles: dict[str, str] = {}
    own: set[str] = set()

    def careless_create(run: Any) -> None:
        mark = Path(os.environ["BERTH_DATA_DIR"]) / f"{run.name}.made"
        if mark.exists() and run.name not in own:
            doubles[run.name] = f"{run.name}{secrets.randbelow(10**6):06d}"
            create(dataclasses.replace(run, name=doubles[run.name]))
        own.add(run.name)
        mark.touch()
        create(run)

    def careless_start(name: str) -> None:
        if name in doubles:
            start(doubles[name])
        start(name)

    runtime.create, runtime.start = careless_create, careless_start
