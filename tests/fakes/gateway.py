"""A gateway under uvicorn as it runs in production."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import aiohttp
import redis
import uvicorn

from playground.gateway.app import GatewayApplication
from playground.gateway.serving.connection import GatewayProtocol

Message = MutableMapping[str, Any]


@dataclass
class RunningGateway:
    """A gateway that listens on ``url``; ``client`` sends its Authorization with every request."""

    application: GatewayApplication
    url: str
    client: aiohttp.ClientSession
    redis: redis.Redis

    def publish(self, *routes: dict[str, Any], version: int = 1, startable: Sequence[dict[str, Any]] = ()) -> None:
        """Write the routing table and announce it, as the lifecycle does."""
        table = {"version": version, "routes": list(routes), "startable": list(startable)}
        self.redis.set("berth:routes", json.dumps(table))
        self.redis.publish("berth:routes:changed", str(version))

    async def serve(self, *routes: dict[str, Any], version: int = 1, startable: Sequence[dict[str, Any]] = ()) -> None:
        """Publish ``routes`` and what could be started, and wait until this gateway has them."""
        self.publish(*routes, version=version, startable=startable)
        await until(lambda: self.application.table.version == version)

    def chat(self, model: str = "tiny", **changes: Any) -> Any:
        """POST a chat request; use as ``async with gateway.chat() as response``."""
        options = {name: changes.pop(name) for name in ("headers", "data") if name in changes}
        body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], **changes}
        if "data" not in options:
            options["json"] = body
        return self.client.post("/v1/chat/completions", **options)

    @property
    def in_flight(self) -> dict[int, int]:
        return self.application.table.in_flight.snapshot()


async def until(condition: Callable[[], bool], *, within_s: float = 5.0) -> None:
    """Wait for ``condition``; fails when it does not come true in time."""
    async with asyncio.timeout(within_s):
        # Any condition, of any part: there is no event to wait for.
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


class _WithLifespan:
    """The gateway with the lifespan that dashboard/asgi.py gives it."""

    def __init__(self, application: GatewayApplication) -> None:
        self.application = application

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        if scope["type"] == "http":
            await self.application(scope, receive, send)
            return
        await receive()
        await self.application.startup()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.application.shutdown()
        await send({"type": "lifespan.shutdown.complete"})


class _Server(uvicorn.Server):
    """uvicorn's server, which ends as soon as there is nothing left: its own looks, and rests, every 0.1 s."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.leave = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ctrl-C is for pytest."""
        yield

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self.leave.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        with contextlib.suppress(TimeoutError):
            within_s = self.config.timeout_graceful_shutdown or 0
            await until(lambda: not self.server_state.connections and not self.server_state.tasks, within_s=within_s)
        for task in self.server_state.tasks:
            task.cancel()
        await self.lifespan.shutdown()


@asynccontextmanager
async def serve_gateway(
    application: GatewayApplication, *, http: type[asyncio.Protocol] | Literal["httptools"] = GatewayProtocol
) -> AsyncIterator[str]:
    """Run ``application`` under uvicorn, as in the gateway role or the web role, on a free port; gives its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        _WithLifespan(application),
        http=http,
        lifespan="on",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await until(lambda: server.started or task.done())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.leave.set()
        await task
        listener.close()
