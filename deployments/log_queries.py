"""Asks the node of a living run for what its log has beyond the stream: older lines, and a search over all of it.

The pages' process need not see the node's disk, so it asks through Redis: a question goes onto the node's list, its
agent answers onto a list of the question's own (:mod:`deployments.log_answers`). Nothing is left behind: both lists
expire, and a question that nobody waits for any more is not answered. Of an ended attempt the database has the text.

A line's cursor is its number from 1 on the node, in the stream and in the kept text alike, so that a link to a line
holds while the run lives and after.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from .exceptions import NotFoundError, RuntimeUnavailableError
from .models import Deployment
from .presentation.states import silent_since
from .redis import RedisError, client
from .redis_keys import log_answer, log_questions
from .runtimes.base import LogLine

#: Below the socket's timeout, or the wait would be taken for a silent Redis.
ANSWERED_WITHIN_S = 4.0
QUESTION_LIVES_S = 10
#: So many questions may wait for one agent.
MOST_WAITING = 50
PAGE_LINES = 500
MOST_PAGES = 200


@dataclass(frozen=True, kw_only=True)
class LogPage:
    """Lines in their order; a jump of the cursor is a gap. ``first_cursor`` is the first line that the node still has,
    0 for none, and ``newest_cursor`` the last."""

    lines: Sequence[LogLine]
    first_cursor: int
    newest_cursor: int

    @property
    def reached_start(self) -> bool:
        """Whether the node has nothing before these lines."""
        return not self.lines or self.lines[0].cursor <= self.first_cursor


@dataclass(frozen=True, kw_only=True)
class LogSearch:
    """``total`` lines match, ``cursors`` are the newest of them, oldest first; searched were lines up to ``upto``."""

    cursors: Sequence[int]
    total: int
    upto: int


def older(deployment_id: int, attempt: int, before_cursor: int, *, limit: int = PAGE_LINES) -> LogPage:
    """The last ``limit`` lines before a cursor. Raises NotFoundError, RuntimeUnavailableError."""
    return _page(_ask(deployment_id, attempt, kind="older", cursor=before_cursor, limit=limit))


def newer(deployment_id: int, attempt: int, after_cursor: int, *, limit: int = PAGE_LINES) -> LogPage:
    """The first ``limit`` lines after a cursor. Raises NotFoundError, RuntimeUnavailableError."""
    return _page(_ask(deployment_id, attempt, kind="newer", cursor=after_cursor, limit=limit))


def search(deployment_id: int, attempt: int, text: str) -> LogSearch:
    """All lines that have ``text`` in them, whatever its case. Raises NotFoundError, RuntimeUnavailableError."""
    answer = _ask(deployment_id, attempt, kind="search", text=text)
    return LogSearch(cursors=answer["cursors"], total=answer["total"], upto=answer["upto"])


def whole(deployment_id: int, attempt: int) -> Iterator[LogLine]:
    """Every line that the node has now, asked for page by page. Raises as :func:`newer` does."""
    cursor = 0
    for _number in range(MOST_PAGES):
        page = newer(deployment_id, attempt, cursor)
        yield from page.lines
        if not page.lines:
            return
        cursor = page.lines[-1].cursor


def _page(answer: dict[str, Any]) -> LogPage:
    lines = [LogLine(cursor=cursor, at=at, stream=stream, text=text) for cursor, at, stream, text in answer["lines"]]
    return LogPage(lines=lines, first_cursor=answer["first"], newest_cursor=answer["newest"])


def _ask(deployment_id: int, attempt: int, **question: int | str) -> dict[str, Any]:
    node = _node(deployment_id)
    name = secrets.token_hex(8)
    try:
        now = client().time()[0]
        asked = {"id": name, "at": now, "deployment": deployment_id, "attempt": attempt, **question}
        text = json.dumps(asked)
        waiting = client().rpush(log_questions(node), text)
        client().expire(log_questions(node), QUESTION_LIVES_S)
        answer = client().blpop([log_answer(name)], timeout=ANSWERED_WITHIN_S) if waiting <= MOST_WAITING else None
        if answer is None:
            client().lrem(log_questions(node), 1, text)
    except RedisError as error:
        sentence = _("The log cannot be read now: Redis does not answer (%(detail)s).") % {"detail": error}
        raise RuntimeUnavailableError(sentence) from error
    if answer is None:
        message = _("The agent of node %(node)s did not answer within %(seconds)s s. Try again, or look at its log.")
        raise RuntimeUnavailableError(message % {"node": node, "seconds": round(ANSWERED_WITHIN_S)})
    told: dict[str, Any] = json.loads(answer[1])
    if "error" in told:
        raise RuntimeUnavailableError(told["error"])
    return told


def _node(deployment_id: int) -> str:
    """The name of the node where the run is. Raises when it cannot be asked."""
    run = Deployment.objects.select_related("node").only("node").filter(pk=deployment_id).first()
    if run is None:
        raise NotFoundError(_("There is no deployment %(id)s.") % {"id": deployment_id})
    if run.node is None:
        raise RuntimeUnavailableError(_("The run is on no node yet, so there is no log."))
    if silent_since(run.node, timezone.now()) is not None:
        message = _("Node %(node)s is silent, and only it has the older lines. They can be read when it is back.")
        raise RuntimeUnavailableError(message % {"node": run.node.name})
    return run.node.name
