"""Start, stop and restart: these change only what is desired, then wake the loop."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _

from deployments.actors import OPERATE, Actor
from deployments.audit import record_audit
from deployments.exceptions import ConflictError, InvalidInputError, NotFoundError
from deployments.hints import hint_reconcile
from deployments.lifecycle.phases import ENDED, Desired, Phase
from deployments.live import publish_change
from deployments.models import Config, Deployment, DeploymentEvent, Gpu, Node
from deployments.selectors import find_config
from deployments.start_telling import publish_start_state


@dataclass(frozen=True, kw_only=True)
class StartResult:
    """``created`` is False when the config was running, or on its way, already."""

    deployment: Deployment
    created: bool


@dataclass(frozen=True, kw_only=True)
class StopResult:
    """``changed`` is False when it had ended, or was ending, already."""

    deployment: Deployment
    changed: bool


@dataclass(frozen=True, kw_only=True)
class Pins:
    """Where an operator wants a run: a node by name, and of its GPUs those with these indexes. Empty: anywhere."""

    node: str = ""
    gpus: tuple[int, ...] = ()


def start_deployment(
    config_name: str,
    *,
    actor: Actor,
    replica: int = 0,
    pins: Pins | None = None,
    stop_first: Collection[int] = (),
    reason: str = "start_asked",
    image: str = "",
) -> StartResult:
    """Ask for a run of the config. Idempotent: of two people at once, both get the one deployment.

    ``stop_first`` are deployments whose end is asked for in the same breath; the start waits in the queue until
    their GPUs are free. ``reason`` is the code that its first event carries. ``image`` takes the place of the config's
    in this run only. Raises NotFoundError, NotAllowedError, InvalidInputError for pins that do not exist, or
    ConflictError while the last run is still stopping.
    """
    actor.require(OPERATE)
    config = find_config(config_name)
    pinned = pinned_columns(config, pins or Pins())
    doomed = [find_deployment(pk) for pk in stop_first]
    live = _live(config, replica)
    if live is None:
        try:
            with transaction.atomic():
                for each in doomed:
                    stop_deployment(each.pk, actor=actor)
                created = _create(config, replica, actor, reason=reason, image=image, **pinned)
                return StartResult(deployment=created, created=True)
        except IntegrityError:
            live = _live(config, replica)
            if live is None:
                raise ConflictError(_("“%(name)s” just ended. Start it again.") % {"name": config.name}) from None
    if live.desired == Desired.STOPPED:
        heir = live.replacements.filter(desired=Desired.RUNNING).exclude(phase__in=ENDED).first()
        if heir is not None:
            return StartResult(deployment=heir, created=False)
        raise ConflictError(
            _("“%(name)s” is still stopping. Wait until it has stopped, then start it again.") % {"name": config.name}
        )
    return StartResult(deployment=live, created=False)


def stop_deployment(
    deployment_id: int, *, actor: Actor, reason: str = "stop_asked", reason_params: Mapping[str, Any] | None = None
) -> StopResult:
    """Ask for the end of a run, and of what is to replace it. Idempotent.

    ``reason`` and its parameters are what its event carries. Raises NotFoundError, NotAllowedError.
    """
    actor.require(OPERATE)
    deployment = find_deployment(deployment_id)
    with transaction.atomic():
        changed = _wish_end(deployment, actor, reason, reason_params)
        for replacement in deployment.replacements.exclude(phase__in={*ENDED, Phase.READY}) if changed else ():
            _wish_end(replacement, actor)
    deployment.refresh_from_db()
    return StopResult(deployment=deployment, changed=changed)


def _wish_end(
    deployment: Deployment, actor: Actor, reason: str = "stop_asked", params: Mapping[str, Any] | None = None
) -> bool:
    wish = Deployment.objects.filter(pk=deployment.pk, desired=Desired.RUNNING).exclude(phase__in=ENDED)
    changed = wish.update(desired=Desired.STOPPED, stopped_by=actor.name, next_check_at=Now())
    if changed:
        _note_wish(deployment, actor, "deployment.stop", reason, params)
    return bool(changed)


def stop_now(deployment_id: int, *, actor: Actor) -> StopResult:
    """Ask for the end of a run without waiting for its requests. Idempotent. Raises NotFoundError, NotAllowedError."""
    actor.require(OPERATE)
    deployment = find_deployment(deployment_id)
    with transaction.atomic():
        wish = Deployment.objects.filter(pk=deployment.pk, stop_now=False).exclude(phase__in=ENDED)
        stopped_by = deployment.stopped_by or actor.name
        changed = wish.update(desired=Desired.STOPPED, stop_now=True, stopped_by=stopped_by, next_check_at=Now())
        if changed:
            _note_wish(deployment, actor, "deployment.stop_now", "stop_now_asked")
    deployment.refresh_from_db()
    return StopResult(deployment=deployment, changed=bool(changed))


def replace_deployment(deployment_id: int, *, actor: Actor, in_place: bool = False) -> Deployment:
    """Start the config's current revision beside a run, which drains and stops once the new one is ready.

    ``in_place`` stops the old one first, for want of memory, and starts it again as it was if the new one fails.
    Raises NotFoundError, NotAllowedError, or ConflictError when it has ended, is stopping or is being replaced.
    """
    actor.require(OPERATE)
    old = find_deployment(deployment_id)
    if not old.is_live or old.desired == Desired.STOPPED:
        raise ConflictError(_("This run has ended or is being stopped. Start the config again instead."))
    if old.supersedes is not None and old.supersedes.is_live:
        message = _("This run is replacing #%(id)s itself. Wait until that has ended, or cancel this one.")
        raise ConflictError(message % {"id": old.supersedes_id})
    columns = {"supersedes": old, "in_place": in_place, "pinned_node": old.pinned_node, "pinned_gpus": old.pinned_gpus}
    try:
        with transaction.atomic():
            new = _create(old.config, _free_replica(old.config), actor, **columns)
            if in_place:
                _wish_end(old, actor)
    except IntegrityError:
        raise ConflictError(_("Somebody is replacing this run already.")) from None
    return new


def _free_replica(config: Config) -> int:
    """A number that no live run of the config has; it takes the old one's once that has ended."""
    taken = Deployment.objects.filter(config=config).exclude(phase__in=ENDED).values_list("replica", flat=True)
    return max(taken, default=-1) + 1


