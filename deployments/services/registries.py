"""Adding, changing, checking and removing registries. Passwords go in and never come out again."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from deployments.actors import BUILD_IMAGES, Actor
from deployments.audit import record_audit
from deployments.encryption.sealing import SecretUnreadableError, seal, unseal
from deployments.exceptions import ConflictError, InvalidInputError, NotFoundError
from deployments.models import ImageTransfer, Job, Registry
from deployments.registries.addresses import address_problem, canonical, is_near
from deployments.registries.credentials import Credentials
from deployments.registries.refusals import TransferError
from deployments.registries.v2 import RegistryClient

logger = logging.getLogger(__name__)
#: The name of a page's address.
RESERVED = "new"


@dataclass(frozen=True, kw_only=True)
class RegistryValues:
    """What a person writes. ``password`` is None for "as it was", and empty for none."""

    address: str
    username: str = ""
    password: str | None = None
    insecure: bool = False


def create_registry(name: str, values: RegistryValues, *, actor: Actor) -> Registry:
    """Add a registry. Raises NotAllowedError, InvalidInputError, SecretUnreadableError without the key file."""
    actor.require(BUILD_IMAGES)
    registry = Registry(name=name, created_by=actor.name)
    _refuse_name(registry)
    _write(registry, values)
    with transaction.atomic():
        registry.save(force_insert=True)
        record_audit(actor, "registry.create", name, address=registry.address, username=registry.username)
    return registry


def save_registry(name: str, values: RegistryValues, *, actor: Actor) -> Registry:
    """Change a registry. Raises NotAllowedError, NotFoundError, InvalidInputError, SecretUnreadableError.

    A stored password goes to the address that it was entered for and to no other: whoever changes the address, or
    gives up TLS, enters it again.
    """
    actor.require(BUILD_IMAGES)
    with transaction.atomic():
        registry = find_registry(name, lock=True)
        before = (registry.address, registry.username, registry.insecure)
        moves = canonical(values.address) != canonical(registry.address)
        gives_up = moves or (values.insecure and not registry.insecure)
        if registry.secret and values.password is None and gives_up:
            reason = _("Enter the password again: the stored one goes to no other address than it was meant for.")
            raise InvalidInputError(reason, fields={"password": [reason]})
        _write(registry, values)
        registry.checked_at, registry.check_code, registry.check_detail = None, "", ""
        registry.save()
        after = (registry.address, registry.username, registry.insecure)
        changed = [each for each, old, new in zip(_COLUMNS, before, after, strict=True) if old != new]
        if values.password is not None:
            changed.append("password")
        record_audit(actor, "registry.save", name, fields=changed, address=registry.address)
    return registry


_COLUMNS = ("address", "username", "insecure")


def delete_registry(name: str, *, actor: Actor) -> None:
    """Forget a registry and its password; what was pushed stays, there and in the history.

    Raises NotAllowedError, NotFoundError, or ConflictError while a push to it goes on.
    """
    actor.require(BUILD_IMAGES)
    with transaction.atomic():
        registry = find_registry(name, lock=True)
        if ImageTransfer.objects.filter(registry=registry).exclude(state__in=Job.ENDED).exists():
            raise ConflictError(_("Something is being pushed to “%(name)s”. Cancel that first.") % {"name": name})
        registry.delete()
        record_audit(actor, "registry.delete", name, address=registry.address)


def check_registry(name: str, *, actor: Actor) -> Registry:
    """Ask the registry whether it accepts us, and keep its answer. Takes a few seconds at most; never raises for it.

    Raises NotAllowedError, NotFoundError.
    """
    actor.require(BUILD_IMAGES)
    registry = find_registry(name)
    code, detail = "", ""
    try:
        client_of(registry).check()
    except TransferError as error:
        code, detail = error.code, error.params.get("said", "")
    except SecretUnreadableError as error:
        code, detail = "secret_unreadable", str(error)
    registry.checked_at, registry.check_code, registry.check_detail = timezone.now(), code, detail[:400]
    with transaction.atomic():
        registry.save(update_fields=["checked_at", "check_code", "check_detail"])
        record_audit(actor, "registry.check", name, outcome=code or "accepted")
    return registry


def find_registry(name: str, *, lock: bool = False) -> Registry:
    """One registry. Raises NotFoundError."""
    rows = Registry.objects.select_for_update() if lock else Registry.objects.all()
    found = rows.filter(name=name).first()
    if found is None:
        raise NotFoundError(_("There is no registry “%(name)s”.") % {"name": name})
    return found


def credentials_of(registry: Registry) -> Credentials:
    """Name and password for the registry itself. Raises SecretUnreadableError."""
    return Credentials(username=registry.username, password=unseal(registry.secret))


def client_of(registry: Registry) -> RegistryClient:
    """Whom to ask about what is there. Raises SecretUnreadableError."""
    return RegistryClient(address=registry.address, credentials=credentials_of(registry), insecure=registry.insecure)


def _write(registry: Registry, values: RegistryValues) -> None:
    problem = address_problem(values.address)
    if problem:
        raise InvalidInputError(problem, fields={"address": [problem]})
    if values.insecure and not is_near(values.address):
        reason = _("Only a registry on this host or in a private network may be without TLS.")
        raise InvalidInputError(reason, fields={"insecure": [reason]})
    if values.password and not values.username:
        reason = _("A password needs a user name. For a token, registries name one in their documentation.")
        raise InvalidInputError(reason, fields={"username": [reason]})
    registry.address, registry.username, registry.insecure = canonical(values.address), values.username, values.insecure
    if values.password is not None:
        registry.secret = seal(values.password)
    elif not values.username:
        registry.secret = ""


def _refuse_name(registry: Registry) -> None:
    from django.core.exceptions import ValidationError

    try:
        registry.clean_fields(exclude=["address", "username", "created_by"])
    except ValidationError as error:
        raise InvalidInputError(" ".join(error.messages), fields={"name": error.messages}) from error
    if registry.name == RESERVED or Registry.objects.filter(name=registry.name).exists():
        reason = _("There is a registry of this name already. Choose another name.")
        raise InvalidInputError(reason, fields={"name": [reason]})
