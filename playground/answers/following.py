"""What readers of answers see: each answer as it is kept, then its deltas by number. Late, again and from many tabs."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from django.db.models import Q

from deployments.cancelling import end_task
from deployments.database_threads import in_database
from deployments.redis import RedisError
from playground.models import Answer, Conversation

from .facts import AnswerFacts, facts_of
from .names import answer_deltas, conversation_hints
from .pages import pages
from .runner import runner
from .storing import interrupt_dead_answers, is_dead

if TYPE_CHECKING:
    from redis.asyncio import Redis

logger = logging.getLogger(__name__)

#: Answers that one page follows at once.
MOST_FOLLOWED: Final = 16
#: How long nothing may come before the row is looked at: its task may have died.
SILENT_S: Final = 5.0
#: How often rows are looked at while Redis is away.
WITHOUT_REDIS_S: Final = 1.0
GAP_S: Final = 0.2
_AT_ONCE: Final = 500


#: A delta with its number.
_Part = tuple[int, dict[str, Any]]
#: One of a stream of Redis: its id and its fields.
_Entry = tuple[str, dict[str, str]]


@dataclass(kw_only=True)
class _Followed:
    """``sequence`` is the number of the last delta that this reader has; ``has_gap``: the next one is lost.

    One that ``is_told`` needs no Redis: what this process makes of it comes in ``heard`` by itself.
    """

    sequence: int = 0
    needs_row: bool = True
    has_gap: bool = False
    is_told: bool = False
    is_silent: bool = True
    heard: list[_Part] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class _Reading:
    """A read of these streams that is under way."""

    names: Set[str]
    task: asyncio.Task[dict[str, list[_Entry]]]


@dataclass(kw_only=True)
class Wanted:
    """What a page wants to hear of: answers by id with the number of the last delta that it has, a conversation.

    ``page`` is the name that it asks under; what it asks for is followed before it says so.
    """

    answers: dict[int, int | None] = field(default_factory=dict)
    conversation_id: int | None = None
    page: str = ""


class Follower:
    """Of one page of ``user_id``. Iterate :meth:`messages`; :meth:`want` may be called at any time in the loop."""

    def __init__(self, user_id: int, redis: Redis, *, silent_s: float = SILENT_S) -> None:
        self._user_id = user_id
        self._redis = redis
        self._silent_s = silent_s
        self._followed: dict[int, _Followed] = {}
        self._unnamed: set[int] = set()
        self._page = ""
        self._conversation_id: int | None = None
        # Empty until the conversation is known to be this person's.
        self._hint_after = ""
        self._has_waited = False
        self._changed = asyncio.Event()
        self._reading: _Reading | None = None

    def want(self, wanted: Wanted) -> None:
        """Follow these instead of those before. An answer that is followed already just goes on."""
        known = self._followed
        self._followed = {
            answer_id: known.get(answer_id) or self._begun(answer_id, have)
            for answer_id, have in list(wanted.answers.items())[:MOST_FOLLOWED]
        }
        self._unnamed &= known.keys() - self._followed.keys()
        self._followed |= {answer_id: known[answer_id] for answer_id in self._unnamed}
        if wanted.page != self._page:
            self.leave()
            self._page = wanted.page
            if self._page:
                pages.open(self._user_id, self._page, self)
        if wanted.conversation_id != self._conversation_id:
            self._conversation_id, self._hint_after = wanted.conversation_id, ""
            self._has_waited = False
        self._changed.set()

    def begin(self, answer_id: int) -> None:
        """Follow an answer that this page asked for: its first word does not wait until the page names it."""
        if answer_id not in self._followed and len(self._unnamed) < MOST_FOLLOWED:
            self._followed[answer_id] = _Followed(needs_row=False, is_told=True)
            self._unnamed.add(answer_id)

    def hear(self, answer_id: int, sequence: int, delta: dict[str, Any]) -> None:
        """The next delta of an answer that was begun here."""
        followed = self._followed.get(answer_id)
        if followed is not None and followed.is_told:
            followed.heard.append((sequence, delta))
            followed.is_silent = False
            self._changed.set()

    def leave(self) -> None:
        """The page is gone. Safe to repeat."""
        pages.close(self._user_id, self._page, self)

    def _begun(self, answer_id: int, have: int | None) -> _Followed:
        """The row of an answer that this process makes says nothing that the page lacks: nobody waits for it."""
        needs_row = have is None or not runner.makes(answer_id, owner_id=self._user_id)
        return _Followed(sequence=have or 0, needs_row=needs_row)

    async def messages(self) -> AsyncGenerator[dict[str, Any], None]:
        """``snapshot``, ``delta`` and ``over`` of answers, ``changed`` of the conversation; until it is cancelled.

        An answer that is not this person's is ``gone``, as one that was deleted.
        """
        try:
            while True:
                self._changed.clear()
                async for message in self._caught_up():
                    yield message
                # An answer that is awaited comes first: what other tabs say is heard after its first word.
                awaited = bool(self._followed) and not self._has_waited
                if self._conversation_id is not None and not self._hint_after and not awaited:
                    grown = await self._begin_hints()
                    if grown is not None:
                        yield grown
                for message in await self._wait():
                    yield message
                if any(each.has_gap for each in self._followed.values()):
                    await asyncio.sleep(GAP_S)
        finally:
            # Nobody takes what it would hear.
            self._followed.clear()
            await self._end_reading()

    async def _begin_hints(self) -> dict[str, Any] | None:
        """Hear hints from now on, and tell what was said since the page's drawing. None of somebody else's."""
        conversation_id = self._conversation_id or 0
        if not await in_database(owns_conversation, conversation_id, self._user_id):
            self._conversation_id = None
            return None
        try:
            newest = await self._redis.xrevrange(conversation_hints(conversation_id), count=1)
        except (RedisError, OSError):
            return None
        self._hint_after = str(newest[0][0]) if newest else "0-0"
        return self._grown(_leaf_in(newest or []))

    def _grown(self, leaf: int | None) -> dict[str, Any]:
        return {"type": "changed", "conversation": self._conversation_id, "leaf": leaf}

    async def _caught_up(self) -> AsyncIterator[dict[str, Any]]:
        """Rows of those whose deltas are not known to be complete, and of those that are over."""
        due = [answer_id for answer_id, each in self._followed.items() if each.needs_row]
        if not due:
            return
        found = await in_database(_look, due, self._user_id)
        for answer_id in due:
            followed = self._followed.get(answer_id)
            if followed is None:
                continue
            facts = found.get(answer_id)
            if facts is None:
                del self._followed[answer_id]
                yield {"type": "gone", "answer": answer_id}
                continue
            followed.needs_row = followed.has_gap = False
            if not facts["live"]:
                del self._followed[answer_id]
            elif facts["sequence"] < followed.sequence:
                # This reader has more than the row.
                continue
            followed.sequence = facts["sequence"]
            yield {"type": "snapshot" if facts["live"] else "over", **facts}

    async def _wait(self) -> list[dict[str, Any]]:
        """What is told next; nothing when something else is wanted, or all were silent for long."""
        told = self._told_here()
        if told:
            return told
        streams = self._streams
        if not streams and not self._followed:
            await self._changed.wait()
            return []
        if self._reading is None or self._reading.names != streams.keys():
            await self._end_reading()
            reading = asyncio.create_task(self._read(streams), name=f"page of {self._user_id} reading")
            self._reading = _Reading(names=streams.keys(), task=reading)
        waking = asyncio.create_task(self._changed.wait())
        await self._first_of(self._reading.task, waking)
        told += self._told_here()
        if self._reading.task.done():
            entries, self._reading = self._reading.task.result(), None
            told += self._told(entries)
            if not entries:
                self._look_at_silent()
        self._has_waited |= bool(told)
        return told

    async def _first_of(self, reading: asyncio.Task[Any], waking: asyncio.Task[Any]) -> None:
        """Reading goes on while this page wants or hears something: to break it off costs its connection."""
        try:
            await asyncio.wait({reading, waking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end_task(waking)

    async def _end_reading(self) -> None:
        if self._reading is not None:
            await end_task(self._reading.task)

    @property
    def _streams(self) -> dict[str, str]:
        """What is read from Redis, with the last entry that is known."""
        followed = {answer_id: each for answer_id, each in self._followed.items() if not each.is_told}
        streams = {answer_deltas(answer_id): f"{each.sequence}-0" for answer_id, each in followed.items()}
        if self._conversation_id is not None and self._hint_after:
            streams[conversation_hints(self._conversation_id)] = self._hint_after
        return streams

    async def _read(self, streams: dict[str, str]) -> dict[str, list[_Entry]]:
        """The next entries by stream; none when all were silent for long, or Redis is away."""
        if not streams:
            await asyncio.sleep(self._silent_s)
            return {}
        try:
            found = await self._redis.xread(streams, count=_AT_ONCE, block=round(self._silent_s * 1000))  # type: ignore[arg-type]
        except (RedisError, OSError, TimeoutError) as error:
            logger.warning("Answers are followed without Redis: %s", error)
            await asyncio.sleep(WITHOUT_REDIS_S)
            return {}
        return dict(found or [])  # type: ignore[arg-type]  # typed for every kind of client at once

    def _look_at_silent(self) -> None:
        """Their task may have died, or Redis lost what came."""
        for each in self._followed.values():
            each.needs_row |= each.is_silent
            each.is_silent = True

    def _told_here(self) -> list[dict[str, Any]]:
        """What this process itself made."""
        told: list[dict[str, Any]] = []
        for answer_id, followed in self._followed.items():
            heard, followed.heard = followed.heard, []
            told += _merged(answer_id, followed, heard)
        return told

    def _told(self, entries: dict[str, list[_Entry]]) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = []
        hints = entries.get(conversation_hints(self._conversation_id or 0), [])
        if hints:
            self._hint_after = hints[-1][0]
            told.append(self._grown(_leaf_in(hints)))
        for answer_id, followed in self._followed.items():
            told += _merged(answer_id, followed, _parts(entries.get(answer_deltas(answer_id), [])))
        return told


def _parts(entries: list[_Entry]) -> list[_Part]:
    return [(int(entry_id.partition("-")[0]), json.loads(fields["delta"])) for entry_id, fields in entries]


def _merged(answer_id: int, followed: _Followed, parts: list[_Part]) -> list[dict[str, Any]]:
    """All deltas that wait as one: a browser that is slow gets fewer and larger ones."""
    delta: dict[str, Any] = {"text": "", "reasoning": ""}
    after = followed.sequence
    for number, part in parts:
        if number <= followed.sequence:
            # The row, which was looked at meanwhile, had it.
            continue
        if number != followed.sequence + 1:
            # Some were trimmed, or Redis lost them: the row has them within two seconds.
            followed.needs_row = followed.has_gap = True
            break
        followed.sequence = number
        if part.get("over"):
            followed.needs_row = True
            break
        delta["text"] += part.get("text", "")
        delta["reasoning"] += part.get("reasoning", "")
        delta |= {name: part[name] for name in ("calls", "facts", "pieces") if name in part}
    delta = {name: value for name, value in delta.items() if value}
    if not delta:
        return []
    return [{"type": "delta", "answer": answer_id, "after": after, "sequence": followed.sequence, **delta}]


def _leaf_in(hints: Sequence[Any]) -> int | None:
    """What the last entry of a stream of hints tells."""
    told = hints[-1][1].get("leaf") if hints else None
    return None if told is None else int(told)


def _look(answer_ids: list[int], user_id: int) -> dict[int, AnswerFacts]:
    """The answers as they are kept, of this person only; those whose task died are marked first."""
    mine = Answer.objects.filter(pk__in=answer_ids, message__conversation__owner_id=user_id).select_related("message")
    answers = list(mine)
    if any(is_dead(answer) for answer in answers):
        interrupt_dead_answers(Q(pk__in=answer_ids))
        answers = list(mine.all())
    return {answer.pk: facts_of(answer) for answer in answers}


def owns_conversation(conversation_id: int, user_id: int) -> bool:
    """Whether this person may hear of the conversation."""
    return Conversation.objects.filter(pk=conversation_id, owner_id=user_id).exists()
