"""Chooses ports on 127.0.0.1 for processes."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Collection

from django.utils.translation import gettext as _

from deployments.exceptions import RuntimeUnavailableError

#: Below the ranges from which systems take the ports of outgoing connections.
PORTS = range(21_000, 30_000)


def free_port(*, taken: Collection[int]) -> int:
    """A port that is not in ``taken`` and that nobody listens on now. Raises RuntimeUnavailableError.

    The caller holds a lock from here until the port is written down. Two installations on one host begin at
    different places, so that they seldom meet; a server that finds its port taken exits and says so.
    """
    offset = secrets.randbelow(len(PORTS))
    for step in range(len(PORTS)):
        port = PORTS[(offset + step) % len(PORTS)]
        if port not in taken and _can_bind(port):
            return port
    raise RuntimeUnavailableError(
        _("No port between %(first)s and %(last)s is free on this host. Stop what listens there.")
        % {"first": PORTS.start, "last": PORTS.stop - 1},
        code="no_free_port",
    )


def _can_bind(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
