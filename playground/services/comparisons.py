"""What a person does with a comparison: ask all columns, stop them, vote, delete.

A comparison of somebody else does not exist for anybody: NotFoundError, as for one that was deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from django.db import transaction
from django.utils.translation import gettext as _

from deployments.actors import Actor
from deployments.audit import record_audit
from deployments.exceptions import InvalidInputError, NotFoundError
from playground.answers.runner import runner
from playground.answers.storing import ask_to_stop
from playground.models import (
    Answer,
    Comparison,
    ComparisonBatch,
    ComparisonCell,
    ComparisonColumn,
    ComparisonRound,
    Conversation,
)

from .conversations import Question, begin_conversation, say
from .ownership import person_of

FEWEST_COLUMNS: Final = 2
MOST_COLUMNS: Final = 6
MOST_ROUNDS: Final = 1_000
_TITLE: Final = 80


def begin_comparison(questions: Sequence[Question], *, actor: Actor, title: str = "") -> Comparison:
    """A comparison with a column for each of ``questions``. Raises NotAllowedError, InvalidInputError."""
    owner = person_of(actor)
    if not FEWEST_COLUMNS <= len(questions) <= MOST_COLUMNS:
        raise InvalidInputError(_("A comparison has between 2 and 6 columns."))
    with transaction.atomic():
        comparison = Comparison.objects.create(owner=owner, title=" ".join(title.split())[:_TITLE])
        for place, question in enumerate(questions):
            ComparisonColumn.objects.create(
                comparison=comparison,
                place=place,
                config=question.config,
                settings=question.settings.to_json(),
                conversation=begin_conversation(actor=actor, purpose=Conversation.Purpose.COMPARE),
            )
    return comparison


def own_comparison(comparison_id: int, actor: Actor) -> Comparison:
    """A comparison of this person. Raises NotAllowedError, and NotFoundError for anybody else's."""
    found = Comparison.objects.filter(pk=comparison_id, owner=person_of(actor)).first()
    if found is None:
        raise no_such_comparison()
    return found


def no_such_comparison() -> NotFoundError:
    """For a comparison that is not there, or not this person's."""
    return NotFoundError(_("There is no such comparison of yours. It may have been deleted."))


def ask_round(
    comparison_id: int,
    prompt: str,
    *,
    actor: Actor,
    questions: Sequence[Question],
    batch: ComparisonBatch | None = None,
    picture_ids: Sequence[int] = (),
) -> ComparisonRound:
    """Ask every column the same, each with its settings and all with the same pictures; all of them or none.

    Raises NotAllowedError, NotFoundError, InvalidInputError, or ConflictError while too much is under way.
    """
    with transaction.atomic():
        comparison = own_comparison(comparison_id, actor)
        columns = list(comparison.columns.select_related("conversation"))
        if [each.config for each in questions] != [column.config for column in columns]:
            raise InvalidInputError(_("The columns of a comparison stay as they are. Begin another one."))
        if comparison.rounds.count() >= MOST_ROUNDS:
            raise InvalidInputError(_("This comparison has 1,000 prompts. Begin another one."))
        made = ComparisonRound.objects.create(
            comparison=comparison, prompt=prompt.replace("\0", "").strip(), batch=batch
        )
        for column, question in zip(columns, questions, strict=True):
            column.settings = question.settings.to_json()
            column.save(update_fields=["settings"])
            # Each round begins anew: what a column was asked before must not colour what it is asked now.
            asked = say(
                column.conversation_id,
                prompt,
                actor=actor,
                question=question,
                parent_id=None,
                picture_ids=picture_ids,
            )
            ComparisonCell.objects.create(round=made, column=column, answer=asked.answer)
        comparison.title = comparison.title or " ".join(prompt.split())[:_TITLE]
        comparison.save(update_fields=["title", "updated_at"])
    return made


def stop_comparison(comparison_id: int, *, actor: Actor) -> int:
    """Stop every answer under way, and the batch; gives how many answers. What came is kept. Repeatable."""
    comparison = own_comparison(comparison_id, actor)
    comparison.batches.filter(state=ComparisonBatch.State.RUNNING).update(cancel_asked=True)
    return _stop_answers(comparison)


def vote(round_id: int, choice: str, *, actor: Actor, column_id: int | None = None) -> ComparisonRound:
    """Keep what was liked: "best" with a column, "tie", "none", or "" to take it back.

    Raises NotAllowedError, NotFoundError, InvalidInputError.
    """
    owner = person_of(actor)
    voted = ComparisonRound.objects.filter(pk=round_id, comparison__owner=owner).first()
    if voted is None:
        raise no_such_comparison()
    if choice not in ("", *ComparisonRound.Vote.values):
        raise InvalidInputError(_("A vote is best, tie or none."))
    best = None
    if choice == ComparisonRound.Vote.BEST:
        best = ComparisonColumn.objects.filter(pk=column_id or 0, comparison_id=voted.comparison_id).first()
        if best is None:
            raise NotFoundError(_("There is no such column in this comparison."))
    voted.vote, voted.best = choice, best
    voted.save(update_fields=["vote", "best"])
    return voted


def delete_comparison(comparison_id: int, *, actor: Actor) -> None:
    """Delete it with its answers and votes. Raises NotAllowedError, NotFoundError."""
    with transaction.atomic():
        comparison = own_comparison(comparison_id, actor)
        _stop_answers(comparison)
        number = comparison.pk
        Conversation.objects.filter(comparison_column__comparison=comparison).delete()
        comparison.delete()
        record_audit(actor, "comparison.delete", str(number))


def _stop_answers(comparison: Comparison) -> int:
    live = Answer.objects.filter(comparison_cell__round__comparison=comparison, state__in=Answer.LIVE)
    found = list(live.values_list("pk", flat=True))
    for answer_id in found:
        runner.end(answer_id)
        ask_to_stop(answer_id)
    return len(found)
