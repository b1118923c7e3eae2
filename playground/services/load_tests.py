"""Load tests: begin, cancel and delete. They take the right to send requests, for that is what they do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from deployments.actors import TRY_MODELS, Actor
from deployments.audit import record_audit
from deployments.exceptions import ConflictError, InvalidInputError
from deployments.jobs import cancel_job, request_job
from deployments.models import Config, Delivery, Deployment
from deployments.models.job import Job
from deployments.selectors import find_config, ready_endpoints
from deployments.spec import ServingSpec
from playground.exceptions import TargetNotRunningError
from playground.loadtests.asking import kinds_for
from playground.loadtests.settings import LoadSettings
from playground.loadtests.targeting import require_direct
from playground.loadtests.verdicts import TARGETS
from playground.loadtests.work import planned_smoke
from playground.models import LoadTest
from playground.selectors_load_tests import find_load_test


def begin_load_test(
    config_name: str,
    *,
    actor: Actor,
    settings: LoadSettings,
    deployment_id: int | None = None,
    targets: Mapping[str, Any] | None = None,
    delivery: Delivery | None = None,
    with_smoke: bool = False,
) -> LoadTest:
    """Ask for a load test of a config that is ready. One of a config runs at once, for two would measure each other.

    ``targets`` are those of :func:`playground.loadtests.verdicts.verdicts`. Raises NotAllowedError, NotFoundError,
    InvalidInputError, TargetNotRunningError, ConflictError.
    """
    actor.require(TRY_MODELS)
    config = find_config(config_name)
    deployment = _ready_deployment(config, deployment_id)
    spec = deployment.serving_spec()
    if settings.kind not in kinds_for(spec.protocol, spec.engine):
        told = {"config": config.name, "kind": settings.kind, "kinds": ", ".join(kinds_for(spec.protocol, spec.engine))}
        raise InvalidInputError(_("%(config)s cannot be asked %(kind)s. It can be asked: %(kinds)s.") % told)
    if settings.direct:
        require_direct(spec.engine)
    with transaction.atomic():
        # Whoever asks at the same time waits here, and then sees this one.
        Config.objects.select_for_update().get(pk=config.pk)
        if LoadTest.objects.filter(config=config.name).exclude(state__in=Job.ENDED).exists():
            sentence = _("A load test of %(config)s is under way. Wait for its end, or cancel it.")
            raise ConflictError(sentence % {"config": config.name})
        test = request_job(
            LoadTest(
                node=deployment.node,
                requested_by=actor.name,
                user=actor.user,
                via_command_line=actor.user is None,
                config=config.name,
                model=config.model.name,
                protocol=spec.protocol,
                engine=spec.engine,
                deployment=deployment,
                delivery=delivery,
                settings=settings.to_json(),
                targets={name: targets[name] for name in TARGETS if targets and targets.get(name)},
                smoke=_smoke_of(config, spec, settings) if with_smoke else [],
            )
        )
        record_audit(actor, "load_test.begin", config.name, number=test.pk, concurrency=list(settings.concurrency))
    return test


def cancel_load_test(test_id: int, *, actor: Actor) -> bool:
    """Ask for its end; what was measured is kept. False when it had ended. Raises NotAllowedError, NotFoundError."""
    actor.require(TRY_MODELS)
    test = find_load_test(test_id)
    with transaction.atomic():
        changed = cancel_job(test, actor=actor)
        if changed:
            record_audit(actor, "load_test.cancel", test.config, number=test.pk)
    return changed


def delete_load_test(test_id: int, *, actor: Actor) -> None:
    """Delete what was measured. Raises NotAllowedError, NotFoundError, or ConflictError while it is under way."""
    actor.require(TRY_MODELS)
    test = find_load_test(test_id)
    with transaction.atomic():
        if not LoadTest.objects.filter(pk=test.pk, state__in=Job.ENDED).delete()[0]:
            raise ConflictError(_("It is still under way. Cancel it first."))
        record_audit(actor, "load_test.delete", test.config, number=test.pk)


def _smoke_of(config: Config, spec: ServingSpec, settings: LoadSettings) -> list[dict[str, Any]]:
    """A server of embeddings has no chat to ask for, and is known by what it is loaded with."""
    embedding = settings.kind == "embeddings"
    return planned_smoke(spec.protocol, spec.engine, vision=config.model.vision, embedding=embedding)


def _ready_deployment(config: Config, deployment_id: int | None) -> Deployment:
    ready = [one.deployment_id for one in ready_endpoints() if one.config == config.name]
    chosen = ready[:1] if deployment_id is None else [pk for pk in ready if pk == deployment_id]
    found = Deployment.objects.select_related("node").filter(pk__in=chosen, node__isnull=False).first()
    if found is None:
        sentence = _("%(config)s is not ready, so that there is nothing to test. Start it with: berth start %(config)s")
        raise TargetNotRunningError(sentence % {"config": config.name}, commands=[f"berth start {config.name} --wait"])
    return found
