"""The step Test: how the newest test of the image stands, and what kept it from passing."""

from __future__ import annotations

from typing import Any

from django.db.models import Prefetch
from django.utils.translation import gettext as _

from deployments.deliveries import builds
from deployments.deliveries.requirement import Requirement
from deployments.deliveries.steps import State, StepState, rows_of
from deployments.models import Delivery
from deployments.models.job import Job
from playground.loadtests.words import judged_words, target_words
from playground.models import ImageTest

from .targets import targets_of

#: Without what only the pages of one build or load test show, which is most of it.
TESTS = ImageTest.objects.select_related("load_test", "build").defer(
    *("settings", "build__log", "build__steps", "build__dockerfile", "load_test__settings", "load_test__levels")
)
PREFETCH = (Prefetch("image_tests", TESTS), *builds.PREFETCH)


def step_state(delivery: Delivery) -> StepState:
    """Done when the newest test passed, red with the first thing that did not, stale once that is not what there is.

    One that was cancelled tells it only where there is no other.
    """
    tests = rows_of(delivery, "image_tests", TESTS)
    newest = max(tests, key=lambda each: (each.state != Job.State.CANCELLED, each.pk), default=None)
    if newest is None:
        return StepState(sentence=_("The image was not tested yet."))
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
    if test.load_test is None:
        return State.STALE, _("The figures of the test of %(image)s were deleted. Test it again.") % {
            "image": test.image
        }
    if test.build is not None and test.build.gone_at is not None:
        return State.STALE, _("%(image)s was tested, and is not there any more.") % {"image": test.image}
    built = [build.pk for build in builds.builds_of(delivery) if build.state == Job.State.DONE]
    if built and test.build_id != max(built):
        return State.STALE, _("A newer image was built after %(image)s was tested.") % {"image": test.image}
    if test.targets != targets_of(Requirement.from_json(delivery.requirement)):
        return State.STALE, _("What is asked for was changed after %(image)s was tested.") % {"image": test.image}
    return State.DONE, _("%(image)s answers as it should, and met every target.") % {"image": test.image}


def was_answered(smoke: dict[str, Any]) -> bool:
    """Whether a smoke request was sent, and nothing was wrong with its answer."""
    return "ms" in smoke and not smoke.get("code")


def first_failure(test: ImageTest) -> str:
    """What kept a test from passing: the first smoke request or target."""
    load = test.load_test
    if load is None:
        return _("Its load test was deleted. Test the image again.")
    for smoke in load.smoke:
        if not was_answered(smoke):
            return _("The smoke request %(name)s was not answered as it should be.") % {"name": smoke["name"]}
    judged = {verdict["target"]: verdict for verdict in load.verdicts}
    for target in test.targets:
        verdict = judged.get(target)
        if verdict is None or verdict["measured"] is None:
            return _("%(target)s: nothing was measured.") % {"target": target_words(target)}
        if not verdict["passed"]:
            measured, wanted = judged_words(verdict["measured"], verdict["wanted"])
            told = {"target": target_words(target), "measured": measured, "wanted": wanted}
            return _("%(target)s: %(measured)s, wanted %(wanted)s.") % told
    return _("It did not pass.")
