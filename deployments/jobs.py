"""Long work on a node: asked for in a transaction, done under a claim, cancelled by a flag, found by the sweep."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from django.apps import apps
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Coalesce, Now
from django.utils.translation import gettext as _

from .actors import Actor
from .exceptions import BerthError, JobCancelledError, RuntimeFaultError
from .full_disk import is_disk_full
from .hints import hint_job
from .lifecycle.freshness import FRESH
from .models.job import Job
from .progress import Progress

logger = logging.getLogger(__name__)
CLAIM_FOR = timedelta(seconds=30)
REPORT_EVERY_S = 1.0
#: Of one kind on one node; more wait their turn.
MOST_AT_ONCE = 2
#: How often a job is begun whose worker died in the middle. What kills a worker three times would do so again.
MOST_RUNS = 3
#: Of one sweep and kind; the rest comes with the next.
MOST_HINTS = 50

J = TypeVar("J", bound=Job)


def request_job(job: J) -> J:
    """Save a new ``job`` and wake its node once the transaction has committed. The caller audits it."""
    job.save(force_insert=True)
    transaction.on_commit(lambda: hint_job(job.TASK, job.pk, node=job.node.name))
    return job


def cancel_job(job: Job, *, actor: Actor) -> bool:
    """Ask for the end of a job; one that nobody has begun ends at once. False when it had ended. The caller audits."""
    rows = _rows(type(job)).filter(pk=job.pk)
    asked = {"cancel_requested_at": Now(), "cancelled_by": actor.name}
    waiting = rows.filter(_free(), state=Job.State.PENDING)
    if waiting.update(state=Job.State.CANCELLED, ended_at=Now(), **asked):
        return True
    live = rows.exclude(state__in=Job.ENDED)
    return bool(live.filter(cancel_requested_at=None).update(**asked) or live.exists())


def carry_out(
    model: type[J], job_id: int, work: Callable[[J, Watch], None], *, clear: Callable[[J], object] = lambda _job: None
) -> None:
    """Do the ``work`` of one job under its claim, unless somebody does so already or it has ended.

    Ends ``done``; ``cancelled`` when work raises JobCancelledError; ``failed`` with the sentence of any other error.
    Once too many workers have died of it, ``clear`` ends what they left, since no work does so any more. Repeatable.
    """
    rows = _rows(model).filter(pk=job_id)
    token = _claim(rows)
    if token is None:
        return
    job = rows.select_related("node").get()
    end = {"claim_token": "", "claim_expires_at": None, "ended_at": Now()}
    mine = rows.filter(claim_token=token)
    if job.runs > MOST_RUNS:
        try:
            clear(job)
        except Exception:
            logger.exception("What dead workers left of %s %s is still there", model.__name__, job_id)
        error = _("The worker ended in the middle of it %(count)d times. Look at the worker's log, then ask again.")
        mine.update(state=Job.State.FAILED, error_code="worker_died", error=error % {"count": MOST_RUNS}, **end)
        return
    try:
        work(job, Watch(job, token))
    except JobCancelledError:
        mine.update(state=Job.State.CANCELLED, **end)
    except BerthError as error:
        logger.warning("%s %s failed: %s", model.__name__, job_id, error)
        code = error.code if isinstance(error, RuntimeFaultError) else "refused"
        mine.update(state=Job.State.FAILED, error_code=code, error=str(error), **end)
    except Exception as error:
        logger.exception("%s %s failed", model.__name__, job_id)
        code = "no_disk_space" if is_disk_full(error) else "job_failed"
        mine.update(state=Job.State.FAILED, error_code=code, error=str(error) or type(error).__name__, **end)
    else:
        mine.update(state=Job.State.DONE, **end)


class Watch:
    """Writes progress and renews the claim about each second; knows when the job is to end."""

    def __init__(self, job: Job, token: str) -> None:
        self._rows = _rows(type(job)).filter(pk=job.pk, claim_token=token)
        self._looked_at = float("-inf")
        self._unwanted = False
        self._latest = Progress.from_json(job.progress)

    def report(self, progress: Progress) -> None:
        """Note how far it is."""
        self._latest = progress
        self._look()

    def cancelled(self) -> bool:
        """Whether to give up: somebody asked for it, or another worker has taken the job. Cheap: ask it often."""
        self._look()
        return self._unwanted

    def check(self) -> None:
        """Raise JobCancelledError when it is to give up."""
        if self.cancelled():
            raise JobCancelledError(_("It was cancelled."))

    def write(self, **columns: object) -> bool:
        """Set columns of the job's own kind while the claim holds; False when it was lost."""
        return bool(self._rows.update(**columns))

    def _look(self) -> None:
        if time.monotonic() - self._looked_at < REPORT_EVERY_S:
            return
        self._looked_at = time.monotonic()
        held = self._rows.update(progress=self._latest.to_json(), claim_expires_at=Now() + CLAIM_FOR)
        self._unwanted = not held or self._rows.exclude(cancel_requested_at=None).exists()


def kinds() -> list[type[Job]]:
    """Every kind of job that the installed apps define."""
    return [model for model in apps.get_models() if issubclass(model, Job)]


def hint_due_jobs() -> None:
    """Hint at jobs that wait, and at those whose worker died; on nodes that read hints."""
    for model in kinds():
        due = _rows(model).filter(_free(), node__heartbeat_at__gt=Now() - FRESH).exclude(state__in=Job.ENDED)
        for job_id, node in due.order_by("pk").values_list("pk", "node__name")[:MOST_HINTS]:
            hint_job(model.TASK, job_id, node=node)


def _rows(model: type[J]) -> QuerySet[J]:
    return model._default_manager.get_queryset()  # noqa: SLF001 - public by Django's documentation


def _free() -> Q:
    return Q(claim_expires_at__isnull=True) | Q(claim_expires_at__lt=Now())


def _claim(rows: QuerySet[J]) -> str | None:
    job = rows.select_related("node").first()
    if job is None:
        return None
    at_work = _rows(type(job)).filter(node=job.node, claim_expires_at__gt=Now()).exclude(pk=job.pk)
    if at_work.count() >= MOST_AT_ONCE:
        return None
    token = secrets.token_hex(8)
    won = rows.filter(_free()).exclude(state__in=Job.ENDED)
    taken = won.update(
        claim_token=token,
        claim_expires_at=Now() + CLAIM_FOR,
        state=Job.State.RUNNING,
        started_at=Coalesce("started_at", Now()),
        runs=F("runs") + 1,
        progress={},
    )
    return token if taken else None
