"""Asks again and again whether those who hold a socket may still have it, for all sockets of this process together.

A page stays open for days, and a sign-out or a lost role has to end it. Each socket asking for itself was half of the
work of a process with 1,000 of them: forty queries a second, each in a thread that keeps the loop from its interpreter.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Protocol

from channels.db import database_sync_to_async
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import DatabaseError
from django.db.models import Exists, OuterRef
from django.utils import timezone
from django.utils.crypto import constant_time_compare

logger = logging.getLogger(__name__)

SIGN_IN = 4401
NOT_ALLOWED = 4403
VIEW = "deployments.view_deployment"
#: The backend that knows permissions; the others only count failed sign-ins.
PERMISSIONS = "django.contrib.auth.backends.ModelBackend"
#: An open socket outlives a sign-out or a lost role by at most this long.
RECHECK_S = 30.0
#: Asked for at once: a query of a millisecond or two.
BATCH = 100


class Guarded(Protocol):
    """A socket: the session that it was opened with, and how it is ended with a close code."""

    @property
    def session(self) -> Any: ...

    async def expel(self, code: int) -> None: ...


class SocketGuard:
    """Checks while there are sockets; each within RECHECK_S, and no two batches at the same moment."""

    def __init__(self) -> None:
        self._sockets: set[Guarded] = set()
        self._task: asyncio.Task[None] | None = None

    def add(self, socket: Guarded) -> None:
        """Check it from now on; it was just found to be allowed."""
        self._sockets.add(socket)
        if self._task is None or self._task.done() or self._task.get_loop() is not asyncio.get_running_loop():
            self._task = asyncio.create_task(self._run(), name="socket guard")

    def discard(self, socket: Guarded) -> None:
        """It is closed, or was never added."""
        self._sockets.discard(socket)

    async def _run(self) -> None:
        while self._sockets:
            batches = list(_batches(tuple(self._sockets)))
            for batch in batches:
                # Who comes during a round waits for the next: twice half of the time.
                await asyncio.sleep(RECHECK_S / 2 / len(batches))
                try:
                    await self._check([socket for socket in batch if socket in self._sockets])
                except DatabaseError as error:
                    logger.warning("Who holds the open sockets could not be checked: %s", error)
                except Exception:
                    logger.exception("The check of the open sockets failed; it goes on")

    async def _check(self, sockets: Collection[Guarded]) -> None:
        codes = await database_sync_to_async(refusals)([socket.session for socket in sockets])
        for socket, code in zip(sockets, codes, strict=True):
            if code is not None and socket in self._sockets:
                self.discard(socket)
                await socket.expel(code)


def refusals(sessions: Collection[Any]) -> list[int | None]:
    """For each session, as it was when its socket was opened, the code to close with; None where it still stands.

    Two queries, however many there are.
    """
    keys = {session.session_key for session in sessions if session is not None}
    standing = Session.objects.filter(session_key__in=keys, expire_date__gt=timezone.now())
    alive = set(standing.values_list("session_key", flat=True))
    people = _people({session[SESSION_KEY] for session in sessions if session is not None and SESSION_KEY in session})
    return [_refusal(session, alive, people) for session in sessions]


def _people(ids: Iterable[str]) -> dict[str, tuple[bool, str]]:
    """Of those who are still active, by id: whether they may view, and the hash of their sessions, made once each."""
    may_view = User.objects.with_perm(VIEW, backend=PERMISSIONS).filter(pk=OuterRef("pk"))
    people = User.objects.filter(pk__in=ids, is_active=True).annotate(may_view=Exists(may_view))
    return {str(user.pk): (user.may_view, user.get_session_auth_hash()) for user in people}


def _refusal(session: Any, alive: Collection[str], people: Mapping[str, tuple[bool, str]]) -> int | None:
    if session is None or session.session_key not in alive:
        return SIGN_IN
    may_view, its_hash = people.get(session.get(SESSION_KEY, ""), (False, ""))
    # A changed password ends the sessions that were begun with the old one.
    if not its_hash or not constant_time_compare(session.get(HASH_SESSION_KEY, ""), its_hash):
        return SIGN_IN
    return None if may_view else NOT_ALLOWED


def _batches(sockets: tuple[Guarded, ...]) -> Iterator[tuple[Guarded, ...]]:
    for start in range(0, len(sockets), BATCH):
        yield sockets[start : start + BATCH]


#: That of this process.
socket_guard = SocketGuard()
