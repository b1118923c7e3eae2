"""The work of one test of an image, in its node's worker: run it as a deployment, ask it, load it, judge, stop it."""

from __future__ import annotations

import logging
import time
from typing import Final

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from deployments.actors import Actor
from deployments.exceptions import BerthError, ConflictError, JobCancelledError
from deployments.jobs import Watch
from deployments.lifecycle.phases import ENDED, Desired, Phase
from deployments.lifecycle.reasons import explain
from deployments.models import Attempt, Deployment
from deployments.models.job import Job
from deployments.services.lifecycle import Pins, start_deployment, stop_deployment
from deployments.services.trials import draft_of
from playground.loadtests.settings import LoadSettings
from playground.models import ImageTest, LoadTest
from playground.services.load_tests import begin_load_test, cancel_load_test

from .testing import was_answered

logger = logging.getLogger(__name__)
_LOOK_S: Final = 0.5
#: Beyond the config's own time to load: pulling, queueing for GPUs, the attempts after the first.
_MOST_WAIT_S: Final = 3600.0
_LOG_CHARACTERS: Final = 1500


class ImageFailedError(BerthError):
    """The image did not come to answer; the message has the end of its log."""


def run_image_test(test: ImageTest, watch: Watch) -> None:
    """Carry out one test. What it started is stopped, however it ends. Repeatable.

    Raises ImageFailedError, JobCancelledError, or what the services raise.
    """
    actor = Actor.person(test.user) if test.user is not None else Actor(name=test.requested_by, via="cli")
    try:
        deployment = _started(test, watch, actor)
        _until_ready(deployment, watch, test)
        load = _loaded(test, watch, actor)
        watch.write(passed=_passed(test, load))
    finally:
        # Whoever has lost the claim leaves it to the worker that has it.
        if watch.write(stage=ImageTest.Stage.STOP):
            end_what_it_began(test)


def end_left_tests() -> int:
    """Stop what tests began that nobody carries out any more, and return of how many. Repeatable, each on its own.

    A worker that is killed stops nothing: what a test's third one left would hold its GPUs for ever, and so would that
    of a cancelled test whose node never comes back.
    """
    unheld = Q(claim_expires_at=None) | Q(claim_expires_at__lt=Now())
    over = Q(state__in=Job.ENDED) | Q(unheld, cancel_requested_at__isnull=False)
    runs = Q(deployment__desired=Desired.RUNNING) & ~Q(deployment__phase__in=ENDED)
    asks = Q(load_test__isnull=False, load_test__cancel_requested_at=None) & ~Q(load_test__state__in=Job.ENDED)
    left = list(ImageTest.objects.filter(over).filter(runs | asks).select_related("load_test"))
    ended = 0
    for test in left:
        logger.warning("The image test %s is over; what it began is stopped", test.pk)
        try:
            end_what_it_began(test)
        except Exception:
            logger.exception("What the image test %s began could not be stopped; it is tried again", test.pk)
        else:
            ended += 1
    return ended


def _started(test: ImageTest, watch: Watch, actor: Actor) -> Deployment:
    """The run of the config's values with the image under test. The config itself keeps the image that it has."""
    if test.deployment is not None:
        return test.deployment
    watch.write(stage=ImageTest.Stage.START)
    config = draft_of(test.delivery)
    # Where it was built: it is nowhere else yet.
    pins = Pins() if test.build is None else Pins(node=test.build.node.name)
    # Whoever dies in between has started nothing.
    with transaction.atomic():
        started = start_deployment(config.name, actor=actor, pins=pins, image=test.image)
        if not started.created:
            raise ConflictError(
                _("A deployment of “%(name)s” runs already. Stop it first: a test starts one of its own.")
                % {"name": config.name}
            )
        _note(watch, deployment=started.deployment)
    test.deployment = started.deployment
    return started.deployment


def _until_ready(deployment: Deployment, watch: Watch, test: ImageTest) -> None:
    watch.write(stage=ImageTest.Stage.READY)
    until = time.monotonic() + deployment.serving_spec().load_timeout_s + _MOST_WAIT_S
    while time.monotonic() < until:
        watch.check()
        deployment.refresh_from_db()
        if deployment.phase == Phase.READY:
            return
        if deployment.phase in ENDED:
            raise ImageFailedError(_failure(deployment))
        time.sleep(_LOOK_S)
    raise ImageFailedError(_("The image did not answer within its time. See deployment %d.") % deployment.pk)


def _failure(deployment: Deployment) -> str:
    told = explain(deployment.reason, deployment.reason_params)
    said = _("Deployment %(number)d ended before it answered: %(why)s %(next)s") % {
        "number": deployment.pk,
        "why": told.sentence,
        "next": told.next_step,
    }
    attempt = Attempt.objects.filter(deployment=deployment).exclude(log="").last()
    if attempt is None:
        return said.strip()
    return f"{said.strip()}\n\n{attempt.log[-_LOG_CHARACTERS:]}"


def _loaded(test: ImageTest, watch: Watch, actor: Actor) -> LoadTest:
    watch.write(stage=ImageTest.Stage.LOAD)
    load = test.load_test
    if load is None or load.error_code == "refused":
        with transaction.atomic():
            load = begin_load_test(
                draft_of(test.delivery).name,
                actor=actor,
                settings=LoadSettings.from_json(test.settings),
                deployment_id=test.deployment_id,
                targets=test.targets,
                delivery=test.delivery,
                with_smoke=True,
            )
            _note(watch, load_test=load)
        test.load_test = load
    while load.is_live:
        watch.check()
        time.sleep(_LOOK_S)
        load.refresh_from_db()
    if load.state != Job.State.DONE:
        raise ImageFailedError(load.error or _("The load test was cancelled."))
    return load


def _note(watch: Watch, **began: object) -> None:
    """Keep what was begun, or undo its transaction: who has lost the claim begins nothing."""
    if not watch.write(**began):
        raise JobCancelledError(_("Another worker has taken it over."))


def _passed(test: ImageTest, load: LoadTest) -> bool:
    """Every smoke request was answered, and every target was met; one that could not be measured was not."""
    answered = all(map(was_answered, load.smoke))
    met = {verdict["target"] for verdict in load.verdicts if verdict["passed"]}
    return answered and met >= set(test.targets)


def end_what_it_began(test: ImageTest) -> None:
    """By right of Berth's own: whoever asked for the test may have lost theirs to stop anything."""
    actor = Actor(name=test.cancelled_by or test.requested_by, via="system")
    if test.load_test is not None and test.load_test.is_live:
        cancel_load_test(test.load_test.pk, actor=actor)
    if test.deployment_id is not None:
        stop_deployment(test.deployment_id, actor=actor, reason="test_over")
