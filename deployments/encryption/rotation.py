"""A new key for all stored secrets: first the key, then the secrets, then the old key goes."""

from __future__ import annotations

from typing import Any

from cryptography.fernet import Fernet
from django.db import models, transaction
from django.utils.translation import gettext as _

from deployments.actors import MANAGE_KEYS, Actor
from deployments.audit import record_audit
from deployments.exceptions import ConflictError

from .columns import sealed_columns
from .keys import read_keys, write_keys
from .sealing import SecretUnreadableError, opened, resealed

#: A secret that somebody stores meanwhile, by the old key, is found by the next round.
MOST_ROUNDS = 10


def rotate(*, actor: Actor) -> int:
    """Encrypt every secret with a new key and drop the old ones; returns how many secrets there are.

    It may be killed after any line and done again: until all secrets have the new key, the file has the old ones too.
    Raises SecretUnreadableError, before anything is changed, for a secret that no key of the file opens.
    """
    actor.require(MANAGE_KEYS)
    before = read_keys()
    for token in _tokens():
        if not before:
            raise SecretUnreadableError(_("There are stored passwords, and no key file. Copy it here first."))
        opened(token, before)
    newest = Fernet.generate_key().decode()
    write_keys((newest, *before))
    for _round in range(MOST_ROUNDS):
        count = _reseal((newest, *before))
        if _all_open((newest,)):
            write_keys((newest,))
            record_audit(actor, "secrets.rotate", "secrets", count=count)
            return count
    raise ConflictError(_("Passwords are being changed at this moment. Nothing is lost; rotate again."))


def _tokens() -> list[str]:
    found: list[str] = []
    for model, name in sealed_columns():
        found.extend(models.QuerySet(model).exclude(**{name: ""}).values_list(name, flat=True))
    return found


def _reseal(keys: tuple[str, ...]) -> int:
    count = 0
    with transaction.atomic():
        for model, name in sealed_columns():
            for key, token in _locked(model, name):
                models.QuerySet(model).filter(pk=key).update(**{name: resealed(token, keys)})
                count += 1
    return count


def _locked(model: type[models.Model], name: str) -> list[tuple[Any, str]]:
    rows: models.QuerySet[models.Model] = models.QuerySet(model).select_for_update()
    return list(rows.exclude(**{name: ""}).values_list("pk", name))


def _all_open(keys: tuple[str, ...]) -> bool:
    try:
        for token in _tokens():
            opened(token, keys)
    except SecretUnreadableError:
        return False
    return True
