"""Writes catalogue, people and history into one file."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from django.core import serializers
from django.db import connection, models, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from deployments.actors import Actor
from deployments.audit import record_audit
from deployments.exceptions import ConflictError
from deployments.selectors import live_deployments

from .archive import Sink, Writer
from .tables import BY_NAME, moved_models, schema

#: Whoever may make people may take them along.
MOVE = "auth.add_user"
#: A row of attempts may carry a megabyte of log.
ROWS_AT_A_TIME = 20


def export_installation(stream: Sink, *, actor: Actor) -> int:
    """Write everything of :data:`.tables.MOVED` to ``stream`` as it is at one moment; returns the number of rows.

    Nothing may run meanwhile: a live deployment belongs to processes and containers that do not move. The file holds
    password hashes and digests of keys, but no password, no key, and not the installation's secret key. Raises
    NotAllowedError, ConflictError naming what runs.
    """
    actor.require(MOVE)
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        refuse_while_live()
        record_audit(actor, "installation.export", "installation")
        writer = Writer(stream, header={"schema": schema(), "made_at": timezone.now()})
        for record in _records():
            writer.row(record)
        writer.finish()
    return writer.rows


def refuse_while_live() -> None:
    """Raise ConflictError naming the configs that run, or are on their way."""
    live = sorted({deployment.config.name for deployment in live_deployments()})
    if live:
        message = _("Stop these first, for what runs does not move: %(names)s.")
        raise ConflictError(message % {"names": ", ".join(live)})


def _records() -> Iterator[dict[str, Any]]:
    for model in moved_models():
        objects: Iterator[models.Model] = models.QuerySet(model).order_by("pk").iterator(chunk_size=ROWS_AT_A_TIME)
        while batch := list(islice(objects, ROWS_AT_A_TIME)):
            yield from _serialized(model, batch)


def _serialized(model: type[models.Model], batch: list[models.Model]) -> Iterator[dict[str, Any]]:
    yield from serializers.serialize(
        "python", batch, use_natural_foreign_keys=True, use_natural_primary_keys=model in BY_NAME
    )
