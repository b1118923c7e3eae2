"""Dashboards beside the gateway: ``python -m tests.bench.gateway_dashboards SOCKETS``, with Berth's environment.

A web process on the same Redis and database, readings of four GPUs each second, and so many browsers' sockets that
read them. Says ``open`` when all are there, and ends with its input.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator

from tests.ports import free_port

from .gateway import ROOT, Bench
from .gpu_socket_clients import Heard
from .gpu_sockets import publishing, sessions_of, until_up

DASHBOARDS = 200


@contextlib.contextmanager
def dashboards(bench: Bench, *, sockets: int = DASHBOARDS) -> Iterator[None]:
    """So many open ones for as long as the block runs."""
    environment = {**bench.environment, "BERTH_ROLE": "web", "BERTH_PORT": str(free_port())}
    argv = [sys.executable, "-m", "tests.bench.gateway_dashboards", str(sockets)]
    process = subprocess.Popen(
        argv, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if process.stdout.readline().strip() != "open":
            raise RuntimeError("the dashboards did not open")
        yield
        process.stdin.close()
        heard = Heard(**json.loads(process.stdout.readline()))
        if heard.closed or heard.frames == 0:
            raise RuntimeError(f"the dashboards were not alive: {heard}")
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


def main() -> None:
    """See the module."""
    import django

    django.setup()
    from dashboard.children import berth_processes
    from dashboard.environment import read_environment

    url = f"http://127.0.0.1:{os.environ['BERTH_PORT']}"
    cookies = sessions_of(8)
    specs = berth_processes(read_environment(), redis_url=os.environ["REDIS_URL"], node="bench")
    spec = next(spec for spec in specs if spec.name == "web")
    with contextlib.ExitStack() as ending:
        web = subprocess.Popen(spec.argv, env=dict(spec.environment), cwd=ROOT)
        ending.callback(web.wait)
        ending.callback(web.terminate)
        until_up(url)
        ending.enter_context(publishing())
        clients = ending.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "tests.bench.gpu_socket_clients"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        assert clients.stdin is not None
        assert clients.stdout is not None
        asked = {"url": url, "cookies": cookies, "healthy": int(sys.argv[1]), "mute": 0}
        clients.stdin.write(json.dumps(asked) + "\nmeasure\n")
        clients.stdin.flush()
        print(clients.stdout.readline().strip(), flush=True)
        sys.stdin.read()
        clients.stdin.write("end\n")
        clients.stdin.flush()
        print(clients.stdout.readline().strip(), flush=True)
        clients.stdin.close()


if __name__ == "__main__":
    main()
