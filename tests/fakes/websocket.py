"""A browser's websocket against an ASGI application, without a server.

The one of ``channels.testing`` imports daphne, which Berth does not use.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from asgiref.testing import ApplicationCommunicator

TIMEOUT_S = 10


class FakeWebsocket:
    """One socket. ``user`` is who the session belongs to; ``origin`` is the page's, empty for none."""

    def __init__(self, application: Any, path: str, *, user: Any, origin: str) -> None:
        path, _mark, query = path.partition("?")
        scope = {
            "type": "websocket",
            "path": path,
            "query_string": query.encode(),
            "headers": [(b"origin", origin.encode())] if origin else [],
            "subprotocols": [],
            "user": user,
        }
        # Untyped by its authors.
        self._asgi: Any = ApplicationCommunicator(application, scope)  # type: ignore[no-untyped-call]

    async def connect(self) -> int | None:
        """Shake hands; None when accepted, else the code it was refused with."""
        await self._asgi.send_input({"type": "websocket.connect"})
        answer = await self._asgi.receive_output(TIMEOUT_S)
        return None if answer["type"] == "websocket.accept" else int(answer["code"])

    async def send(self, message: Any) -> None:
        """Send JSON, or a text as it is."""
        text = message if isinstance(message, str) else json.dumps(message)
        await self._asgi.send_input({"type": "websocket.receive", "text": text})

    async def receive(self) -> dict[str, Any]:
        """The next message; fails when the socket is closed instead."""
        answer = await self._asgi.receive_output(TIMEOUT_S)
        assert answer["type"] == "websocket.send", answer
        message: dict[str, Any] = json.loads(answer["text"])
        return message

    async def closed_with(self) -> int:
        """The code of the close, after whatever comes before it."""
        while (answer := await self._asgi.receive_output(TIMEOUT_S))["type"] != "websocket.close":
            pass
        return int(answer["code"])

    async def is_quiet(self, for_s: float) -> bool:
        """Whether nothing comes for that long."""
        return bool(await self._asgi.receive_nothing(for_s))

    async def leave(self) -> None:
        """Close the tab; fails unless the application ends soon."""
        await self._asgi.send_input({"type": "websocket.disconnect", "code": 1001})
        await asyncio.wait_for(asyncio.shield(self._asgi.future), TIMEOUT_S)
