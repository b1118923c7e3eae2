"""The gateway role serves its own addresses and loads nothing that only pages need."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from django.conf import LazySettings

from dashboard.environment import BASE_DIR

PAGES_ONLY = (
    *("aiohttp", "celery", "channels.routing", "cryptography.fernet", "deployments.engines", "httpx", "rich"),
    *("servestatic", "websockets"),
)


async def ask(application: Any, **scope: Any) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    await application({"method": "GET", "headers": [], **scope}, receive, send)
    return sent


@pytest.mark.parametrize(("path", "status"), [("/healthz", 200), ("/catalogue/", 404), ("/v1/nothing", 404)])
async def test_the_gateway_role_answers_for_itself_only(settings: LazySettings, path: str, status: int) -> None:
    from dashboard.asgi import BerthApplication

    settings.BERTH_ROLE = "gateway"
    sent = await ask(BerthApplication(), type="http", path=path)
    assert sent[0]["status"] == status
    assert sent[1]["body"]


async def test_the_gateway_role_refuses_websockets(settings: LazySettings) -> None:
    from dashboard.asgi import BerthApplication

    settings.BERTH_ROLE = "gateway"
    assert await ask(BerthApplication(), type="websocket", path="/ws/live/") == [{"type": "websocket.close"}]


@pytest.mark.slow
def test_the_gateway_role_loads_what_it_serves_with() -> None:
    told = f"import sys, dashboard.asgi; print([name for name in {PAGES_ONLY!r} if name in sys.modules])"
    environment = {**os.environ, "BERTH_ROLE": "gateway"}
    done = subprocess.run(
        [sys.executable, "-c", told], cwd=BASE_DIR, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
