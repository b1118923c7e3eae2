"""Asking for a delivery, deciding about it, closing and deleting it."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError
from django.utils import timezone
from django.utils.translation import gettext as _

from deployments.actors import BUILD_IMAGES, Actor
from deployments.audit import record_audit
from deployments.deliveries.requirement import Requirement
from deployments.deliveries.requirement_checks import requirement_problems
from deployments.deliveries.support import support_table
from deployments.deliveries.tools import judge
from deployments.engines import engine_names
from deployments.exceptions import ConflictError, InvalidInputError, NotFoundError
from deployments.models import Config, Delivery, Job

from .catalogue import archive_config

#: Characters of the reason for a tool.
LONGEST_REASON = 300


def create_delivery(name: str, *, asked_by: str = "", note: str = "", actor: Actor) -> Delivery:
    """Begin a delivery. Raises NotAllowedError, or InvalidInputError when a field is wrong or the name taken."""
    actor.require(BUILD_IMAGES)
    delivery = Delivery(name=name, asked_by=asked_by, note=note, created_by=actor.name)
    try:
        # Its JSON columns begin empty, which a form would call blank.
        delivery.clean_fields(exclude={"requirement", "context"})
    except ValidationError as error:
        raise InvalidInputError(" ".join(error.messages), fields=error.message_dict) from None
    try:
        with transaction.atomic():
            delivery.save(force_insert=True)
            record_audit(actor, "delivery.create", name)
    except IntegrityError:
        reason = _("There is a delivery of this name already. Choose another name.")
        raise InvalidInputError(reason, fields={"name": [reason]}) from None
    return delivery


def change_requirement(delivery_id: int, requirement: Requirement, *, actor: Actor) -> bool:
    """Write what is asked for. False when nothing differed.

    Raises NotAllowedError, NotFoundError, InvalidInputError, ConflictError for a closed one.
    """
    actor.require(BUILD_IMAGES)
    problems = requirement_problems(requirement)
    if problems:
        raise InvalidInputError(" ".join(text for texts in problems.values() for text in texts), fields=problems)
    with transaction.atomic():
        delivery = open_delivery(delivery_id)
        wanted = requirement.to_json()
        if delivery.requirement == wanted:
            return False
        delivery.requirement = wanted
        delivery.requirement_by, delivery.requirement_at = actor.name, timezone.now()
        delivery.save(update_fields=["requirement", "requirement_by", "requirement_at", "updated_at"])
        record_audit(actor, "delivery.requirement", delivery.name, model=requirement.model)
    return True


def choose_tool(delivery_id: int, tool: str, *, reason: str = "", actor: Actor) -> None:
    """Keep which engine somebody chose, and why; choosing it again says that it still holds.

    One that the recommendation excludes may be chosen too, with a reason: people know what the table does not.
    Raises NotAllowedError, NotFoundError, InvalidInputError, ConflictError for a closed one.
    """
    actor.require(BUILD_IMAGES)
    problems = {}
    if tool not in engine_names():
        problems["tool"] = _("Choose one of the tools.")
    if len(reason) > LONGEST_REASON:
        problems["reason"] = _("Write at most %(count)d characters.") % {"count": LONGEST_REASON}
    if problems:
        fields = {field: [problem] for field, problem in problems.items()}
        raise InvalidInputError(" ".join(problems.values()), fields=fields)
    with transaction.atomic():
        delivery = open_delivery(delivery_id)
        if not reason and _is_excluded(delivery, tool):
            problem = _("This tool was excluded. Say why you choose it nevertheless.")
            raise InvalidInputError(problem, fields={"reason": [problem]})
        delivery.tool, delivery.tool_reason = tool, reason
        delivery.tool_by, delivery.tool_at = actor.name, timezone.now()
        delivery.save(update_fields=["tool", "tool_reason", "tool_by", "tool_at", "updated_at"])
        record_audit(actor, "delivery.tool", delivery.name, tool=tool, reason=reason)


def close_delivery(delivery_id: int, *, actor: Actor) -> None:
    """End it: nothing of it changes any more until it is opened again. Repeatable.

    Raises NotAllowedError, NotFoundError, ConflictError while work for it goes on.
    """
    actor.require(BUILD_IMAGES)
    with transaction.atomic():
        delivery = _locked(delivery_id)
        if delivery.closed_at is not None:
            return
        _refuse_while_working(delivery)
        delivery.closed_at = timezone.now()
        delivery.save(update_fields=["closed_at", "updated_at"])
        record_audit(actor, "delivery.close", delivery.name)


def reopen_delivery(delivery_id: int, *, actor: Actor) -> None:
    """Let a closed one change again. Repeatable. Raises NotAllowedError, NotFoundError."""
    actor.require(BUILD_IMAGES)
    with transaction.atomic():
        delivery = _locked(delivery_id)
        if delivery.closed_at is None:
            return
        delivery.closed_at = None
        delivery.save(update_fields=["closed_at", "updated_at"])
        record_audit(actor, "delivery.reopen", delivery.name)


def delete_delivery(delivery_id: int, *, actor: Actor) -> None:
    """Delete the record with its history; images and deployments stay, and its draft lies among the removed configs.

    Raises NotAllowedError, NotFoundError, ConflictError while work for it goes on or something still needs it.
    """
    actor.require(BUILD_IMAGES)
    with transaction.atomic():
        delivery = _locked(delivery_id)
        _refuse_while_working(delivery)
        _remove_draft(delivery, actor)
        record_audit(actor, "delivery.delete", delivery.name)
        try:
            delivery.delete()
        except ProtectedError:
            message = _("Something still needs “%(name)s”. Close it instead.")
            raise ConflictError(message % {"name": delivery.name}) from None


def find_delivery(delivery_id: int) -> Delivery:
    """The delivery. Raises NotFoundError."""
    found = Delivery.objects.select_related("config").filter(pk=delivery_id).first()
    return _there(found)


def open_delivery(delivery_id: int) -> Delivery:
    """The delivery, locked for a change; inside a transaction. Raises NotFoundError, ConflictError if it is closed."""
    delivery = _locked(delivery_id)
    if delivery.closed_at is not None:
        message = _("“%(name)s” is closed. Open it again before you change it.")
        raise ConflictError(message % {"name": delivery.name})
    return delivery


def _locked(delivery_id: int) -> Delivery:
    return _there(Delivery.objects.select_for_update().filter(pk=delivery_id).first())


def _there(found: Delivery | None) -> Delivery:
    if found is None:
        raise NotFoundError(_("There is no such delivery. Somebody may have deleted it."))
    return found


def _is_excluded(delivery: Delivery, tool: str) -> bool:
    if not delivery.requirement:
        return False
    wanted = Requirement.from_json(delivery.requirement)
    return any(judge(wanted, engine).is_excluded for engine in support_table() if engine.name == tool)


def _remove_draft(delivery: Delivery, actor: Actor) -> None:
    """A draft whose delivery is gone would be shown nowhere, and keep its name from others."""
    draft = delivery.config
    if draft is None or not draft.is_draft:
        return
    archive_config(draft.name, actor=actor)
    Config.objects.filter(pk=draft.pk).update(is_draft=False)


def _refuse_while_working(delivery: Delivery) -> None:
    """Whatever kind of job belongs to a delivery: builds, pushes, and those of apps that this one may not import."""
    for relation in Delivery._meta.related_objects:
        kind = relation.related_model
        if isinstance(kind, type) and issubclass(kind, Job):
            jobs = getattr(delivery, str(relation.get_accessor_name()))
            if jobs.exclude(state__in=Job.ENDED).exists():
                message = _("Work for “%(name)s” goes on (%(kind)s). Cancel it or wait for its end.")
                raise ConflictError(message % {"name": delivery.name, "kind": kind._meta.verbose_name})
