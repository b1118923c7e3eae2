"""The websocket of answers under way."""

from __future__ import annotations

import contextlib
from typing import Any, Final

from deployments.consumers import PageConsumer
from deployments.redis import RedisError, async_client

from .answers.following import Follower, Wanted
from .answers.pages import LONGEST_NAME

_LARGEST_NUMBER: Final = 2**53


class AnswerConsumer(PageConsumer):
    """``/ws/answers/``: answers as they arrive, and whether the open conversation changed in another tab.

    The page says ``{"follow": {"<answer>": <last number or null>}, "conversation": <id or null>, "page": <name>}`` as
    often as it likes; the last one counts. What it asks for under that name it hears without following it. It hears
    ``snapshot``, ``delta``, ``over``, ``gone`` and ``changed``, see :meth:`Follower.messages`. After a lost connection
    it asks with the numbers that it has, and gets what it lacks.
    """

    _follower: Follower | None = None
    _wanted: Wanted | None = None

    async def run(self) -> None:
        redis = async_client(tries_again=False)
        try:
            follower = self._follower = Follower(self.scope["user"].pk, redis)  # type: ignore[union-attr]
            if self._wanted is not None:
                follower.want(self._wanted)
            with contextlib.suppress(RedisError, OSError):
                # Connected before somebody waits for a word; whoever follows says it when Redis is away.
                await redis.ping()
            async with contextlib.aclosing(follower.messages()) as messages:
                async for message in messages:
                    await self.tell(message)
        finally:
            if self._follower is not None:
                self._follower.leave()
            await redis.aclose()

    def hear(self, message: dict[str, Any]) -> bool:
        wanted = _wanted(message)
        if wanted is None:
            return False
        self._wanted = wanted
        if self._follower is not None:
            self._follower.want(wanted)
        return True


def _wanted(message: dict[str, Any]) -> Wanted | None:
    follow, conversation_id, page = message.get("follow"), message.get("conversation"), message.get("page", "")
    if not isinstance(page, str) or len(page) > LONGEST_NAME:
        return None
    if not isinstance(follow, dict) or not (conversation_id is None or _is_number(conversation_id)):
        return None
    if not all(
        key.isdecimal() and len(key) < 16 and (have is None or _is_number(have)) for key, have in follow.items()
    ):
        return None
    answers = {int(key): have for key, have in follow.items()}
    return Wanted(answers=answers, conversation_id=conversation_id, page=page)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST_NUMBER
