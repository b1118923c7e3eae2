"""The step Build: asks for one, shows it as it goes, and what was built before."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST
from django_htmx.http import HttpResponseStopPolling

from deployments.actors import BUILD_IMAGES, Actor, explain_missing
from deployments.deliveries.build_forms import BuildForm
from deployments.deliveries.builds import look_at_all
from deployments.deliveries.contexts import Context
from deployments.deliveries.steps import step_context
from deployments.exceptions import InvalidInputError
from deployments.models import Delivery, ImageBuild
from deployments.presentation.builds import ShownBuild
from deployments.services.deliveries import find_delivery
from deployments.services.image_builds import cancel_build, delete_built_image, request_build

from .catalogue_editor import SeeOther
from .deliveries import builder_of
from .fragments import PageRequest, for_viewers, wants_fragment

#: Older ones stay in the database.
MOST_SHOWN = 50
#: They may be 128 KB each, and a list shows none.
HEAVY = ("log", "dockerfile", "steps")


@require_http_methods(["GET", "HEAD", "POST"])
@for_viewers
def build(request: PageRequest, delivery_id: int) -> HttpResponse:
    """The form, the newest build (or ``?build=ID``) live, and the history; POST asks for a build."""
    delivery = find_delivery(delivery_id)
    if wants_fragment(request) and request.method != "POST":
        return _live(request, delivery)
    form = BuildForm(request.POST or None, initial=_initial(delivery))
    if request.method == "POST":
        actor = builder_of(request)
        try:
            if form.is_valid():
                request_build(delivery_id, form.options(), actor=actor)
                return SeeOther(reverse("deployments:delivery_build", args=[delivery_id]))
        except InvalidInputError as error:
            if not form.errors:
                form.add_refusal(error)
    context = {
        **step_context(delivery, "build"),
        "form": form,
        "shown": _shown(request, delivery),
        "history": [ShownBuild(each) for each in _history(delivery)],
        "build_context": Context.from_json(delivery.context),
        "why_not": "" if Actor.person(request.user).may(BUILD_IMAGES) else explain_missing(BUILD_IMAGES),
    }
    return render(request, "deployments/delivery_build.html", context, status=422 if form.errors else 200)


@require_POST
@for_viewers
def build_cancel(request: PageRequest, delivery_id: int, build_id: int) -> HttpResponse:
    """Ask for the end of a build."""
    if not cancel_build(build_id, actor=builder_of(request)):
        messages.info(request, _("The build had ended already."))
    return SeeOther(reverse("deployments:delivery_build", args=[delivery_id]))


@require_POST
@for_viewers
def image_delete(request: PageRequest, delivery_id: int, build_id: int) -> HttpResponse:
    """Delete a built image from its node."""
    delete_built_image(build_id, actor=builder_of(request))
    messages.success(request, _("The image is being deleted from its node."))
    return SeeOther(reverse("deployments:delivery_build", args=[delivery_id]))


def _live(request: PageRequest, delivery: Delivery) -> HttpResponse:
    """The fragment; one that has ended stops the asking and lets the page load anew, stepper and history with it."""
    shown = _shown(request, delivery)
    response = render(request, "deployments/delivery_build_live.html", {"shown": shown, "delivery": delivery})
    if shown is None or not shown.build.is_live:
        stopped = HttpResponseStopPolling(response.content)
        stopped.headers["HX-Refresh"] = "true"
        return stopped
    return response


def _shown(request: PageRequest, delivery: Delivery) -> ShownBuild | None:
    wanted = request.GET.get("build", "")
    builds = delivery.image_builds.select_related("node")
    found = builds.filter(pk=int(wanted)).first() if wanted.isdecimal() and len(wanted) < 18 else builds.first()
    return ShownBuild(found) if found else None


def _history(delivery: Delivery) -> list[ImageBuild]:
    builds = list(delivery.image_builds.select_related("node").defer(*HEAVY)[:MOST_SHOWN])
    look_at_all(builds)
    return builds


def _initial(delivery: Delivery) -> dict[str, object]:
    newest = delivery.image_builds.select_related("node").first()
    if newest is None:
        wanted = {"secrets": ["HF_TOKEN"] if "id=hf_token" in delivery.dockerfile else []}
        return {"tag": f"berth/{delivery.name}:1", **wanted}
    repository, _colon, version = newest.tag.rpartition(":")
    following = str(int(version) + 1) if version.isdecimal() and newest.image_id else version
    return {
        "node": newest.node.name,
        "tag": f"{repository}:{following}",
        "arguments": "\n".join(f"{name}={value}" for name, value in newest.arguments.items()),
        "secrets": newest.secret_names,
    }
