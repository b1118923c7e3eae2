"""What somebody who opens a page waits beside the sockets: ``python -m tests.bench.gpu_socket_probe URL SECONDS``.

A process of its own, ahead of the others where that is allowed: measured is the server, and not how long the one
who asks waits for a processor or for the interpreter of whoever publishes.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import time

from .installation import ROOT

PROBE_EVERY_S = 0.05
NICENESS = -10


def probe(url: str, seconds: float) -> list[float]:
    """GET /healthz every 50 ms over one connection; how long each took, in ms."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    took = []
    ends_at = time.monotonic() + seconds
    while (began := time.monotonic()) < ends_at:
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        took.append(1000 * (time.monotonic() - began))
        time.sleep(max(0.0, PROBE_EVERY_S - (time.monotonic() - began)))
    connection.close()
    return took


def probe_apart(url: str, seconds: float) -> list[float]:
    """The same by a process of its own. Raises subprocess.CalledProcessError."""
    argv = [sys.executable, "-m", "tests.bench.gpu_socket_probe", url, str(seconds)]
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True, timeout=60 + 2 * seconds, cwd=ROOT)
    found: list[float] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    with contextlib.suppress(PermissionError):
        os.nice(NICENESS)
    print(json.dumps(probe(sys.argv[1], float(sys.argv[2]))))
