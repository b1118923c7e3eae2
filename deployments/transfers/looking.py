"""Asks registries whether what was pushed is still there, and keeps their answer: pages ask for many at once."""

from __future__ import annotations

import logging
from datetime import timedelta

from django.db.models import F, Max, Q
from django.db.models.functions import Coalesce, Now
from django.utils import timezone

from deployments.encryption.sealing import SecretUnreadableError
from deployments.exceptions import InvalidInputError
from deployments.models import ImageTransfer, Job, Registry
from deployments.registries.addresses import canonical
from deployments.registries.refusals import TransferError
from deployments.services.registries import client_of

logger = logging.getLogger(__name__)
#: A page does not ask again sooner.
FRESH_FOR = timedelta(seconds=30)
#: The worker asks about each delivery's latest push this often.
LOOK_EVERY = timedelta(minutes=5)
#: Of one round; the rest comes with the next. Each takes a few seconds at most.
MOST_LOOKS = 20


def look(transfer: ImageTransfer, *, fresh_for: timedelta = FRESH_FOR) -> None:
    """Ask the registry about ``transfer`` unless it was asked lately, and note the answer in the row.

    ``asked_at`` is when the registry last answered, ``gone_at`` when it first said that the digest is not there. A
    silent registry, or one that refuses us, changes neither: silence deletes nothing.
    """
    now = timezone.now()
    if transfer.registry is None or not transfer.digest or transfer.state != Job.State.DONE:
        return
    if transfer.looked_at is not None and now - transfer.looked_at < fresh_for:
        return
    there = _is_there(transfer.registry, transfer)
    transfer.looked_at = now
    if there is not None:
        transfer.asked_at = now
        transfer.gone_at = None if there else transfer.gone_at or now
    transfer.save(update_fields=["looked_at", "asked_at", "gone_at"])


def look_at_pushed() -> int:
    """Ask about the latest push of every open delivery that nobody asked about lately; returns how many.

    One that cannot be asked about is logged, and keeps no other from its turn.
    """
    pushes = ImageTransfer.objects.filter(kind=ImageTransfer.Kind.PUSH, state=Job.State.DONE)
    latest = pushes.filter(delivery__closed_at=None).values("delivery").annotate(last=Max("pk")).values("last")
    due = pushes.filter(pk__in=latest).filter(Q(looked_at=None) | Q(looked_at__lt=Now() - LOOK_EVERY))
    rows = due.select_related("registry").order_by(Coalesce("looked_at", F("created_at")))[:MOST_LOOKS]
    for row in rows:
        try:
            look(row)
        except Exception:  # the edge of one row: the other deliveries' pushes must still be asked about
            logger.exception("could not ask whether transfer %d is still in its registry", row.pk)
            # As with a silent registry: it waits its turn again, and does not stand before the others for ever.
            ImageTransfer.objects.filter(pk=row.pk).update(looked_at=Now())
    return len(rows)


def _is_there(registry: Registry, transfer: ImageTransfer) -> bool | None:
    address, _slash, path = transfer.repository.partition("/")
    if canonical(address) != canonical(registry.address):
        return None  # the registry has another address by now, and its password is for that one
    try:
        return client_of(registry).has(path, transfer.digest)
    except (TransferError, SecretUnreadableError, InvalidInputError):
        return None
