"""The draft config of a delivery: made from what is asked for, tried with other values, put into the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from django.db import transaction
from django.utils.translation import gettext as _

from deployments.actors import BUILD_IMAGES, Actor
from deployments.audit import record_audit
from deployments.config_values import ConfigValues
from deployments.deliveries.drafts import draft_values
from deployments.deliveries.requirement import Requirement, Task
from deployments.deliveries.trials import run_values
from deployments.exceptions import ConflictError, InvalidInputError
from deployments.models import CatalogueModel, Config, Delivery

from .catalogue import create_config, find_revision, save_config
from .catalogue_models import ModelValues, create_model
from .deliveries import open_delivery
from .lifecycle import Pins, StartResult, start_deployment


@transaction.atomic
def make_draft(delivery: Delivery, *, actor: Actor) -> Config:
    """Make the delivery's config, of its own name, from its requirement and its tool.

    Raises NotAllowedError, ConflictError when it is closed, has one, or a step before this one is open, or
    InvalidInputError.
    """
    actor.require(BUILD_IMAGES)
    found = open_delivery(delivery.pk)
    if found.config is not None:
        raise ConflictError(_("“%(name)s” has its draft already.") % {"name": found.name})
    if not found.tool or not found.requirement:
        raise ConflictError(_("Say what is asked for and choose a tool first: the draft is made from both."))
    requirement = Requirement.from_json(found.requirement)
    values = draft_values(requirement, found.tool)
    if not CatalogueModel.objects.filter(name=values.model).exists():
        create_model(values.model, _model_of(requirement), actor=actor)
    made = create_config(found.name, values, actor=actor, comment=_("Draft of a delivery"))
    Config.objects.filter(pk=made.config.pk).update(is_draft=True)
    Delivery.objects.filter(pk=found.pk).update(config=made.config)
    record_audit(actor, "delivery.draft", found.name, config=made.config.name)
    made.config.is_draft = True
    delivery.config = made.config
    return made.config


@transaction.atomic
def try_out(
    delivery: Delivery,
    *,
    actor: Actor,
    image: str,
    arguments: tuple[str, ...],
    environment: Mapping[str, str],
    pins: Pins,
) -> StartResult:
    """Start a trial run with these values, which become the draft's next revision when they differ.

    Raises NotAllowedError, InvalidInputError, or ConflictError for a closed delivery, or while another trial runs.
    """
    actor.require(BUILD_IMAGES)
    config = draft_of(open_delivery(delivery.pk))
    live = config.deployments.exclude(ended_at__isnull=False).order_by("-pk").first()
    if live is not None:
        raise ConflictError(
            _("Deployment %(number)d of this delivery is %(phase)s. Stop it first: one trial runs at a time.")
            % {"number": live.pk, "phase": live.get_phase_display()}
        )
    values = replace(
        ConfigValues.of(config), image=image, arguments=arguments, environment=tuple(sorted(environment.items()))
    )
    # Before it starts, so that the run is of these values whoever saves others meanwhile.
    save_config(config.name, values, actor=actor, comment=_("Trial"), base_revision=config.revision)
    return start_deployment(config.name, actor=actor, pins=pins)


@transaction.atomic
def publish(delivery: Delivery, deployment_id: int, *, actor: Actor) -> Config:
    """Put the values of a good run into the catalogue, as the delivery's config. Repeatable.

    Raises NotAllowedError, or ConflictError when the delivery is closed or that run never answered.
    """
    actor.require(BUILD_IMAGES)
    config = draft_of(open_delivery(delivery.pk))
    run = config.deployments.filter(pk=deployment_id).first()
    if run is None:
        raise InvalidInputError(_("Deployment %(number)d is no trial of this delivery.") % {"number": deployment_id})
    if run.answered_at is None:
        raise ConflictError(
            _("Deployment %(number)d never answered. Put a run that was ready into the catalogue.") % {"number": run.pk}
        )
    values = run_values(run, ConfigValues.from_json(find_revision(config.name, run.revision).values))
    save_config(
        config.name, values, actor=actor, comment=_("From trial %(number)d of the delivery") % {"number": run.pk}
    )
    Config.objects.filter(pk=config.pk).update(is_draft=False)
    record_audit(actor, "delivery.publish", delivery.name, config=config.name, deployment=run.pk)
    config.refresh_from_db()
    return config


def _model_of(requirement: Requirement) -> ModelValues:
    return ModelValues(
        parameters_b=requirement.parameters_b,
        layers=requirement.layers,
        kv_heads=requirement.kv_heads,
        head_dimension=requirement.head_dimension,
        vision=requirement.task == Task.MULTIMODAL,
    )


def draft_of(delivery: Delivery) -> Config:
    """The delivery's config. Raises ConflictError without one."""
    config = Config.objects.select_related("model").filter(deliveries=delivery).first()
    if config is None:
        raise ConflictError(_("“%(name)s” has no draft yet. Make it on the step Trial.") % {"name": delivery.name})
    return config
