"""Making, editing, revoking and checking gateway keys."""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from hmac import compare_digest
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from deployments.actors import MANAGE_KEYS, Actor
from deployments.audit import record_audit
from deployments.exceptions import InvalidInputError, NotFoundError
from deployments.redis import RedisError, client
from deployments.redis_keys import KEYS_CHANGED
from playground.key_rules import NO_RULES, KeyRules
from playground.models import GatewayKey
from playground.services.key_checks import check_rules

logger = logging.getLogger(__name__)

LONGEST_DAYS: Final = 3650
#: ``last_used_at`` is written at most this often for a key.
LAST_USE_STEP: Final = timedelta(minutes=10)
_PREFIX_ALPHABET: Final = "abcdefghijkmnpqrstuvwxyz23456789"
_KEY: Final = re.compile(r"berth-([a-z0-9]{8})-[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, kw_only=True)
class NewKey:
    """A key just made. ``secret`` is the whole key and exists only here."""

    key: GatewayKey
    secret: str


@dataclass(frozen=True, kw_only=True)
class RevokeResult:
    """``changed`` is False when the key had been revoked before."""

    key: GatewayKey
    changed: bool


@dataclass(frozen=True, kw_only=True)
class EditResult:
    """``changed`` is False when the key was like that before."""

    key: GatewayKey
    changed: bool


def digest_of(secret: str) -> str:
    """SHA-256 of a whole key in hex. The key has 256 random bits, so that no slow hash is needed."""
    return hashlib.sha256(secret.encode()).hexdigest()


def create_key(name: str, *, actor: Actor, expires_in_days: int | None = None, rules: KeyRules = NO_RULES) -> NewKey:
    """Make a key. Raises NotAllowedError, or InvalidInputError for a name in use, bad days, scopes or limits."""
    actor.require(MANAGE_KEYS)
    name = name.strip()
    _check_input(name, expires_in_days)
    check_rules(rules)
    prefix = "".join(secrets.choice(_PREFIX_ALPHABET) for _index in range(8))
    secret = f"berth-{prefix}-{secrets.token_urlsafe(32)}"
    expires_at = None if expires_in_days is None else timezone.now() + timedelta(days=expires_in_days)
    try:
        with transaction.atomic():
            key = GatewayKey.objects.create(
                name=name,
                prefix=prefix,
                digest=digest_of(secret),
                made_by=actor.name,
                user=actor.user,
                expires_at=expires_at,
                **_columns(rules),
            )
            detail = {column: value for column, value in _columns(rules).items() if value}
            record_audit(actor, "key.create", name, prefix=prefix, expires_in_days=expires_in_days, **detail)
    except IntegrityError:
        # The constraint decides between two people who choose the same name at once.
        raise _name_in_use(name) from None
    return NewKey(key=key, secret=secret)


def edit_key(key_id: int, *, actor: Actor, rules: KeyRules, expires_at: datetime | None) -> EditResult:
    """Give a key other scopes, limits or another end; gateways follow at once. Repeatable.

    Raises NotAllowedError, NotFoundError, or InvalidInputError for bad rules and for a revoked key.
    """
    actor.require(MANAGE_KEYS)
    with transaction.atomic():
        key = GatewayKey.objects.select_for_update().filter(pk=key_id).first()
        if key is None:
            raise _no_such_key()
        if key.revoked_at is not None:
            raise InvalidInputError(_("The key %(name)s is revoked. Make another one.") % {"name": key.name})
        check_rules(rules, known=key.allowed_models)
        if expires_at != key.expires_at and expires_at is not None:
            _check_end(expires_at)
        wanted = {**_columns(rules), "expires_at": expires_at}
        changed = {column: value for column, value in wanted.items() if getattr(key, column) != value}
        if changed:
            GatewayKey.objects.filter(pk=key_id).update(**changed)
            told = {
                column: value.isoformat() if isinstance(value, datetime) else value for column, value in changed.items()
            }
            record_audit(actor, "key.edit", key.name, prefix=key.prefix, **told)
            transaction.on_commit(announce_change)
            key.refresh_from_db()
    return EditResult(key=key, changed=bool(changed))


def revoke_key(key_id: int, *, actor: Actor) -> RevokeResult:
    """End a key at once in every gateway process. Repeatable. Raises NotAllowedError, NotFoundError."""
    actor.require(MANAGE_KEYS)
    with transaction.atomic():
        changed = bool(
            GatewayKey.objects.filter(pk=key_id, revoked_at__isnull=True).update(
                revoked_at=timezone.now(), revoked_by=actor.name
            )
        )
        key = GatewayKey.objects.filter(pk=key_id).first()
        if key is None:
            raise _no_such_key()
        if changed:
            record_audit(actor, "key.revoke", key.name, prefix=key.prefix)
            transaction.on_commit(announce_change)
    return RevokeResult(key=key, changed=changed)


def announce_change() -> None:
    """Tell the gateway processes to forget what they know of keys; without Redis they do within 10 s."""
    try:
        client().publish(KEYS_CHANGED, "changed")
    except RedisError as error:
        logger.warning("Redis is away (%s): gateways notice the changed keys within 10 s.", error)


def find_key(secret: str) -> GatewayKey | None:
    """The key with this secret, whatever its state, or None."""
    shape = _KEY.fullmatch(secret)
    if shape is None:
        return None
    key = GatewayKey.objects.filter(prefix=shape[1]).first()
    if key is None or not compare_digest(key.digest, digest_of(secret)):
        return None
    return key


def note_use(key: GatewayKey) -> None:
    """Remember that ``key`` was used just now, at most every ten minutes."""
    now = timezone.now()
    if key.last_used_at is None or now - key.last_used_at >= LAST_USE_STEP:
        GatewayKey.objects.filter(pk=key.pk).update(last_used_at=now)


def _check_input(name: str, expires_in_days: int | None) -> None:
    if not name:
        sentence = _("Give the key a name: who or what will use it.")
        raise InvalidInputError(sentence, fields={"name": [sentence]})
    if len(name) > 100 or not name.isprintable():
        sentence = _("A key's name has at most 100 printable characters.")
        raise InvalidInputError(sentence, fields={"name": [sentence]})
    if expires_in_days is not None and not 1 <= expires_in_days <= LONGEST_DAYS:
        raise _bad_end()
    if GatewayKey.objects.filter(name=name, revoked_at__isnull=True).exists():
        raise _name_in_use(name)


def _check_end(expires_at: datetime) -> None:
    if not timedelta(0) < expires_at - timezone.now() <= timedelta(days=LONGEST_DAYS):
        raise _bad_end()


def _bad_end() -> InvalidInputError:
    sentence = _("A key lasts between 1 and %(most)d days.") % {"most": LONGEST_DAYS}
    return InvalidInputError(sentence, fields={"expires_in_days": [sentence]})


def _name_in_use(name: str) -> InvalidInputError:
    sentence = _("There is a key called %(name)s already. Choose another name or revoke that one.") % {"name": name}
    return InvalidInputError(sentence, fields={"name": [sentence]})


def _no_such_key() -> NotFoundError:
    return NotFoundError(_("There is no such key. Reload the page to see those that exist."))


def _columns(rules: KeyRules) -> dict[str, Any]:
    return {
        "allowed_models": list(rules.models),
        "allowed_endpoints": list(rules.endpoints),
        "requests_per_minute": rules.requests_per_minute,
        "tokens_per_minute": rules.tokens_per_minute,
        "tokens_per_day": rules.tokens_per_day,
    }
