"""What readers of answers see: each answer as it is kept, then its deltas by number. Late, again and from many tabs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from django.db.models import Q

from deployments.cancelling import end_task
from deployments.database_threads import in_database
from playground.models import Answer, Conversation

from .deltas import Entry, Followed
from .facts import AnswerFacts, facts_of
from .names import answer_deltas, conversation_hints
from .pages import pages
from .reading import Hints, Read, leaf_in, newest_hint
from .runner import runner
from .storing import interrupt_dead_answers, is_dead

if TYPE_CHECKING:
    from redis.asyncio import Redis

#: Answers that one page follows at once.
MOST_FOLLOWED: Final = 16
#: How long nothing may come before the row is looked at: its task may have died.
SILENT_S: Final = 5.0
GAP_S: Final = 0.2


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
        self._followed: dict[int, Followed] = {}
        self._unnamed: set[int] = set()
        self._page = ""
        self._conversation_id: int | None = None
        # Empty until the conversation is known to be this person's.
        self._hint_after = ""
        self._has_waited = False
        self._changed = asyncio.Event()
        self._read: Read | None = None
        self._finding: asyncio.Task[Hints | None] | None = None
        self._has_left = False

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
            pages.close(self._user_id, self._page, self)
            self._page = wanted.page
            if self._page:
                pages.open(self._user_id, self._page, self)
        if wanted.conversation_id != self._conversation_id:
            self._conversation_id, self._hint_after = wanted.conversation_id, ""
            self._has_waited = False
            if self._finding is not None:
                self._finding.cancel()
                self._finding = None
        self._changed.set()

    def begin(self, answer_id: int) -> None:
        """Follow an answer that this page asked for: its first word does not wait until the page names it."""
        if answer_id not in self._followed and len(self._unnamed) < MOST_FOLLOWED and not self._has_left:
            self._followed[answer_id] = Followed(needs_row=False, is_told=True, is_silent=False)
            self._unnamed.add(answer_id)

    def hear(self, answer_id: int, sequence: int, delta: dict[str, Any]) -> None:
        """The next delta of an answer that was begun here."""
        followed = self._followed.get(answer_id)
        if followed is not None and followed.is_told:
            followed.hear(sequence, delta)
            self._changed.set()

    def leave(self) -> None:
        """The page is gone: nobody takes what it would hear. Safe to repeat."""
        self._has_left = True
        pages.close(self._user_id, self._page, self)
        self._followed.clear()

    def _begun(self, answer_id: int, have: int | None) -> Followed:
        """The row of an answer that this process makes says nothing that the page lacks: nobody waits for it."""
        needs_row = have is None or not runner.makes(answer_id, owner_id=self._user_id)
        return Followed(sequence=have or 0, needs_row=needs_row)

    async def messages(self) -> AsyncGenerator[dict[str, Any], None]:
        """``snapshot``, ``delta`` and ``over`` of answers, ``changed`` of the conversation; until it is cancelled.

        An answer that is not this person's is ``gone``, as one that was deleted.
        """
        try:
            while True:
                self._changed.clear()
                async for message in self._caught_up():
                    yield message
                for message in await self._wait():
                    yield message
                if any(each.has_gap for each in self._followed.values()):
                    await asyncio.sleep(GAP_S)
        finally:
            self.leave()
            if self._read is not None:
                await self._read.end()
            await end_task(self._finding)

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
        under_way = await self._begin_to_read()
        if not any(each.heard for each in self._followed.values()):
            waking = asyncio.create_task(self._changed.wait())
            try:
                await asyncio.wait({waking, *under_way}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await end_task(waking)
        told = [self._delta(answer_id, each.take_heard()) for answer_id, each in self._followed.items()]
        if self._read is not None and self._read.task.done():
            entries, self._read = self._read.task.result(), None
            told += self._told(entries)
            self._has_waited = True
            if not entries:
                self._look_at_silent()
        if self._finding is not None and self._finding.done():
            hints, self._finding = self._finding.result(), None
            told.append(self._found(hints))
        told = [each for each in told if each]
        self._has_waited |= bool(told)
        return told

    async def _begin_to_read(self) -> list[asyncio.Task[Any]]:
        """What is read from Redis for what is wanted now."""
        streams = self._streams
        if self._read is not None and self._read.names != streams.keys():
            await self._read.end()
            self._read = None
        if self._read is None and (streams or self._followed):
            self._read = Read(self._redis, streams, silent_s=self._silent_s)
        # An answer that is awaited comes first: what other tabs say is heard after its first word.
        is_awaited = bool(self._followed) and not self._has_waited
        if self._conversation_id is not None and not self._hint_after and self._finding is None and not is_awaited:
            self._finding = asyncio.create_task(self._find_hints(self._conversation_id), name="page finding hints")
        reading = None if self._read is None else self._read.task
        return [task for task in (reading, self._finding) if task is not None]

    async def _find_hints(self, conversation_id: int) -> Hints | None:
        """None of somebody else's."""
        if not await in_database(owns_conversation, conversation_id, self._user_id):
            return None
        return await newest_hint(self._redis, conversation_id)

    @property
    def _streams(self) -> dict[str, str]:
        """What is read from Redis, with the last entry that is known."""
        followed = {answer_id: each for answer_id, each in self._followed.items() if not each.is_told}
        streams = {answer_deltas(answer_id): f"{each.sequence}-0" for answer_id, each in followed.items()}
        if self._conversation_id is not None and self._hint_after:
            streams[conversation_hints(self._conversation_id)] = self._hint_after
        return streams

    def _look_at_silent(self) -> None:
        """Their task may have died, or Redis lost what came."""
        for each in self._followed.values():
            each.needs_row |= each.is_silent
            each.is_silent = True

    def _found(self, hints: Hints | None) -> dict[str, Any]:
        """Hear hints from now on, and tell what was said since the page's drawing."""
        if hints is None:
            self._conversation_id = None
            return {}
        self._hint_after = hints.after
        return self._grown(hints.leaf) if hints.after else {}

    def _told(self, entries: dict[str, list[Entry]]) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = []
        hints = entries.get(conversation_hints(self._conversation_id or 0), [])
        if hints:
            self._hint_after = hints[-1][0]
            told.append(self._grown(leaf_in(hints)))
        for answer_id, followed in self._followed.items():
            read = entries.get(answer_deltas(answer_id), [])
            told.append(self._delta(answer_id, followed.take_read(read)))
        return told

    def _delta(self, answer_id: int, delta: dict[str, Any]) -> dict[str, Any]:
        return {"type": "delta", "answer": answer_id, **delta} if delta else {}


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
