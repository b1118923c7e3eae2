"""Long work on a node, such as bringing an image there: one row and one worker for each, whoever waits for it."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from datetime import timedelta

from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from .exceptions import FetchCancelledError, FetchError, RuntimeUnavailableError
from .full_disk import is_disk_full
from .hints import hint_fetch, hint_reconcile
from .lifecycle.phases import Desired, Phase
from .models import Deployment, Fetch
from .progress import Progress
from .runtimes import runtime_named

logger = logging.getLogger(__name__)
CLAIM_FOR = timedelta(seconds=30)
REPORT_EVERY_S = 1.0
#: Fetches that one node works on at once; more wait their turn, so that Stop always finds a free thread.
MOST_AT_ONCE = 4
#: The deployments that wait for a row.
Waiting = Callable[[Fetch], QuerySet[Deployment]]


def request_fetch(deployment: Deployment) -> None:
    """See that the deployment's image is being fetched on its node. Repeatable."""
    if deployment.node is None:
        raise ValueError("an image is fetched to a node, and this deployment has none yet")
    row, _made = Fetch.objects.get_or_create(
        node=deployment.node, runtime=deployment.spec["runtime"], image=deployment.spec["image"]
    )
    hint_fetch(row.pk, node=deployment.node.name)


def forget_failure(deployment: Deployment) -> None:
    """Let a new attempt fetch again what an earlier one failed to. Repeatable."""
    failed = Fetch.objects.filter(node=deployment.node, state=Fetch.State.FAILED)
    failed.filter(runtime=deployment.spec["runtime"], image=deployment.spec["image"]).update(
        state=Fetch.State.PENDING, error="", error_code="", progress={}
    )


def run_fetch(fetch_id: int) -> None:
    """Fetch, unless somebody does so already. Ends ``done`` or ``failed``, or ``pending`` when cancelled."""

    def fetch(row: Fetch, watch: Watch) -> None:
        runtime_named(row.runtime).ensure_image(row.image, report=watch.report, cancelled=watch.cancelled)

    carry_out(fetch_id, fetch, waiting=_waiting_for_image)


def carry_out(fetch_id: int, work: Callable[[Fetch, Watch], None], *, waiting: Waiting) -> None:
    """Do the ``work`` of a row under its claim, unless somebody does so already or nobody is ``waiting``.

    Ends ``done``, ``failed`` with the words and code of a FetchError, or ``pending`` when cancelled. What fails once
    nobody waits any more (its server was stopped, say) counts as cancelled. A worker that is killed leaves the row
    to whoever comes after the claim's expiry.
    """
    token = _claim(fetch_id)
    if token is None:
        return
    row = Fetch.objects.select_related("node").get(pk=fetch_id)
    mine = Fetch.objects.filter(pk=fetch_id, claim_token=token)
    end = {"claim_token": "", "claim_expires_at": None, "updated_at": Now()}
    watch = Watch(row, token, waiting)
    try:
        work(row, watch)
    except FetchCancelledError:
        mine.update(state=Fetch.State.PENDING, progress={}, **end)
    except FetchError as error:
        if not waiting(row).exists():
            mine.update(state=Fetch.State.PENDING, progress={}, **end)
            return
        logger.warning("Fetching %s failed: %s", row.image, error)
        mine.update(
            state=Fetch.State.FAILED,
            error_code=error.code,
            error=str(error),
            permanent=error.permanent,
            **end,
        )
    except RuntimeUnavailableError as error:
        logger.warning("Fetching %s failed: %s", row.image, error)
        mine.update(state=Fetch.State.FAILED, error_code=error.code, error=str(error), permanent=False, **end)
    except Exception as error:
        logger.exception("Fetching %s failed", row.image)
        code = "no_disk_space" if is_disk_full(error) else "fetch_failed"
        mine.update(state=Fetch.State.FAILED, error_code=code, error=str(error), permanent=False, **end)
    else:
        mine.update(state=Fetch.State.DONE, **end)
    _wake(row, waiting)


def _claim(fetch_id: int) -> str | None:
    row = Fetch.objects.get(pk=fetch_id)
    at_work = Fetch.objects.filter(node=row.node_id, claim_expires_at__gt=Now()).exclude(pk=fetch_id)
    if at_work.count() >= MOST_AT_ONCE:
        return None
    token = secrets.token_hex(8)
    free = Q(claim_expires_at__isnull=True) | Q(claim_expires_at__lt=Now())
    won = Fetch.objects.filter(free, pk=fetch_id).update(
        claim_token=token,
        claim_expires_at=Now() + CLAIM_FOR,
        state=Fetch.State.RUNNING,
        error="",
        error_code="",
        progress={},
    )
    return token if won else None


def _waiting_for_image(row: Fetch) -> QuerySet[Deployment]:
    return Deployment.objects.filter(
        node=row.node_id,
        phase=Phase.PREPARING,
        desired=Desired.RUNNING,
        spec__image=row.image,
        spec__runtime=row.runtime,
    )


def _wake(row: Fetch, waiting: Waiting) -> bool:
    """Hint at every deployment that waits for this row; returns whether there is any."""
    found = list(waiting(row).values_list("pk", flat=True))
    for deployment_id in found:
        hint_reconcile(deployment_id, node=row.node.name)
    return bool(found)


class Watch:
    """Writes progress, renews the claim and wakes who waits, now and then; knows when nobody does any more."""

    def __init__(self, row: Fetch, token: str, waiting: Waiting) -> None:
        self.row = row
        self.token = token
        self.waiting = waiting
        self.looked_at = float("-inf")
        self.unwanted = False
        self.latest = Progress()

    def report(self, progress: Progress) -> None:
        """Note how far it is."""
        self.latest = progress
        self._look()

    def cancelled(self) -> bool:
        """Whether to give up."""
        self._look()
        return self.unwanted

    def _look(self) -> None:
        if time.monotonic() - self.looked_at < REPORT_EVERY_S:
            return
        self.looked_at = time.monotonic()
        mine = Fetch.objects.filter(pk=self.row.pk, claim_token=self.token)
        held = mine.update(progress=self.latest.to_json(), claim_expires_at=Now() + CLAIM_FOR)
        self.unwanted = not held or not _wake(self.row, self.waiting)
