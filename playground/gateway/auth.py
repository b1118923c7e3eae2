"""Who may use the gateway: a key, a signed-in person's browser or playground task, or the host's own command line."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Final

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser, User
from django.db import DatabaseError, close_old_connections
from django.http import HttpRequest
from django.utils.functional import lazy
from django.utils.translation import gettext_lazy as _

from deployments.actors import TRY_MODELS, explain_missing
from playground.exceptions import SIGN_IN_OR_KEY, ForbiddenError, GatewayError, UnauthenticatedError
from playground.key_rules import KeyLimits, KeyScopes
from playground.models import GatewayKey
from playground.selectors_keys import key_scopes
from playground.services.command_line_token import read_token
from playground.services.keys import find_key, note_use
from playground.services.person_token import read_person_token

from .wire import Headers, cookie

_explain_missing_lazily = lazy(explain_missing, str)

logger = logging.getLogger(__name__)

#: What was looked up stays good this long, in seconds, unless a change of keys is announced.
REMEMBER_S: Final = 10.0
#: How many callers are remembered at most.
REMEMBER_MANY: Final = 10_000
#: Keeps whole Authorization headers apart from sessions, of which only hashes are kept.
_KEY: Final = b"key:"


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Who sends a request: ``kind`` is key, person or command. Only a key has an id, and perhaps limits and scopes."""

    kind: str
    name: str
    key_id: int | None = None
    limits: KeyLimits | None = None
    scopes: KeyScopes | None = None

    def may_ask(self, model: str) -> bool:
        """Whether the model or config of this name is within the scopes."""
        return self.scopes is None or self.scopes.allows_model(model)

    def require_model(self, model: str) -> None:
        """Raise ForbiddenError for a model or config that is out of the scopes."""
        if not self.may_ask(model):
            raise ForbiddenError(
                _("This key may not ask %(model)s. An admin can allow it on the page Keys."), param="model", model=model
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Remembered:
    caller: Caller
    until: float


class Authenticator:
    """Checks credentials; asks the database in a thread, and only for callers not seen lately."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._remembered: dict[bytes, _Remembered] = {}
        self._generation = 0

    def forget(self) -> None:
        """Look everybody up again: a key was revoked somewhere."""
        self._generation += 1
        self._remembered.clear()

    async def check(self, headers: Headers) -> Caller:
        """The caller of a request. Raises UnauthenticatedError or ForbiddenError with the next step.

        A credential in Authorization is the only one that counts when there is one.
        """
        authorization = headers.get(b"authorization")
        if authorization is not None:
            known = self._remembered.get(hashlib.sha256(_KEY + authorization).digest())
            if known is not None and self._clock() < known.until:
                return known.caller
            return await self._by_token(authorization)
        session_key = cookie(headers, settings.SESSION_COOKIE_NAME)
        if not session_key:
            raise UnauthenticatedError(SIGN_IN_OR_KEY)
        # The browser adds the cookie to anybody's requests; only our own pages can do both of these.
        origin = headers.get(b"origin", b"").decode("latin-1")
        if origin not in settings.BERTH_ORIGINS or headers.get(b"x-berth-request") != b"1":
            raise ForbiddenError(_("A session counts only on requests from Berth's own pages. Programs send a key."))
        return await self._remember(b"session:" + session_key.encode(), lambda: _person_of_session(session_key))

    async def _by_token(self, authorization: bytes) -> Caller:
        scheme, _space, token = authorization.decode("latin-1").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise UnauthenticatedError(SIGN_IN_OR_KEY)
        name = read_token(token)
        if name is not None:
            return Caller(kind="command", name=name)
        user_id = read_person_token(token)
        if user_id is not None:
            # Each token is new; the person is not.
            return await self._remember(b"person:%d" % user_id, lambda: _person_of_task(user_id))
        return await self._remember(_KEY + authorization, lambda: _owner_of_key(token))

    async def _remember(self, credential: bytes, look_up: Callable[[], tuple[Caller, float]]) -> Caller:
        """The remembered caller, else what ``look_up`` finds in a thread: caller, seconds it stays valid."""
        name = hashlib.sha256(credential).digest()
        known = self._remembered.get(name)
        if known is not None and self._clock() < known.until:
            return known.caller
        self._remembered.pop(name, None)
        generation = self._generation
        caller, valid_s = await asyncio.to_thread(_in_database, look_up)
        # A revocation announced meanwhile may be newer than what was read.
        if generation == self._generation:
            if len(self._remembered) >= REMEMBER_MANY:
                self._remembered.clear()
            until = self._clock() + min(valid_s, REMEMBER_S)
            self._remembered[name] = _Remembered(caller=caller, until=until)
        return caller


def _in_database(look_up: Callable[[], tuple[Caller, float]]) -> tuple[Caller, float]:
    close_old_connections()
    try:
        return look_up()
    except DatabaseError as error:
        logger.error("The database does not answer while checking a caller: %s", error)
        raise _DatabaseAwayError(
            _("Berth's database does not answer, so that nobody can be let in. Try again in a moment.")
        ) from error
    finally:
        close_old_connections()


class _DatabaseAwayError(GatewayError):
    status = 503
    code = "database_away"


def _owner_of_key(token: str) -> tuple[Caller, float]:
    key = find_key(token)
    if key is None:
        raise UnauthenticatedError(_("This gateway key is not known. Check that it was copied whole."))
    if key.state is not GatewayKey.State.ACTIVE:
        raise UnauthenticatedError(
            _("The gateway key %(name)s is no longer valid (%(state)s). Ask an admin for another."),
            name=key.name,
            state=str(key.state.label),
        )
    try:
        note_use(key)
    except DatabaseError as error:
        logger.warning("The last use of key %s was not recorded: %s", key.name, error)
    valid_s = REMEMBER_S if key.expires_at is None else key.expires_at.timestamp() - time.time()
    caller = Caller(kind="key", name=key.name, key_id=key.pk, limits=key.limits or None, scopes=key_scopes(key) or None)
    return caller, valid_s


def _person_of_session(session_key: str) -> tuple[Caller, float]:
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    return _caller_of(get_user(request))


def _person_of_task(user_id: int) -> tuple[Caller, float]:
    return _caller_of(User.objects.filter(pk=user_id).first() or AnonymousUser())


def _caller_of(user: AbstractBaseUser | AnonymousUser) -> tuple[Caller, float]:
    if not isinstance(user, User) or not user.is_active:
        raise UnauthenticatedError(_("You are signed out. Sign in again."))
    if not user.has_perm(TRY_MODELS):
        raise ForbiddenError(_explain_missing_lazily(TRY_MODELS))
    return Caller(kind="person", name=user.get_username()), REMEMBER_S
