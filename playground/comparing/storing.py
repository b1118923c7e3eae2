"""A batch's row: one step of its task, its end, and what is marked when the task died."""

from __future__ import annotations

from datetime import timedelta
from enum import Enum, auto
from typing import Final

from django.db.models import Q
from django.utils import timezone, translation

from deployments.actors import Actor
from deployments.exceptions import BerthError, ConflictError
from playground.answers.storing import interrupt_dead_answers
from playground.chat.settings import read_settings
from playground.models import Answer, ComparisonBatch
from playground.services.comparisons import ask_round
from playground.services.conversations import Question

#: A batch whose task said nothing for this long is interrupted: it looks at its answers every half second.
DEAD_AFTER: Final = timedelta(seconds=15)


class Step(Enum):
    """What a batch does next."""

    WAIT = auto()
    OVER = auto()


def take_step(batch_id: int) -> Step:
    """Ask the next prompt once the answers of the one before are over. Repeatable; safe to be killed after any line."""
    running = ComparisonBatch.objects.filter(pk=batch_id, state=ComparisonBatch.State.RUNNING)
    running.update(heartbeat_at=timezone.now())
    batch = running.select_related("comparison__owner").first()
    if batch is None:
        return Step.OVER
    asked = batch.rounds.count()
    if batch.cancel_asked:
        return _end(batch, ComparisonBatch.State.CANCELLED)
    if Answer.objects.filter(comparison_cell__round__batch=batch, state__in=Answer.LIVE).exists():
        interrupt_dead_answers(Q(comparison_cell__round__batch=batch))
        return Step.WAIT
    if asked >= len(batch.prompts):
        return _end(batch, ComparisonBatch.State.DONE)
    return _ask(batch, batch.prompts[asked])


def interrupt_dead_batches() -> int:
    """Mark batches whose task died with its process; gives how many. Repeatable, safe to race."""
    dead = ComparisonBatch.objects.filter(
        state=ComparisonBatch.State.RUNNING, heartbeat_at__lt=timezone.now() - DEAD_AFTER
    )
    return dead.update(state=ComparisonBatch.State.INTERRUPTED)


def end_batch(batch_id: int, state: ComparisonBatch.State, error: str = "") -> None:
    """Write how it ended, unless it ended before."""
    running = ComparisonBatch.objects.filter(pk=batch_id, state=ComparisonBatch.State.RUNNING)
    running.update(state=state, error=error[:2000])


def _ask(batch: ComparisonBatch, prompt: str) -> Step:
    columns = batch.comparison.columns.all()
    try:
        with translation.override(batch.language):
            questions = [Question(config=column.config, settings=read_settings(column.settings)) for column in columns]
            actor = Actor.person(batch.comparison.owner)
            ask_round(batch.comparison_id, prompt, actor=actor, questions=questions, batch=batch)
    except ConflictError:
        # The person has other answers under way: there is time.
        return Step.WAIT
    except BerthError as error:
        end_batch(batch.pk, ComparisonBatch.State.FAILED, str(error))
        return Step.OVER
    return Step.WAIT


def _end(batch: ComparisonBatch, state: ComparisonBatch.State) -> Step:
    end_batch(batch.pk, state)
    return Step.OVER