def stop_config(config_name: str, *, actor: Actor) -> list[StopResult]:
    """Stop every live replica of a config. Raises NotFoundError, NotAllowedError."""
    actor.require(OPERATE)
    config = find_config(config_name)
    live = Deployment.objects.filter(config=config).exclude(phase__in=ENDED).values_list("pk", flat=True)
    return [stop_deployment(pk, actor=actor) for pk in live]


def restart_deployment(deployment_id: int, *, actor: Actor) -> Deployment:
    """Ask for a stop and a new start of the same specification; each call asks once more.

    Raises NotFoundError, NotAllowedError, or ConflictError when the run has ended or is being stopped.
    """
    actor.require(OPERATE)
    deployment = find_deployment(deployment_id)
    with transaction.atomic():
        wish = Deployment.objects.filter(pk=deployment.pk, desired=Desired.RUNNING).exclude(phase__in=ENDED)
        if not wish.update(generation=F("generation") + 1, next_check_at=Now()):
            raise ConflictError(_("This run has ended or is being stopped. Start the config again instead."))
        _note_wish(deployment, actor, "deployment.restart", "restart_asked")
    deployment.refresh_from_db()
    return deployment


def find_deployment(deployment_id: int) -> Deployment:
    """The deployment with its config, model and node. Raises NotFoundError."""
    found = Deployment.objects.select_related("config__model", "node").filter(pk=deployment_id).first()
    if found is None:
        raise NotFoundError(_("There is no deployment %(id)s.") % {"id": deployment_id})
    return found


def _live(config: Config, replica: int) -> Deployment | None:
    return Deployment.objects.filter(config=config, replica=replica).exclude(phase__in=ENDED).first()


def pinned_columns(config: Config, pins: Pins) -> dict[str, Any]:
    """Columns for the pins. Raises InvalidInputError naming what there is."""
    if not pins.node:
        if pins.gpus:
            raise InvalidInputError(_("Name the node whose GPUs you mean."), fields={"node": [_("It is missing.")]})
        return {}
    node = Node.objects.filter(name=pins.node).first()
    if node is None:
        known = ", ".join(Node.objects.values_list("name", flat=True)) or "–"
        message = _("There is no node “%(name)s”. Known nodes: %(known)s.") % {"name": pins.node, "known": known}
        raise InvalidInputError(message, fields={"node": [message]})
    uuids = dict(Gpu.objects.filter(node=node, replay=False).values_list("index", "uuid"))
    missing = [index for index in pins.gpus if index not in uuids]
    if missing or (pins.gpus and len(set(pins.gpus)) != config.gpus):
        message = _("%(config)s needs %(count)s GPUs of %(node)s, which has: %(known)s.") % {
            "config": config.name,
            "count": config.gpus,
            "node": node.name,
            "known": ", ".join(map(str, sorted(uuids))) or "–",
        }
        raise InvalidInputError(message, fields={"gpus": [message]})
    return {"pinned_node": node, "pinned_gpus": [uuids[index] for index in sorted(set(pins.gpus))]}


def _create(
    config: Config, replica: int, actor: Actor, *, reason: str = "start_asked", image: str = "", **columns: Any
) -> Deployment:
    spec = config.serving_spec()
    if image:
        spec = replace(spec, image=image)
    now = timezone.now()
    with transaction.atomic():
        deployment = Deployment.objects.create(
            config=config,
            replica=replica,
            spec=spec.to_json(),
            spec_digest=spec.digest,
            revision=config.revision,
            started_by=actor.name,
            phase_since=now,
            next_check_at=now,
            **columns,
        )
        _note_wish(deployment, actor, "deployment.start", reason)
        transaction.on_commit(lambda: publish_start_state(deployment))
    return deployment


def _note_wish(
    deployment: Deployment, actor: Actor, action: str, reason: str, params: Mapping[str, Any] | None = None
) -> None:
    """Event, audit row, and once committed the hints: the same for each wish."""
    name = deployment.spec["config"]
    DeploymentEvent.objects.create(
        deployment=deployment,
        at=timezone.now(),
        phase=Phase(deployment.phase),
        attempt=deployment.attempt,
        reason=reason,
        reason_params=dict(params or {}),
        actor=actor.name,
    )
    record_audit(actor, action, name, deployment=deployment.pk)
    node = deployment.node.name if deployment.node else ""
    transaction.on_commit(lambda: hint_reconcile(deployment.pk, node=node))
    transaction.on_commit(lambda: publish_change(deployment.pk, name))
