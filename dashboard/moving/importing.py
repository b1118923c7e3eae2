"""Puts an exported installation in the place of this one's catalogue, people and history."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.contrib.auth.models import User
from django.core import serializers
from django.core.management.color import no_style
from django.core.serializers.base import DeserializationError, DeserializedObject
from django.db import DataError, IntegrityError, connection, models, transaction
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dashboard.installing import missing_migrations
from deployments.actors import Actor
from deployments.audit import record_audit
from deployments.exceptions import ConflictError, InvalidInputError
from deployments.models import ConfigRevision, Deployment
from deployments.redis import RedisError, client
from deployments.redis_keys import KEYS_CHANGED
from playground.models import GatewayKey

from .archive import Reader, Source
from .exporting import MOVE, refuse_while_live
from .tables import EMPTIED, MOVED, moved_models, schema

logger = logging.getLogger(__name__)
NUL, REPLACEMENT = "\x00", "�"


def import_installation(stream: Source, *, replace: bool, actor: Actor) -> int:
    """Read a file of :func:`.exporting.export_installation`; returns the number of rows. All of it or nothing.

    Everybody has to sign in again, with the password of the old installation. An installation that was used is
    replaced only if ``replace`` says so. Raises NotAllowedError, ConflictError while something runs or when this one
    was used, InvalidInputError for a file that is none, is cut short, or belongs to another version.
    """
    actor.require(MOVE)
    if missing_migrations():
        raise ConflictError(_("This installation has no database of this version yet. Run “berth install” first."))
    reader = Reader(stream)
    _require_same_schema(reader.header)
    with transaction.atomic():
        _keep_others_from_writing()
        refuse_while_live()
        if not replace and (used := _what_was_used()):
            message = _("This installation is in use (%(what)s). --replace deletes that and takes the file's instead.")
            raise ConflictError(message % {"what": used})
        _empty()
        count = 0
        for record in reader.rows():
            _write(record)
            count += 1
        _reset_sequences()
        record_audit(actor, "installation.import", "installation", rows=count, made_at=reader.header.get("made_at"))
        transaction.on_commit(_tell_gateways)
    return count


def _keep_others_from_writing() -> None:
    """Hold the tables: an agent that writes its node, or a start, would come between. SQLite's transaction does so."""
    if connection.vendor == "postgresql":
        tables = (apps.get_model(label)._meta.db_table for label in (*MOVED, *EMPTIED))
        names = ", ".join(connection.ops.quote_name(table) for table in tables)
        with connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {names} IN EXCLUSIVE MODE")


def _require_same_schema(header: dict[str, Any]) -> None:
    here, there = schema(), header.get("schema")
    if there != here:
        message = _(
            "The file was made by another version of Berth (%(there)s; here %(here)s). Use one version on both."
        )
        raise InvalidInputError(message % {"there": _words(there), "here": _words(here)})


def _words(versions: object) -> str:
    return ", ".join(f"{app} {name}" for app, name in versions.items()) if isinstance(versions, dict) else "?"


def _what_was_used() -> str:
    """What people did here that an import would delete, in words; empty right after the installation."""
    runs = Deployment.objects.count()
    keys = GatewayKey.objects.count()
    edits = ConfigRevision.objects.filter(user__isnull=False).count()
    people = max(0, User.objects.count() - 1)
    words = (
        (runs, ngettext("%(n)d deployment", "%(n)d deployments", runs)),
        (keys, ngettext("%(n)d gateway key", "%(n)d gateway keys", keys)),
        (edits, ngettext("%(n)d edited revision", "%(n)d edited revisions", edits)),
        (people, ngettext("%(n)d person beside the first", "%(n)d people beside the first", people)),
    )
    return ", ".join(text % {"n": number} for number, text in words if number)


def _empty() -> None:
    for label in (*EMPTIED, *reversed(MOVED)):
        models.QuerySet(apps.get_model(label)).delete()


def _write(record: dict[str, Any]) -> None:
    """Insert one row as it was. Django's own ``save`` is left out, so that no time is made anew."""
    name = f"{record.get('model')} {record.get('pk', '')}".strip()
    try:
        (row,) = _deserialized(_without_nul(record))
        if row.object._meta.label not in MOVED:
            raise InvalidInputError(_("The file holds %(row)s, which does not belong there.") % {"row": name})
        row.save(force_insert=True)
    except (DeserializationError, DataError, IntegrityError, ValueError, KeyError, TypeError) as error:
        message = _("The row %(row)s of the file does not fit here: %(detail)s. Nothing was imported.")
        raise InvalidInputError(message % {"row": name, "detail": str(error).strip().splitlines()[0]}) from error


def _deserialized(record: dict[str, Any]) -> Iterator[DeserializedObject]:
    return iter(serializers.deserialize("python", [record]))


def _without_nul(value: Any) -> Any:
    """PostgreSQL stores no NUL in texts, SQLite does, and servers print them."""
    if isinstance(value, str):
        return value.replace(NUL, REPLACEMENT)
    if isinstance(value, dict):
        return {key: _without_nul(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_nul(each) for each in value]
    return value


def _reset_sequences() -> None:
    """Rows came with their numbers: the next one is after the highest. SQLite sees to that itself."""
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), list(moved_models())):
            cursor.execute(statement)


def _tell_gateways() -> None:
    """Let gateways forget the keys that they know."""
    try:
        client().publish(KEYS_CHANGED, "changed")
    except RedisError as error:
        logger.info("Gateways were not told of the new keys: %s", error)
