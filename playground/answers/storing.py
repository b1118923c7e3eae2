"""Writes an answer's row. Only the task that makes it writes while it is at work; an ended answer is not changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from deployments.redis import RedisError, client
from playground.models import Answer, Message
from playground.protocols.streaming import Facts

from .names import answer_stop
from .progress import Progress

#: An answer at work whose task said nothing for this long is interrupted: it writes every two seconds.
DEAD_AFTER: Final = timedelta(seconds=15)


def keep_progress(answer_id: int, progress: Progress, *, sequence: int, facts: Facts) -> None:
    """Write what came, and that the task lives. An answer that ended meanwhile stays as it is."""
    state = Answer.State.STREAMING if progress.has_something else Answer.State.WAITING
    with transaction.atomic():
        if _at_work(answer_id).update(state=state, **_columns(progress, sequence, facts)):
            Message.objects.filter(pk=answer_id).update(content=progress.content)


@dataclass(frozen=True, kw_only=True)
class End:
    """How an answer ended; ``duration_ms`` from sending the request."""

    state: Answer.State
    error: str
    error_code: str
    duration_ms: int


def end_answer(answer_id: int, progress: Progress, end: End, *, sequence: int, facts: Facts) -> None:
    """Write how it ended, with everything that came. Also over "interrupted", when the task was only slow."""
    ended = {
        "state": end.state,
        "error": end.error,
        "error_code": end.error_code[:60],
        "duration_ms": end.duration_ms,
        "ended_at": timezone.now(),
    }
    with transaction.atomic():
        rows = Answer.objects.filter(pk=answer_id, state__in=(*Answer.LIVE, Answer.State.INTERRUPTED))
        if rows.update(**ended, **_columns(progress, sequence, facts)):
            Message.objects.filter(pk=answer_id).update(content=progress.content)


def interrupt_dead_answers(among: Q | None = None) -> int:
    """Mark answers whose task died as interrupted; gives how many. What came is kept. Repeatable, safe to race."""
    dead = Answer.objects.filter(state__in=Answer.LIVE, heartbeat_at__lt=timezone.now() - DEAD_AFTER)
    return (dead if among is None else dead.filter(among)).update(
        state=Answer.State.INTERRUPTED, ended_at=timezone.now()
    )


def is_dead(answer: Answer) -> bool:
    """Whether its task said nothing for too long."""
    beat = answer.heartbeat_at
    return answer.is_live and beat is not None and beat < timezone.now() - DEAD_AFTER


def ask_to_stop(answer_id: int) -> bool:
    """Leave word for the process that makes the answer; False while Redis is away."""
    try:
        client().set(answer_stop(answer_id), "1", ex=60)
    except RedisError:
        return False
    return True


def _at_work(answer_id: int) -> Any:
    return Answer.objects.filter(pk=answer_id, state__in=Answer.LIVE)


def _columns(progress: Progress, sequence: int, facts: Facts) -> dict[str, Any]:
    return {
        "reasoning": progress.reasoning,
        "tool_calls": progress.calls,
        "finish_reason": progress.finish_reason,
        "first_token_ms": progress.first_token_ms,
        "stream_ms": progress.stream_ms,
        "prompt_tokens": progress.prompt_tokens,
        "completion_tokens": progress.completion_tokens,
        "pieces": progress.pieces,
        "sequence": sequence,
        "heartbeat_at": timezone.now(),
        **facts,
    }
