"""The step Build: whether the image of the newest build is really there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypedDict

from django.conf import settings
from django.db.models import BooleanField, ExpressionWrapper, F, Prefetch, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from deployments.exceptions import RuntimeUnavailableError
from deployments.hints import hint_image_look
from deployments.models import Delivery, ImageBuild
from deployments.runtimes.docker.built_images import delete_image, find_image, image_ids

from .contexts import Context
from .steps import State, StepState, rows_of

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations


class Compared(TypedDict):
    """What the database adds to a build: whether it is of the delivery's Dockerfile as that stands now."""

    is_of_this_text: bool


#: Without logs and Dockerfiles, of which a list of deliveries may have hundreds of 128 KB each: the database compares.
BUILDS = (
    ImageBuild.objects.defer("log", "steps", "dockerfile", "arguments", "labels")
    .select_related("node")
    .annotate(is_of_this_text=ExpressionWrapper(Q(dockerfile=F("delivery__dockerfile")), output_field=BooleanField()))
)
PREFETCH = (Prefetch("image_builds", BUILDS),)


def step_state(delivery: Delivery) -> StepState:
    """How the step stands; an image of this node is looked for in its engine, of another one by its worker."""
    newest = _newest(delivery)
    if newest is None:
        return StepState(state=State.OPEN, sentence=_("Nothing has been built yet."))
    state, sentence = _state_of(newest, delivery)
    when = newest.ended_at or newest.started_at or newest.created_at
    return StepState(state=state, sentence=sentence, who=newest.requested_by, when=when)


def _newest(delivery: Delivery) -> WithAnnotations[ImageBuild, Compared] | None:
    """The build that tells the step's state: one that was cancelled only where there is no other."""
    cancelled = ImageBuild.State.CANCELLED
    return max(builds_of(delivery), key=lambda each: (each.state != cancelled, each.pk), default=None)


def builds_of(delivery: Delivery) -> list[WithAnnotations[ImageBuild, Compared]]:
    """Every build of ``delivery``, as far as steps look at it. No query where they were prefetched."""
    return rows_of(delivery, "image_builds", BUILDS)


def _state_of(newest: WithAnnotations[ImageBuild, Compared], delivery: Delivery) -> tuple[State, str]:
    named = {"tag": newest.tag, "node": newest.node.name, "person": newest.cancelled_by}
    if newest.is_live:
        words = _("It is being built on %(node)s.") if newest.started_at else _("It waits for %(node)s.")
        return State.RUNNING, words % named
    if newest.state == ImageBuild.State.CANCELLED:
        return State.OPEN, _("The last build was cancelled by %(person)s.") % named
    if newest.state == ImageBuild.State.FAILED:
        return State.FAILED, newest.error
    look(newest)
    if newest.gone_at is not None:
        return State.FAILED, gone_sentence(newest)
    if not newest.is_of_this_text or not _same_context(newest, delivery):
        return State.STALE, _("The Dockerfile or its context changed after %(tag)s was built.") % named
    return State.DONE, _("%(tag)s is on %(node)s.") % named


def gone_sentence(build: ImageBuild) -> str:
    """Why the image of a done build is not there any more."""
    if build.deleted_by:
        message = _("The image %(tag)s was deleted by %(person)s. Build it again.")
        return message % {"tag": build.tag, "person": build.deleted_by}
    message = _("The image %(tag)s is not on %(node)s any more: somebody deleted it there. Build it again.")
    return message % {"tag": build.tag, "node": build.node.name}


def look(build: ImageBuild) -> None:
    """Note whether the image is still there: at once on its own node, else by a message to that one's worker."""
    if not build.image_id:
        return
    if build.node.name != settings.BERTH_NODE_NAME:
        hint_image_look(build.pk, node=build.node.name)
        return
    try:
        found = find_image(build.image_id)
    except RuntimeUnavailableError:
        return  # silence says nothing about the image
    _note(build, is_gone=found is None)


def look_at_all(builds: Iterable[ImageBuild]) -> None:
    """Note of each build of this node whether its image is still there, by one question to the engine."""
    ours = [each for each in builds if each.image_id and each.node.name == settings.BERTH_NODE_NAME]
    if not ours:
        return
    try:
        there = image_ids()
    except RuntimeUnavailableError:
        return
    for build in ours:
        _note(build, is_gone=build.image_id not in there)


def look_at(build_id: int) -> None:
    """The worker's side of :func:`look`; deletes the image first where somebody asked for that."""
    build = ImageBuild.objects.select_related("node").filter(pk=build_id).exclude(image_id="").first()
    if build is None or build.node.name != settings.BERTH_NODE_NAME:
        return
    if build.deleted_by and not ImageBuild.objects.filter(image_id=build.image_id, deleted_by="").exists():
        delete_image(build.image_id)
    look(build)


def _same_context(build: ImageBuild, delivery: Delivery) -> bool:
    return Context.from_json(build.context).is_source_of(Context.from_json(delivery.context))


def _note(build: ImageBuild, *, is_gone: bool) -> None:
    if is_gone == (build.gone_at is not None):
        return
    build.gone_at = timezone.now() if is_gone else None
    ImageBuild.objects.filter(pk=build.pk).update(gone_at=build.gone_at)
