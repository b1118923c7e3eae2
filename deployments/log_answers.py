"""The node's side of :mod:`deployments.log_queries`: reads its copy of a log, however long, and answers in bounds."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _

from .exceptions import BerthError
from .host_secrets import without_secrets
from .log_text import matches
from .models import Deployment
from .redis import client
from .redis_keys import log_answer, log_questions
from .runtimes import runtime_named
from .runtimes.base import LogLine, Runtime

MOST_LINES = 1000
MOST_MATCHES = 2000
#: An answer's text, in characters.
MOST_TEXT = 1024 * 1024
READ_LINES = 20_000
ANSWER_LIVES_S = 10
#: Who asked has given up by then.
STALE_S = 5
WAIT_S = 2.0


def answer_next(node: str) -> bool:
    """Answer the next question to this node; False when none came for 2 s. Raises RedisError."""
    taken = client().blpop([log_questions(node)], timeout=WAIT_S)
    if taken is None:
        return False
    question: dict[str, Any] = json.loads(taken[1])
    if client().time()[0] - question["at"] <= STALE_S:
        name = log_answer(str(question["id"]))
        client().rpush(name, json.dumps(_answer(question, node)))
        client().expire(name, ANSWER_LIVES_S)
    return True


def _answer(question: dict[str, Any], node: str) -> dict[str, Any]:
    try:
        log = _Log(int(question["deployment"]), int(question["attempt"]), node)
        if question["kind"] == "search":
            return log.search(str(question["text"]).lower())
        limit = max(1, min(int(question["limit"]), MOST_LINES))
        if question["kind"] == "older":
            return log.page(log.older(int(question["cursor"]), limit), newest_count=True)
        return log.page(log.newer(int(question["cursor"]), limit), newest_count=False)
    except BerthError as error:
        return {"error": str(error)}


class _Log:
    """One attempt's log on this node."""

    def __init__(self, deployment_id: int, attempt: int, node: str) -> None:
        run = Deployment.objects.only("spec").filter(pk=deployment_id, node__name=node).first()
        if run is None:
            raise BerthError(_("The run is not on node %(node)s any more.") % {"node": node})
        self._runtime: Runtime = runtime_named(run.spec["runtime"])
        self._name = f"berth-{settings.BERTH_INSTALLATION}-{deployment_id}-{attempt}"

    def older(self, before: int, limit: int) -> list[LogLine]:
        """The last lines before one: beside it as a rule, further back where a gap lies."""
        beside = [line for line in self._after(max(0, before - 1 - limit), before) if line.cursor < before]
        if len(beside) == limit or before <= limit:
            return beside
        return list(deque((line for line in self._after(0, before) if line.cursor < before), maxlen=limit))

    def newer(self, after: int, limit: int) -> list[LogLine]:
        """The next lines after one."""
        lines: list[LogLine] = []
        while len(lines) < limit:
            chunk = self._read(lines[-1].cursor if lines else after, limit - len(lines))
            if not chunk:
                break
            lines.extend(chunk)
        return lines

    def search(self, wanted: str) -> dict[str, Any]:
        """The numbers of the lines that have the text, which is in lower case."""
        found: deque[int] = deque(maxlen=MOST_MATCHES)
        total = upto = 0
        for line in self._after(0, None):
            upto = line.cursor
            if matches(line.text, wanted):
                total += 1
                found.append(line.cursor)
        return {"cursors": list(found), "total": total, "upto": upto}

    def page(self, lines: Sequence[LogLine], *, newest_count: bool) -> dict[str, Any]:
        """Lines as an answer; of too much text the part next to where it was asked from."""
        left = MOST_TEXT
        fitting: list[LogLine] = []
        for line in reversed(lines) if newest_count else lines:
            left -= len(line.text)
            if left < 0 and fitting:
                break
            fitting.append(line)
        ordered = fitting[::-1] if newest_count else fitting
        first = self._runtime.logs(self._name, cursor=0, limit=1, fetch=False)
        return {
            "lines": [(line.cursor, line.at, line.stream, line.text) for line in ordered],
            "first": first.lines[0].cursor if first.lines else 0,
            "newest": first.newest,
        }

    def _after(self, cursor: int, before: int | None) -> Iterator[LogLine]:
        while before is None or cursor < before - 1:
            limit = READ_LINES if before is None else min(READ_LINES, before - 1 - cursor)
            lines = self._read(cursor, limit)
            if not lines:
                return
            yield from lines
            cursor = lines[-1].cursor

    def _read(self, cursor: int, limit: int) -> Sequence[LogLine]:
        # Searched as it is shown: a search for a part of a secret would tell that it is there.
        return without_secrets(self._runtime.logs(self._name, cursor=cursor, limit=limit, fetch=False).lines)
