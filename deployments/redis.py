"""Connections to Redis: one client for each process, short timeouts, text in and out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from functools import cache
from typing import Any, Protocol, cast

import redis
import redis.asyncio
from django.conf import settings
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

#: What callers catch when Redis is away; translated where it matters.
RedisError = redis.RedisError

_OPTIONS: dict[str, Any] = {
    "decode_responses": True,
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "health_check_interval": 15,
}

StreamEntry = tuple[str, dict[str, str]]


class Pipeline(Protocol):
    """The verbs used in a pipeline."""

    def set(self, name: str, value: str, ex: int | None = ...) -> object: ...
    def get(self, name: str) -> object: ...
    def llen(self, name: str) -> object: ...
    def xlen(self, name: str) -> object: ...
    def xadd(
        self, name: str, fields: Mapping[str, str | int], id: str = ..., maxlen: int = ..., *, approximate: bool = ...
    ) -> object: ...
    def xrange(self, name: str) -> object: ...
    def xrevrange(self, name: str, *, count: int) -> object: ...
    def expire(self, name: str, time: int) -> object: ...
    def execute(self, *, raise_on_error: bool = ...) -> list[Any]: ...


class TextRedis(Protocol):
    """The verbs that Berth uses, typed for ``decode_responses=True``, which redis-py's own types do not know."""

    def ping(self) -> bool: ...
    def scan_iter(self, match: str, count: int | None = ...) -> Iterator[str]: ...
    def time(self) -> tuple[int, int]: ...
    def get(self, name: str) -> str | None: ...
    def set(self, name: str, value: str, ex: int | None = ...) -> object: ...
    def delete(self, *names: str) -> int: ...
    def publish(self, channel: str, message: str) -> int: ...
    def lock(self, name: str, timeout: float, *, blocking_timeout: float) -> AbstractContextManager[object]: ...
    def xadd(self, name: str, fields: Mapping[str, str | int], id: str = ..., maxlen: int | None = ...) -> object: ...
    def xdel(self, name: str, *ids: str) -> int: ...
    def xlen(self, name: str) -> int: ...
    def xrange(self, name: str, min: str = ..., max: str = ..., count: int | None = ...) -> list[StreamEntry]: ...
    def xrevrange(self, name: str, max: str = ..., min: str = ..., count: int | None = ...) -> list[StreamEntry]: ...
    def expire(self, name: str, time: int) -> object: ...
    def blpop(self, keys: list[str], timeout: float = ...) -> tuple[str, str] | None: ...
    def rpush(self, name: str, *values: str) -> int: ...
    def lrem(self, name: str, count: int, value: str) -> int: ...
    def llen(self, name: str) -> int: ...
    def pipeline(self, *, transaction: bool = ...) -> Pipeline: ...


@cache
def client() -> TextRedis:
    """The process's client; thread-safe. Calls raise RedisError within 5 s when Redis is away."""
    made = redis.Redis.from_url(settings.REDIS_URL, retry=Retry(NoBackoff(), 1), **_OPTIONS)
    return cast("TextRedis", made)


@cache
def quick_client() -> TextRedis:
    """Another client, for answers that somebody waits for: calls raise RedisError within 4 s."""
    options = {**_OPTIONS, "socket_timeout": 1, "socket_connect_timeout": 1}
    made = redis.Redis.from_url(settings.REDIS_URL, retry=Retry(NoBackoff(), 1), **options)
    return cast("TextRedis", made)


def async_client(*, tries_again: bool = True) -> redis.asyncio.Redis:
    """A new asyncio client for the running loop; the caller closes it.

    ``tries_again`` false: a failure is raised at once, for a caller that says so and waits by itself.
    """
    options = {**_OPTIONS, "socket_timeout": 30}
    if not tries_again:
        options["retry"] = AsyncRetry(NoBackoff(), 0)
    return redis.asyncio.Redis.from_url(settings.REDIS_URL, **options)


def is_reachable() -> bool:
    """Whether Redis answers now."""
    try:
        return bool(client().ping())
    except RedisError:
        return False
