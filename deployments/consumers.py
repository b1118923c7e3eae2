"""The websockets of the pages: hints of changes, and followed logs.

A page of another origin is refused before the handshake; a reader without a session is told by the
close code 4401, and one without the permission by 4403, so that the page can say what to do. Both are
asked again while the socket is open, since it may stay open for days.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Coroutine
from typing import Any
from urllib.parse import parse_qs

from channels.db import database_sync_to_async
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.contrib.auth.models import User

from .cancelling import end_task
from .live_hub import SUBSCRIBED, Subscription, hub
from .log_follower import follow_log
from .socket_guard import NOT_ALLOWED, SIGN_IN, VIEW, socket_guard

logger = logging.getLogger(__name__)

DONE = 1000
FAILED = 1011
BAD_MESSAGE = 4400
MOST_TOPICS = 200
#: So many batches of lines may be on their way to a browser that has not yet shown them.
MOST_UNACKNOWLEDGED = 3


class ClientLeftError(Exception):
    """The browser closed its socket while something was being sent."""


class PageConsumer(AsyncWebsocketConsumer):
    """Checks origin, sign-in and permission; runs one task for as long as the socket is open."""

    _task: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """As Channels does without a channel layer, but without a task for each message."""
        self.scope, self.base_send = scope, send
        with contextlib.suppress(StopConsumer):
            while True:
                await self.dispatch(await receive())

    async def dispatch(self, message: Any) -> None:
        """As Channels does, but what a browser says goes straight to :meth:`hear`, which asks no database.

        Channels lets a thread look after the database's connections first: of 1,000 sockets that acknowledge a frame
        each second, that was nearly all the work, and it waited behind every query.
        """
        if message["type"] == "websocket.receive":
            await self.websocket_receive(message)
        else:
            await super().dispatch(message)

    async def connect(self) -> None:
        if _origin(self.scope) not in settings.BERTH_ORIGINS:
            await self.close(NOT_ALLOWED)
            return
        await self.accept()
        code = await _refusal(self.scope.get("user"))
        if code is not None:
            await self.close(code)
            return
        name = f"{type(self).__name__} {self.scope['path']}"
        self._task = asyncio.create_task(self._work(), name=name)
        socket_guard.add(self)

    async def _work(self) -> None:
        try:
            await self.run()
        except ClientLeftError:
            """The server's word for it follows, see disconnect."""
        except Exception:  # the edge of a task: without this the socket would stay open and mute
            logger.exception("A socket of %s failed", self.scope["path"])
            await self.close(FAILED)
        else:
            await self.close(DONE)

    @property
    def session(self) -> Any:
        """What it was opened with; None without one."""
        return self.scope.get("session")

    async def expel(self, code: int) -> None:
        """End it: who holds it may not any more."""
        if self._task is not None and not self._task.done():  # else it is closed
            await end_task(self._task)
            await self.close(code)

    async def run(self) -> None:
        """What the socket does while it is open."""
        raise NotImplementedError

    async def disconnect(self, code: int) -> None:
        socket_guard.discard(self)
        await end_task(self._task)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        try:
            message = json.loads(text_data or "")
        except ValueError:
            message = None
        if not isinstance(message, dict) or not self.hear(message):
            await self.close(BAD_MESSAGE)

    def hear(self, message: dict[str, Any]) -> bool:
        """Take a message of the browser; False when it is not understood."""
        raise NotImplementedError

    async def send(self, *args: Any, **kwargs: Any) -> None:
        """Send as Channels does. Raises ClientLeftError when nobody is there any more."""
        try:
            await super().send(*args, **kwargs)
        except OSError as error:  # as ASGI 2.4 has it
            raise ClientLeftError from error

    async def close(self, *args: Any, **kwargs: Any) -> None:
        """Close as Channels does; nothing happens when nobody is there any more."""
        with contextlib.suppress(OSError, ClientLeftError):
            await super().close(*args, **kwargs)

    async def tell(self, message: dict[str, Any]) -> None:
        """Send one JSON message; waits while the connection's buffer is full."""
        await self.send(text_data=json.dumps(message, ensure_ascii=False))


class LiveConsumer(PageConsumer):
    """``/ws/live/``: hints of what changed, and every two seconds how fresh the data is.

    Each ``subscribe`` is answered by ``subscribed`` once it took effect: what the page shows may be older.
    """

    _subscription: Subscription | None = None
    _topics: frozenset[str] = frozenset()
    _asked = False

    async def run(self) -> None:
        with hub.subscription() as mine:
            mine.topics = self._topics
            self._subscription = mine
            await self.tell({"type": "hello"})
            if self._asked:
                mine.put(SUBSCRIBED)
            while True:
                await self.send(text_data=await mine.get())

    def hear(self, message: dict[str, Any]) -> bool:
        topics = message.get("subscribe")
        if not isinstance(topics, list) or len(topics) > MOST_TOPICS:
            return False
        self._topics = frozenset(str(topic) for topic in topics)
        self._asked = True
        if self._subscription is not None:
            self._subscription.topics = self._topics
            self._subscription.put(SUBSCRIBED)
        return True


class LogConsumer(PageConsumer):
    """``/ws/log/<deployment>/<attempt>/?cursor=N``: the log from there on. The browser acknowledges batches."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unacknowledged = 0
        self._acknowledged = asyncio.Event()

    async def run(self) -> None:
        route = self.scope["url_route"]["kwargs"]
        frames = follow_log(route["deployment_id"], route["attempt"], cursor=_cursor(self.scope))
        async for frame in frames:
            await self.tell(frame.to_json())
            self._unacknowledged += 1
            while self._unacknowledged >= MOST_UNACKNOWLEDGED:
                self._acknowledged.clear()
                await self._acknowledged.wait()

    def hear(self, message: dict[str, Any]) -> bool:
        if message.get("ack") != 1:
            return False
        self._unacknowledged = max(0, self._unacknowledged - 1)
        self._acknowledged.set()
        return True


def _origin(scope: Any) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"), "")


async def _refusal(user: Any) -> int | None:
    if not isinstance(user, User) or not user.is_active:
        return SIGN_IN
    may_view: Coroutine[Any, Any, bool] = database_sync_to_async(user.has_perm)(VIEW)
    return None if await may_view else NOT_ALLOWED


def _cursor(scope: Any) -> int:
    text = parse_qs(scope["query_string"].decode("latin-1")).get("cursor", ["0"])[0]
    return int(text) if text.isdecimal() and len(text) <= 18 else 0
