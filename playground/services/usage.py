"""Adds what gateways served to the roll-ups, each batch once, and deletes what is too old."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import IntegrityError, models, transaction
from django.utils import timezone

from deployments.redis import StreamEntry, client
from deployments.redis_keys import USAGE
from playground.gateway.metering import VERSION, RequestRecord
from playground.models import UsageBatch, UsageDay, UsageHour, UsageRequest

from .usage_rollup import MOST_INT, add_up, milliseconds

logger = logging.getLogger(__name__)

#: Entries added in one transaction, and in one run of the task.
ENTRIES_AT_ONCE: Final = 10
ENTRIES_A_RUN: Final = 200
#: Rows deleted in one transaction, and in one run of the task for each table.
DELETED_AT_ONCE: Final = 1000
DELETED_A_RUN: Final = 50_000
#: Hours are kept as long as a page may show hours. Names of batches outlive their entries by far.
HOURS_KEPT: Final = timedelta(days=35)
BATCHES_KEPT: Final = timedelta(days=7)


def roll_up() -> int:
    """Add waiting entries to the roll-ups; gives how many. Repeatable after being killed at any line.

    Raises RedisError while Redis is away, DatabaseError while the database is: the entries wait.
    """
    done = 0
    while done < ENTRIES_A_RUN:
        entries = client().xrange(USAGE, count=ENTRIES_AT_ONCE)
        if not entries:
            break
        add_entries(entries)
        # Killed before this line: the next run finds their names in the database and deletes them here.
        client().xdel(USAGE, *(entry_id for entry_id, _fields in entries))
        done += len(entries)
    return done


def add_entries(entries: Sequence[StreamEntry]) -> None:
    """Add these entries of the stream, but for those that were added before: one transaction."""
    batches: dict[str, list[RequestRecord]] = {}
    for entry_id, fields in entries:
        try:
            batches[fields["batch"]] = _records(fields)
        except (KeyError, TypeError, ValueError) as error:
            logger.error("The entry %s of usage is left out, since it cannot be read: %s", entry_id, error)
    try:
        with transaction.atomic():
            known = set(UsageBatch.objects.filter(name__in=batches).values_list("name", flat=True))
            new = [name for name in batches if name not in known]
            # Another worker that adds the same entries now waits here, and fails.
            UsageBatch.objects.bulk_create(UsageBatch(name=name) for name in new)
            records = [record for name in new for record in batches[name]]
            if settings.BERTH_USAGE_RAW_DAYS:
                UsageRequest.objects.bulk_create((_request(record) for record in records), batch_size=500)
            add_up(records)
    except IntegrityError:
        if not UsageBatch.objects.filter(name__in=batches).exists():
            raise
        # It was faster; whatever it left out comes with the next run, since both delete only what is added.
        logger.info("Another worker adds the same usage.")
        add_entries([entry for entry in entries if not _is_added(entry)])


def _is_added(entry: StreamEntry) -> bool:
    return UsageBatch.objects.filter(name=entry[1].get("batch", "")).exists()


def delete_old_usage(now: datetime | None = None) -> int:
    """Delete what is older than it is kept, in short transactions and not all at once; gives how many rows."""
    now = now or timezone.now()
    raw, days = timedelta(days=settings.BERTH_USAGE_RAW_DAYS), timedelta(days=settings.BERTH_USAGE_DAYS)
    return sum(
        (
            _delete(UsageRequest.objects.filter(at__lt=now - raw)),
            _delete(UsageHour.objects.filter(at__lt=now - HOURS_KEPT)),
            _delete(UsageDay.objects.filter(at__lt=timezone.localdate(now) - days)),
            _delete(UsageBatch.objects.filter(at__lt=now - BATCHES_KEPT)),
        )
    )


def _delete(rows: models.QuerySet[Any]) -> int:
    deleted = 0
    while deleted < DELETED_A_RUN:
        some = list(rows.order_by("at").values_list("pk", flat=True)[:DELETED_AT_ONCE])
        if not some:
            break
        models.QuerySet(rows.model).filter(pk__in=some).delete()
        deleted += len(some)
    return deleted


def _records(fields: dict[str, str]) -> list[RequestRecord]:
    """The records of an entry, with values that fit their columns. Raises KeyError, TypeError, ValueError."""
    if fields["version"] != VERSION:
        raise ValueError(f"it is of version {fields['version']!r}, and this worker reads {VERSION!r}")
    return [_fitting(RequestRecord(*values)) for values in json.loads(fields["records"])]


def _fitting(record: RequestRecord) -> RequestRecord:
    """Text is cut, NUL and halves of surrogate pairs are replaced (no database has them), numbers are clamped."""

    def text(value: str, most: int) -> str:
        return value.replace("\0", "�").encode("utf-8", "replace").decode()[:most]

    def count(value: int | None) -> int | None:
        return None if value is None else min(max(0, int(value)), MOST_INT)

    return record._replace(
        at=min(max(0.0, float(record.at)), 32_503_680_000.0),
        request_id=text(record.request_id, 128),
        key_id=int(record.key_id or 0),
        caller=text(record.caller, 160),
        model=text(record.model, 200),
        config=text(record.config, 200),
        deployment_id=int(record.deployment_id or 0),
        endpoint=text(record.endpoint, 40),
        status=min(max(0, int(record.status)), 999),
        prompt_tokens=count(record.prompt_tokens),
        completion_tokens=count(record.completion_tokens),
    )


def _request(record: RequestRecord) -> UsageRequest:
    first = record.first_token_s
    return UsageRequest(
        at=datetime.fromtimestamp(record.at, tz=UTC),
        request_id=record.request_id,
        key_id=record.key_id or 0,
        caller=record.caller,
        model=record.model,
        config=record.config,
        deployment_id=record.deployment_id or 0,
        endpoint=record.endpoint,
        status=record.status,
        prompt_tokens=record.prompt_tokens,
        completion_tokens=record.completion_tokens,
        queue_ms=milliseconds(record.queue_s),
        first_token_ms=None if first is None else milliseconds(first),
        duration_ms=milliseconds(record.duration_s),
        streamed=record.streamed,
    )
