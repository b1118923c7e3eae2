"""The part of a key's budgets that one process holds, and the scripts that take it from Redis."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.utils.translation import gettext_lazy as _

from deployments.redis_keys import key_budget
from playground.exceptions import RateLimitedError
from playground.key_rules import KeyLimits

from .reservation import RateHeaders, Reservation

MINUTE_MS: Final = 60_000
DAY_MS: Final = 86_400_000
#: A block is at most this part of the limit.
BLOCKS: Final = 20
#: Reserved for an answer whose length the request does not bound.
UNSTATED_ANSWER_TOKENS: Final = 1024
BYTES_PER_TOKEN: Final = 4

#: KEYS: one hash for each budget. ARGV, for each: limit, period in ms, needed, wanted, owed. All that is needed is
#: granted, or nothing. Gives, for each: granted, left for others, window, ms until it ends. Redis's own clock decides,
#: since those of the hosts differ; after it was set back the newer window goes on.
CHARGE: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found, enough = {}, true
for i, key in ipairs(KEYS) do
  local at = (i - 1) * 5
  local limit, period, need = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local owed = tonumber(ARGV[at + 5])
  local window = math.floor(now / period)
  local stored = redis.call('HMGET', key, 'window', 'used')
  local last, used = tonumber(stored[1] or -1), 0
  if last == window or last == window + 1 then
    window, used = last, tonumber(stored[2])
  end
  used = used + owed
  found[i] = {window, used, limit - used, (window + 1) * period - now}
  if need > 0 and need > limit - used then enough = false end
end
local reply = {}
for i, key in ipairs(KEYS) do
  local at = (i - 1) * 5
  local need, want, owed = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5])
  local window, used, left, ends = unpack(found[i])
  local grant = 0
  if enough and need > 0 then
    grant = math.max(need, math.min(want, need + math.floor((left - need) / 4)))
  end
  if grant > 0 or owed > 0 then
    redis.call('HSET', key, 'window', window, 'used', string.format('%.0f', used + grant))
    redis.call('PEXPIRE', key, tonumber(ARGV[at + 2]) * 2)
  end
  reply[i] = {grant, left - grant, window, ends}
end
return reply
"""
#: KEYS as above; ARGV, for each: window, amount that goes back.
RETURN: Final = """
for i, key in ipairs(KEYS) do
  local stored = redis.call('HMGET', key, 'window', 'used')
  if stored[1] == ARGV[2 * i - 1] then
    local used = math.max(0, tonumber(stored[2]) - tonumber(ARGV[2 * i]))
    redis.call('HSET', key, 'used', string.format('%.0f', used))
  end
end
"""


