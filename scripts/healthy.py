"""Whether the process of this container does its work: exit status 0 or 1, with a line that says why not.

    python scripts/healthy.py

BERTH_ROLE says which process it is. Web and gateway are asked over HTTP; worker and agent prove themselves by a
heartbeat in Redis. Nothing heavy is imported: this runs every few seconds, on busy hosts too.
"""

import json
import os
import socket
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from deployments.redis_keys import SWEEP_HEARTBEAT, agent_heartbeat

SILENT_AFTER_S = 15.0


def problem(role: str) -> str:
    """What is wrong with the process of that role, as a sentence; empty when nothing is."""
    port = int(os.environ.get("BERTH_PORT", "8000"))
    if role == "gateway":
        return _http(int(os.environ.get("BERTH_GATEWAY_PORT", str(port + 1))))
    if role == "worker":
        return _heartbeat(SWEEP_HEARTBEAT)
    if role == "agent":
        return _heartbeat(agent_heartbeat(os.environ.get("BERTH_NODE_NAME", "")))
    return _http(port)


def _http(port: int) -> str:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            status = connection.recv(64).split(b"\r\n")[0].decode(errors="replace")
    except OSError as error:
        return f"Port {port} does not answer: {error}"
    return "" if " 200 " in f"{status} " else f"Port {port} answers: {status}"


def _heartbeat(key: str) -> str:
    import redis  # a quarter of a second that web and gateway need not spend

    try:
        with redis.Redis.from_url(os.environ["REDIS_URL"], socket_timeout=3, socket_connect_timeout=2) as client:
            raw = client.get(key)
    except redis.RedisError as error:
        return f"Redis does not answer: {error}"
    if not isinstance(raw, bytes):
        return f"There is no heartbeat {key}."
    age_s = time.time() - float(json.loads(raw)["at"])
    return f"The heartbeat {key} is {age_s:.0f} s old." if age_s > SILENT_AFTER_S else ""


def main() -> int:
    wrong = problem(os.environ.get("BERTH_ROLE", "web"))
    if wrong:
        print(wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
