"""Start, stop and restart: these change only what is desired, then wake the loop."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _

from deployments.actors import OPERATE, Actor
from deployments.audit import record_audit
from deployments.exceptions import ConflictError, NotFoundError
from deployments.hints import hint_reconcile
from deployments.lifecycle.phases import ENDED, Desired, Phase
from deployments.live import publish_change
from deployments.models import Config, Deployment, DeploymentEvent
from deployments.selectors import find_config


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


def start_deployment(config_name: str, *, actor: Actor, replica: int = 0) -> StartResult:
    """Ask for a run of the config. Idempotent: of two people at once, both get the one deployment.

    Raises NotFoundError, NotAllowedError, or ConflictError while the last run is still stopping.
    """
    actor.require(OPERATE)
    config = find_config(config_name)
    live = _live(config, replica)
    if live is None:
        try:
            return StartResult(deployment=_create(config, replica, actor), created=True)
        except IntegrityError:
            live = _live(config, replica)
            if live is None:
                raise ConflictError(_("“%(name)s” just ended. Start it again.") % {"name": config.name}) from None
    if live.desired == Desired.STOPPED:
        raise ConflictError(
            _("“%(name)s” is still stopping. Wait until it has stopped, then start it again.") % {"name": config.name}
        )
    return StartResult(deployment=live, created=False)


def stop_deployment(deployment_id: int, *, actor: Actor) -> StopResult:
    """Ask for the end of a run. Idempotent. Raises NotFoundError, NotAllowedError."""
    actor.require(OPERATE)
    deployment = find_deployment(deployment_id)
    with transaction.atomic():
        wish = Deployment.objects.filter(pk=deployment.pk, desired=Desired.RUNNING).exclude(phase__in=ENDED)
        changed = wish.update(desired=Desired.STOPPED, stopped_by=actor.name, next_check_at=Now())
        if changed:
            _note_wish(deployment, actor, "deployment.stop", "stop_asked")
    deployment.refresh_from_db()
    return StopResult(deployment=deployment, changed=bool(changed))


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


def _create(config: Config, replica: int, actor: Actor) -> Deployment:
    spec = config.serving_spec()
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
        )
        _note_wish(deployment, actor, "deployment.start", "start_asked")
    return deployment


def _note_wish(deployment: Deployment, actor: Actor, action: str, reason: str) -> None:
    """Event, audit row, and once committed the hints: the same for each wish."""
    name = deployment.spec["config"]
    DeploymentEvent.objects.create(
        deployment=deployment,
        at=timezone.now(),
        phase=Phase(deployment.phase),
        attempt=deployment.attempt,
        reason=reason,
        actor=actor.name,
    )
    record_audit(actor, action, name, deployment=deployment.pk)
    node = deployment.node.name if deployment.node else ""
    transaction.on_commit(lambda: hint_reconcile(deployment.pk, node=node))
    transaction.on_commit(lambda: publish_change(deployment.pk, name))
