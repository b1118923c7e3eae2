"""The step Test: an image is run as a deployment, asked, loaded, judged, and stopped again."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, Final

from django.utils.translation import gettext as _

from deployments.actors import Actor
from deployments.config_values import ConfigValues
from deployments.deliveries.steps import State, StepState
from deployments.exceptions import BerthError, ConflictError, JobCancelledError
from deployments.jobs import Watch
from deployments.lifecycle.phases import ENDED, Phase
from deployments.lifecycle.reasons import explain
from deployments.models import Attempt, Delivery, Deployment
from deployments.models.job import Job
from deployments.services.catalogue import save_config
from deployments.services.lifecycle import Pins, find_deployment, start_deployment, stop_deployment
from deployments.services.trials import draft_of
from playground.loadtests.settings import LoadSettings
from playground.loadtests.words import target_words
from playground.models import ImageTest, LoadTest
from playground.services.load_tests import begin_load_test, cancel_load_test

PREFETCH = ("image_tests", "image_tests__load_test", "image_tests__build", "image_builds")
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
        _stop(test, watch, actor)


def _started(test: ImageTest, watch: Watch, actor: Actor) -> Deployment:
    if test.deployment is not None:
        return test.deployment
    watch.write(stage=ImageTest.Stage.START)
    config = draft_of(test.delivery)
    if config.deployments.exclude(phase__in=ENDED).exists():
        raise ConflictError(
            _("A deployment of “%(name)s” runs already. Stop it first: a test starts one of its own.")
            % {"name": config.name}
        )
    values = replace(ConfigValues.of(config), image=test.image)
    save_config(config.name, values, actor=actor, comment=_("Test %(number)d of the delivery") % {"number": test.pk})
    # Where it was built: it is nowhere else yet.
    pins = Pins() if test.build is None else Pins(node=test.build.node.name)
    started = start_deployment(config.name, actor=actor, pins=pins)
    test.deployment = started.deployment
    watch.write(deployment=started.deployment)
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
        load = begin_load_test(
            draft_of(test.delivery).name,
            actor=actor,
            settings=LoadSettings.from_json(test.settings),
            deployment_id=test.deployment_id,
            targets=test.targets,
            delivery=test.delivery,
            with_smoke=True,
        )
        test.load_test = load
        watch.write(load_test=load)
    while load.is_live:
        if watch.cancelled():
            cancel_load_test(load.pk, actor=actor)
            raise JobCancelledError(_("It was cancelled."))
        time.sleep(_LOOK_S)
        load.refresh_from_db()
    if load.state != Job.State.DONE:
        raise ImageFailedError(load.error or _("The load test was cancelled."))
    return load


def _passed(test: ImageTest, load: LoadTest) -> bool:
    """Every smoke request was answered, and every target was met; one that could not be measured was not."""
    answered = all(map(_was_answered, load.smoke))
    met = {verdict["target"] for verdict in load.verdicts if verdict["passed"]}
    return answered and met >= set(test.targets)


def _was_answered(smoke: dict[str, Any]) -> bool:
    """Whether it was sent, and nothing was wrong with its answer."""
    return "ms" in smoke and not smoke.get("code")


def _stop(test: ImageTest, watch: Watch, actor: Actor) -> None:
    if test.deployment_id is None:
        return
    watch.write(stage=ImageTest.Stage.STOP)
    if find_deployment(test.deployment_id).is_live:
        stop_deployment(test.deployment_id, actor=actor)


# ---- the step ------------------------------------------------------------------------------------------------------


def step_state(delivery: Delivery) -> StepState:
    """Done when the newest test passed, red with the first thing that did not, stale when a newer image was built."""
    tests = sorted(delivery.image_tests.all(), key=lambda each: -each.pk)
    if not tests:
        return StepState(sentence=_("The image was not tested yet."))
    newest = tests[0]
    when = newest.ended_at or newest.created_at
    state, sentence = _state_of(newest, delivery)
    return StepState(state=state, sentence=sentence, who=newest.requested_by, when=when)


def _state_of(test: ImageTest, delivery: Delivery) -> tuple[State, str]:
    if test.is_live:
        return State.RUNNING, _("%(image)s is being tested.") % {"image": test.image}
    if test.state == Job.State.CANCELLED:
        return State.OPEN, _("The last test was cancelled.")
    if test.state == Job.State.FAILED:
        return State.FAILED, test.error.partition("\n")[0]
    if not test.passed:
        return State.FAILED, first_failure(test)
    if test.build is not None and test.build.gone_at is not None:
        return State.STALE, _("%(image)s was tested, and is not there any more.") % {"image": test.image}
    built = [build.pk for build in delivery.image_builds.all() if build.state == Job.State.DONE]
    if built and test.build_id != max(built):
        return State.STALE, _("A newer image was built after %(image)s was tested.") % {"image": test.image}
    return State.DONE, _("%(image)s answers as it should, and met every target.") % {"image": test.image}


def first_failure(test: ImageTest) -> str:
    """What kept a test from passing: the first smoke request or target."""
    load = test.load_test
    if load is None:
        return _("Its load test was deleted. Test the image again.")
    for smoke in load.smoke:
        if not _was_answered(smoke):
            return _("The smoke request %(name)s was not answered as it should be.") % {"name": smoke["name"]}
    judged = {verdict["target"]: verdict for verdict in load.verdicts}
    for target in test.targets:
        verdict = judged.get(target)
        if verdict is None or verdict["measured"] is None:
            return _("%(target)s: nothing was measured.") % {"target": target_words(target)}
        if not verdict["passed"]:
            told = {"target": target_words(target), "measured": _short(verdict["measured"])}
            return _("%(target)s: %(measured)s, wanted %(wanted)s.") % {**told, "wanted": _short(verdict["wanted"])}
    return _("It did not pass.")


def _short(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0")