class Block:
    """What this process holds of one budget. ``left`` below zero is owed: used beyond what was reserved."""

    __slots__ = (
        "_names",
        "_reset",
        "_reset_s",
        "ends_at",
        "key",
        "left",
        "limit",
        "others",
        "period_ms",
        "unit",
        "window",
    )

    def __init__(self, key: str, *, limit: int, period_ms: int, unit: str) -> None:
        self.key = key
        self.limit = limit
        self.period_ms = period_ms
        self.unit = unit
        self.left = 0
        self.others = limit
        self.window = -1
        self.ends_at = 0.0
        told = unit.encode()
        self._names = (b"x-ratelimit-limit-" + told, b"x-ratelimit-remaining-" + told, b"x-ratelimit-reset-" + told)
        self._reset_s = -1
        self._reset = b""

    def end_window(self, now: float) -> None:
        """Drop what belongs to a minute or day that is over."""
        if now >= self.ends_at:
            self.left = min(self.left, 0)

    @property
    def remaining(self) -> int:
        """What the key may still use, as far as this process knows."""
        return max(0, self.left + self.others)

    def headers(self, now: float) -> RateHeaders:
        """OpenAI's x-ratelimit headers for this budget; made for each answer, so the time is written once a second."""
        ends_s = max(0.0, self.ends_at - now)
        whole = math.ceil(ends_s)
        if whole != self._reset_s or whole <= 1:
            self._reset_s, self._reset = whole, _go_duration(ends_s)
        limit, remaining, reset = self._names
        return (limit, b"%d" % self.limit), (remaining, b"%d" % self.remaining), (reset, self._reset)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One question to Redis. ``owed`` is what it settles, for each block."""

    keys: list[str]
    arguments: list[int]
    needs: tuple[int, ...]
    owed: tuple[int, ...]
    at: float


class KeyBudget:
    """The budgets of one key in this process. Nothing here waits, but for holders of ``lock``."""

    def __init__(self, key_id: int, limits: KeyLimits, clock: Callable[[], float]) -> None:
        self._key_id = key_id
        self._clock = clock
        self.lock = asyncio.Lock()
        self.used_at = clock()
        #: When Redis was last asked in vain.
        self.away_at = -math.inf
        #: The blocks that lacked something when Redis was last asked, and would not give.
        self.refused: list[Block] = []
        self.limits = limits
        self._requests: Block | None = None
        self._tokens: list[Block] = []
        self._blocks: list[Block] = []
        self.change(limits)

    def change(self, limits: KeyLimits) -> None:
        """Take over other limits; what is held of a budget that changed is dropped, what is owed stays owed."""
        self.limits = limits
        before = {block.key: block for block in self._blocks}
        wanted = (
            ("requests", "requests", limits.requests_per_minute, MINUTE_MS),
            ("tokens", "tokens", limits.tokens_per_minute, MINUTE_MS),
            ("day", "tokens", limits.tokens_per_day, DAY_MS),
        )
        self._blocks = []
        for name, unit, limit, period_ms in wanted:
            if limit is not None:
                key = key_budget(self._key_id, name)
                block = before.get(key) or Block(key, limit=limit, period_ms=period_ms, unit=unit)
                if block.limit != limit:
                    block.limit, block.others, block.left = limit, limit, min(block.left, 0)
                self._blocks.append(block)
        self._requests = next((block for block in self._blocks if block.unit == "requests"), None)
        self._tokens = [block for block in self._blocks if block.unit == "tokens"]
        self._least = min((block.limit for block in self._tokens), default=0)

    def estimate(self, prompt_bytes: int, max_tokens: int | None) -> int:
        """Tokens to reserve. An answer without a stated bound reserves no more than fits the smallest limit."""
        if not self._tokens or not prompt_bytes:
            return 0
        prompt = -(-prompt_bytes // BYTES_PER_TOKEN)
        if max_tokens is not None:
            return prompt + max(0, max_tokens)
        return prompt + max(1, min(UNSTATED_ANSWER_TOKENS, self._least - prompt))

    def take(self, tokens: int) -> Reservation | None:
        """Reserve one request and ``tokens`` from what is held; None, and nothing reserved, when that is too little."""
        self.used_at = now = self._clock()
        for block in self._blocks:
            block.end_window(now)
            if block.left < (tokens if block.unit == "tokens" else 1):
                return None
        if self._requests is not None:
            self._requests.left -= 1
        for block in self._tokens:
            block.left -= tokens
        return Reservation(self, tokens, tuple([block.window for block in self._tokens]))

    def correct(self, unused: int, windows: tuple[int, ...]) -> None:
        """Put back what a request did not use, in its own minute or day; below zero, take what it used beyond."""
        now = self._clock()
        for block, window in zip(self._tokens, windows, strict=False):
            block.end_window(now)
            if unused < 0 or (window == block.window and now < block.ends_at):
                block.left += unused

    @property
    def owes(self) -> bool:
        """Whether more was used than this process holds."""
        return any(block.left < 0 for block in self._blocks)

    def ask(self, tokens: int | None) -> Asked:
        """What Redis is to be asked for one request of ``tokens``; None takes nothing and settles what is owed."""
        now = self._clock()
        arguments: list[int] = []
        needs: list[int] = []
        owed: list[int] = []
        for block in self._blocks:
            block.end_window(now)
            amount = 0 if tokens is None else tokens if block.unit == "tokens" else 1
            needs.append(max(0, amount - max(0, block.left)))
            owed.append(max(0, -block.left))
            block.left = max(0, block.left)
            arguments += [block.limit, block.period_ms, needs[-1], max(1, block.limit // BLOCKS), owed[-1]]
        keys = [block.key for block in self._blocks]
        return Asked(keys=keys, arguments=arguments, needs=tuple(needs), owed=tuple(owed), at=now)

    def unask(self, asked: Asked) -> None:
        """Redis did not answer: what was owed still is."""
        owed = dict(zip(asked.keys, asked.owed, strict=True))
        for block in self._blocks:
            block.left -= owed.get(block.key, 0)

    def granted(self, asked: Asked, reply: list[list[int]]) -> None:
        """Take over what Redis gave. Its windows end no later than told, reckoned from before the question."""
        blocks = {block.key: block for block in self._blocks}
        self.refused = []
        for key, need, (grant, others, window, ends_ms) in zip(asked.keys, asked.needs, reply, strict=True):
            block = blocks.get(key)
            if block is None or window < block.window:
                continue
            if window > block.window:
                block.left = min(block.left, 0)
            block.window, block.others = window, others
            block.ends_at = asked.at + ends_ms / 1000
            block.left += grant
            if need > max(others, 0) + grant:
                self.refused.append(block)

    def give_back(self) -> tuple[list[str], list[int]]:
        """Let go of what is held, and say how to return it."""
        now = self._clock()
        keys: list[str] = []
        arguments: list[int] = []
        for block in self._blocks:
            block.end_window(now)
            if block.left > 0:
                keys.append(block.key)
                arguments += [block.window, block.left]
                block.others += block.left
                block.left = 0
        return keys, arguments

    def refuse_impossible(self, name: str, tokens: int) -> None:
        """Raise RateLimitedError for a request that needs more than the whole of a limit."""
        block = min(self._tokens, key=lambda one: one.limit, default=None)
        if block is not None and tokens > block.limit:
            raise RateLimitedError(
                _(
                    "This request may need %(tokens)s tokens, and the key %(name)s is limited to %(limit)s "
                    "%(per)s. Send a shorter prompt or a smaller max_tokens."
                ),
                # No time makes it fit: OpenAI's and Anthropic's clients try again unless they are told not to.
                rate_headers=((b"x-should-retry", b"false"), *self.headers()),
                name=name,
                tokens=str(tokens),
                limit=str(block.limit),
                per=_per(block),
            )

    def refusal(self, name: str) -> RateLimitedError:
        """The error for a request that the budgets do not hold any more."""
        block = max(self.refused, key=lambda one: one.ends_at)
        return RateLimitedError(
            _("The key %(name)s has used its %(limit)s %(per)s. Try again in %(wait)s s."),
            rate_headers=self._with_retry(self.refused),
            name=name,
            limit=str(block.limit),
            per=_per(block),
            wait=str(self._wait_s([block])),
        )

    def headers(self) -> RateHeaders:
        """OpenAI's x-ratelimit headers; of two limits on tokens, the one with less left."""
        now = self._clock()
        requests, tokens = self._requests, self._tokens
        told = () if requests is None else requests.headers(now)
        if not tokens:
            return told
        tightest = tokens[0]
        for block in tokens[1:]:
            if block.remaining < tightest.remaining:
                tightest = block
        return (*told, *tightest.headers(now))

    def _with_retry(self, blocks: list[Block]) -> RateHeaders:
        return ((b"retry-after", b"%d" % self._wait_s(blocks)), *self.headers())

    def _wait_s(self, blocks: list[Block]) -> int:
        return max(1, math.ceil(max(block.ends_at for block in blocks) - self._clock()))


def _per(block: Block) -> Any:
    if block.unit == "requests":
        return _("requests per minute")
    return _("tokens per day") if block.period_ms == DAY_MS else _("tokens per minute")


def _go_duration(seconds: float) -> bytes:
    """``6m0s``, ``12s``, ``340ms``: how OpenAI writes when a limit begins anew (Go's time.Duration)."""
    if seconds < 1:
        return b"%dms" % math.ceil(seconds * 1000)
    whole = math.ceil(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return b"%dh%dm%ds" % (hours, minutes, rest)
    return b"%dm%ds" % (minutes, rest) if minutes else b"%ds" % rest
