"""Tests of a delivery's image: begin and cancel."""

from __future__ import annotations

from django.db import transaction
from django.utils.translation import gettext as _

from deployments.actors import BUILD_IMAGES, Actor
from deployments.audit import record_audit
from deployments.deliveries.requirement import Requirement
from deployments.exceptions import ConflictError, NotFoundError
from deployments.jobs import cancel_job, request_job
from deployments.models import Delivery, ImageBuild, Node
from deployments.models.job import Job
from deployments.services.deliveries import open_delivery
from deployments.services.trials import draft_of
from playground.deliveries.targets import targets_of
from playground.loadtests.settings import LoadSettings
from playground.models import ImageTest


def begin_image_test(delivery: Delivery, settings: LoadSettings, *, actor: Actor) -> ImageTest:
    """Ask for a test of the newest image that was built, or without one of the image that the config names.

    Raises NotAllowedError, NotFoundError, or ConflictError for a closed delivery, when there is nothing to test, or
    while a test is under way.
    """
    actor.require(BUILD_IMAGES)
    config = draft_of(delivery)
    with transaction.atomic():
        # Whoever asks at the same time waits here, and then sees this one.
        delivery = open_delivery(delivery.pk)
        if delivery.image_tests.exclude(state__in=Job.ENDED).exists():
            raise ConflictError(_("A test of this delivery is under way. Wait for its end, or cancel it."))
        build = newest_build(delivery)
        node = build.node if build is not None else _any_node()
        test = request_job(
            ImageTest(
                node=node,
                requested_by=actor.name,
                user=actor.user,
                delivery=delivery,
                build=build,
                image=config.image if build is None else build.tag,
                settings=settings.to_json(),
                targets=targets_of(Requirement.from_json(delivery.requirement)),
            )
        )
        record_audit(actor, "image_test.begin", delivery.name, number=test.pk, image=test.image)
    return test


def cancel_image_test(delivery: Delivery, test_id: int, *, actor: Actor) -> bool:
    """Ask for its end; what it started is stopped. False when it had ended. Raises NotAllowedError, NotFoundError."""
    actor.require(BUILD_IMAGES)
    test = delivery.image_tests.filter(pk=test_id).first()
    if test is None:
        raise NotFoundError(_("There is no such test of this delivery."))
    with transaction.atomic():
        changed = cancel_job(test, actor=actor)
        if changed:
            record_audit(actor, "image_test.cancel", delivery.name, number=test.pk)
    return changed


def newest_build(delivery: Delivery) -> ImageBuild | None:
    """The last one that ended well and whose image was not seen to be gone."""
    built = delivery.image_builds.filter(state=Job.State.DONE, gone_at=None).select_related("node")
    return built.order_by("-pk").first()


def _any_node() -> Node:
    """One that reads hints. Which node serves is the placement's to say."""
    node = Node.objects.order_by("-heartbeat_at").exclude(heartbeat_at=None).first()
    if node is None:
        raise ConflictError(_("No node has reported itself yet. Start Berth's agent and worker, then try again."))
    return node
