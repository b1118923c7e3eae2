"""Ports for servers that open theirs a moment after they were told which.

A port that the kernel named may by then be any connection's. These lie below such ports (ip_local_port_range) and below
those of models (deployments/runtimes/ports.py); each process of a run has its own, and none is given twice soon.
"""

from __future__ import annotations

import itertools
import os
import secrets
import socket

FIRST = 10_000
#: Of each process of pytest-xdist; given in pairs.
PAIRS = 1_000
PROCESSES = 5

_process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % PROCESSES
_turns = itertools.count(secrets.randbelow(PAIRS))


def free_port() -> int:
    """A port of 127.0.0.1 at which nobody listens; its next one is free too."""
    for _each in range(PAIRS):
        port = FIRST + 2 * (_process * PAIRS + next(_turns) % PAIRS)
        if _is_free(port) and _is_free(port + 1):
            return port
    raise RuntimeError(f"no two neighbouring ports of {2 * PAIRS} are free")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
