"""Begins a set of prompts as a task of the server. Cancelling is :func:`~.comparisons.stop_comparison`."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from deployments.actors import Actor
from deployments.audit import record_audit
from deployments.exceptions import ConflictError, InvalidInputError
from playground.comparing.batches import batches
from playground.comparing.prompts import read_prompts
from playground.comparing.storing import interrupt_dead_batches
from playground.models import ComparisonBatch

from .comparisons import own_comparison
from .conversations import Question
from .ownership import person_of


def begin_batch(comparison_id: int, text: str, *, actor: Actor, questions: Sequence[Question]) -> ComparisonBatch:
    """Ask all columns each prompt of ``text``, one prompt after the other. One batch of a person runs at once.

    Raises NotAllowedError, NotFoundError, InvalidInputError, ConflictError.
    """
    owner = person_of(actor)
    interrupt_dead_batches()
    with transaction.atomic():
        comparison = own_comparison(comparison_id, actor)
        columns = list(comparison.columns.all())
        if [each.config for each in questions] != [column.config for column in columns]:
            raise InvalidInputError(_("The columns of a comparison stay as they are. Begin another one."))
        prompts = read_prompts(text, columns=len(columns))
        if ComparisonBatch.objects.filter(comparison__owner=owner, state=ComparisonBatch.State.RUNNING).exists():
            raise ConflictError(_("A set of prompts of yours is under way. Cancel it, or wait."))
        for column, question in zip(columns, questions, strict=True):
            column.settings = question.settings.to_json()
            column.save(update_fields=["settings"])
        batch = ComparisonBatch.objects.create(
            comparison=comparison,
            prompts=prompts,
            language=translation.get_language() or "en",
            heartbeat_at=timezone.now(),
        )
        record_audit(actor, "comparison.batch", str(comparison.pk), prompts=len(prompts), columns=len(columns))
        transaction.on_commit(lambda: batches.begin(batch.pk))
    return batch
