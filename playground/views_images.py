"""The playground's page of images."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from deployments.actors import TRY_MODELS, Actor, explain_missing
from deployments.exceptions import InvalidInputError, NotFoundError
from deployments.views.fragments import PageRequest, for_viewers, wants_fragment

from .answers.storing import interrupt_dead_answers
from .drawing.metadata import with_metadata
from .drawing.settings import MOST_IMAGES, NAMES, SIZES, DrawingSettings, read_drawing
from .modes import modes
from .page_strings import image_strings
from .selectors_images import find_image, find_job, gallery, image_bytes, image_targets, own_picture
from .services import drawing as services


@require_safe
@for_viewers
def images(request: PageRequest) -> HttpResponse:
    """The composer and the gallery. ``?again=`` begins with a request's settings, ``?seed=1`` with its seed too.

    ``?edit=`` begins with an image to edit, ``?before=`` is an older page, ``?image=`` opens the drawer.
    """
    if wants_fragment(request) and request.GET.get("part") == "targets":
        return render(request, "playground/image_targets.html", _targets(request, request.GET.get("config", "")))
    if wants_fragment(request) and request.GET.get("part") == "gallery":
        return render(request, "playground/image_gallery.html", {"page": gallery(request.user.pk)})
    return _page(request, _begun(request))


@require_http_methods(["GET", "HEAD", "POST"])
@for_viewers
def draw(request: PageRequest) -> HttpResponseBase:
    """Ask for images: htmx gets the request as the gallery's first entry."""
    if request.method != "POST":
        return redirect("playground:images")
    written = {name: request.POST.get(name, "") for name in ("prompt", "config", *NAMES)}
    try:
        settings = read_drawing(written)
        answer = services.draw(
            written["prompt"], config=written["config"], settings=settings, actor=Actor.person(request.user)
        )
    except InvalidInputError as error:
        if wants_fragment(request):
            raise
        return _page(request, written, problem=str(error), status=422)
    if not wants_fragment(request):
        return _to_gallery()
    return render(request, "playground/image_job.html", {"job": find_job(answer.pk, request.user.pk)})


@require_safe
@for_viewers
def job(request: PageRequest, pk: int) -> HttpResponse:
    """One request, as it stands now."""
    interrupt_dead_answers()
    return render(request, "playground/image_job.html", {"job": find_job(pk, request.user.pk)})


@require_safe
@for_viewers
def detail(request: PageRequest, pk: int) -> HttpResponseBase:
    """An image with how it was made, beside the gallery."""
    if not wants_fragment(request):
        return redirect(f"{reverse('playground:images')}?image={pk}")
    return render(request, "playground/image_drawer.html", _drawer(request, pk))


@require_safe
@for_viewers
def download(request: PageRequest, pk: int, kind: str) -> HttpResponseBase:
    """The file with how it was made in it, where its format has a place for that (PNG); or that alone as JSON."""
    image = find_image(pk, request.user.pk)
    suffix = image.picture.media_type.partition("/")[2]
    if kind not in ("json", "file"):
        raise NotFoundError(_("Images are downloaded as they are (file), and their facts as JSON (json)."))
    response: HttpResponse
    if kind == "json":
        suffix = "json"
        response = JsonResponse(image.facts(), json_dumps_params={"ensure_ascii": False, "indent": 1})
    else:
        content = with_metadata(image_bytes(image), image.facts())
        response = HttpResponse(content, content_type=image.picture.media_type)
    response.headers["Content-Disposition"] = f'attachment; filename="image-{pk}.{suffix}"'
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response.headers["Cache-Control"] = "private, no-store"
    return response


@require_POST
@for_viewers
def delete(request: PageRequest, pk: int) -> HttpResponseBase:
    """Delete one image."""
    services.delete_image(pk, actor=Actor.person(request.user))
    return _to_gallery()


@require_POST
@for_viewers
def delete_job(request: PageRequest, pk: int) -> HttpResponseBase:
    """Delete a request with all that came of it."""
    services.delete_images_of(pk, actor=Actor.person(request.user))
    return _to_gallery()


def _page(request: PageRequest, written: dict[str, Any], *, problem: str = "", status: int = 200) -> HttpResponse:
    interrupt_dead_answers()
    may_send = Actor.person(request.user).may(TRY_MODELS)
    opened = request.GET.get("image", "")
    context = {
        **_targets(request, written.get("config", "")),
        "written": written,
        "source": own_picture(_number(written.get("source")), request.user.pk),
        "problem": problem,
        "page": gallery(request.user.pk, before=_number(request.GET.get("before"))),
        "drawer": _drawer(request, int(opened)) if _number(opened) else None,
        "sizes": SIZES,
        "most_images": MOST_IMAGES,
        "modes": modes("playground:images"),
        "strings": image_strings(),
        "why_not": "" if may_send else explain_missing(TRY_MODELS),
    }
    return render(request, "playground/images.html", context, status=status)


def _begun(request: PageRequest) -> dict[str, Any]:
    """What the composer begins with."""
    written: dict[str, Any] = {"config": request.GET.get("config", ""), "count": DrawingSettings().count}
    again = _number(request.GET.get("again"))
    if again is not None:
        job = find_job(again, request.user.pk)
        written |= {"prompt": job.prompt, **job.answer.settings, "config": job.answer.config}
        written["seed"] = job.seed if request.GET.get("seed") else ""
    edited = own_picture(_number(request.GET.get("edit")), request.user.pk)
    if edited is not None:
        written |= {"source": edited.pk, "mask": ""}
        editors = image_targets("").editors
        written["config"] = next(iter(editors), written["config"])
    return written


def _targets(request: PageRequest, wanted: str) -> dict[str, Any]:
    return {"drawing": image_targets(wanted)}


def _drawer(request: PageRequest, pk: int) -> dict[str, Any]:
    image = find_image(pk, request.user.pk)
    return {"image": image, "facts": image.facts(), "can_edit": bool(image_targets("").editors)}


def _number(text: object) -> int | None:
    value = str(text or "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 19 else None


def _to_gallery() -> HttpResponseBase:
    response = redirect("playground:images")
    response.status_code = 303
    return response
