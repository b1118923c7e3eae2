"""The step Dockerfile: the editor with what is wrong beside it, and the choice of the build context."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from deployments.actors import BUILD_IMAGES, Actor, explain_missing
from deployments.deliveries.archives import MOST_UPLOAD_BYTES
from deployments.deliveries.build_forms import DockerfileForm
from deployments.deliveries.contexts import ARCHIVE, FOLDER, Context
from deployments.deliveries.dockerfile_templates import RECIPES, template
from deployments.deliveries.dockerfiles import changes_since, last_built, review
from deployments.deliveries.steps import step_context
from deployments.engines import engine_named
from deployments.exceptions import InvalidInputError
from deployments.models import Delivery
from deployments.services.deliveries import find_delivery
from deployments.services.image_builds import (
    choose_folder,
    choose_no_context,
    dockerfile_from_context,
    save_dockerfile,
    upload_context,
)

from .catalogue_editor import SeeOther
from .deliveries import builder_of
from .fragments import PageRequest, for_viewers


@require_http_methods(["GET", "HEAD", "POST"])
@for_viewers
def dockerfile(request: PageRequest, delivery_id: int) -> HttpResponse:
    """The editor. ``?way=…&engine=…`` fills in a template and ``?take=PATH`` a file of the context; POST saves."""
    delivery = find_delivery(delivery_id)
    if request.method != "POST":
        text, way = _text_to_edit(request, delivery)
        return _page(request, delivery, DockerfileForm(initial={"dockerfile": text, "way": way}), text)
    actor = builder_of(request)
    form = DockerfileForm(request.POST)
    if form.is_valid():
        try:
            save_dockerfile(delivery_id, form.cleaned_data["dockerfile"], way=form.cleaned_data["way"], actor=actor)
        except InvalidInputError as error:
            form.add_refusal(error)
        else:
            messages.success(request, _("Saved the Dockerfile."))
            return SeeOther(reverse("deployments:delivery_dockerfile", args=[delivery_id]))
    return _page(request, delivery, form, request.POST.get("dockerfile", ""))


@require_POST
@for_viewers
def dockerfile_review(request: PageRequest, delivery_id: int) -> HttpResponse:
    """What is wrong with the text as it is typed, and what differs from what was built last."""
    builder_of(request)
    delivery = find_delivery(delivery_id)
    text = request.POST.get("dockerfile", "").replace("\r\n", "\n")
    return render(request, "deployments/delivery_dockerfile_review.html", _review(delivery, text))


@require_POST
@for_viewers
def dockerfile_context(request: PageRequest, delivery_id: int) -> HttpResponse:
    """Choose the build context: none, a folder or an uploaded archive."""
    actor = builder_of(request)
    kind = request.POST.get("kind", "")
    try:
        if kind == FOLDER:
            choose_folder(delivery_id, request.POST.get("path", "").strip(), actor=actor)
        elif kind == ARCHIVE:
            name, data = _uploaded(request)
            upload_context(delivery_id, data, name=name, actor=actor)
        else:
            choose_no_context(delivery_id, actor=actor)
    except InvalidInputError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("The build context is chosen."))
    return SeeOther(reverse("deployments:delivery_dockerfile", args=[delivery_id]))


def _uploaded(request: PageRequest) -> tuple[str, bytes]:
    upload = request.FILES.get("archive")
    if upload is None:
        raise InvalidInputError(_("Choose a file to upload."))
    # One byte more than is allowed is enough to refuse it.
    return upload.name or "", upload.read(MOST_UPLOAD_BYTES + 1)


def _text_to_edit(request: PageRequest, delivery: Delivery) -> tuple[str, str]:
    """What the editor begins with; nothing of it is saved."""
    way, engine = request.GET.get("way", ""), request.GET.get("engine", "")
    if way in Delivery.Way and engine in RECIPES:
        wanted = delivery.requirement
        text = template(
            way,
            engine,
            repository=str(wanted.get("repository", "")),
            revision=str(wanted.get("revision", "")),
            baked="baked" in request.GET,
        )
        return text, way
    if "take" in request.GET:
        try:
            text = dockerfile_from_context(delivery, request.GET["take"].strip(), actor=builder_of(request))
        except InvalidInputError as error:
            messages.error(request, str(error))
        else:
            return text, Delivery.Way.PROJECT
    return delivery.dockerfile, delivery.way


def _page(request: PageRequest, delivery: Delivery, form: DockerfileForm, text: str) -> HttpResponse:
    engine = delivery.tool if delivery.tool in RECIPES else "vllm"
    context = {
        **step_context(delivery, "dockerfile"),
        **_review(delivery, text),
        "form": form,
        "is_unsaved": text != delivery.dockerfile,
        "build_context": Context.from_json(delivery.context),
        "engines": [(name, engine_named(name).title) for name in RECIPES],
        "engine": engine,
        "ways": Delivery.Way.choices,
        "way": delivery.way or Delivery.Way.OFFICIAL,
        "most_upload_bytes": MOST_UPLOAD_BYTES,
        "why_not": "" if Actor.person(request.user).may(BUILD_IMAGES) else explain_missing(BUILD_IMAGES),
    }
    return render(request, "deployments/delivery_dockerfile.html", context, status=422 if form.errors else 200)


def _review(delivery: Delivery, text: str) -> dict[str, Any]:
    built = last_built(delivery)
    return {"review": review(text), "changes": changes_since(built, text), "built": built, "delivery": delivery}
