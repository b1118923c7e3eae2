"""A delivery's step Push: to a registry, into an archive and out of one, and the digest into the config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import FileResponse, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from deployments.actors import BUILD_IMAGES, Actor, explain_missing
from deployments.deliveries.archives import MOST_UPLOAD_BYTES
from deployments.deliveries.steps import step_context
from deployments.exceptions import InvalidInputError, NotFoundError
from deployments.forms_registries import ImageForm, LoadForm, PushForm
from deployments.models import Delivery, ImageTransfer, Job, Registry
from deployments.refusable_form import RefusableForm
from deployments.selectors_transfers import push_defaults, shown_transfers
from deployments.services.transfers import (
    cancel_transfer,
    find_transfer,
    pin_digest,
    request_load,
    request_load_upload,
    request_push,
    request_save,
)
from deployments.transfers.archives import archive_path
from deployments.transfers.looking import look

from .catalogue_editor import SeeOther
from .fragments import PageRequest, for_viewers, polled, wants_fragment


@require_http_methods(["GET", "HEAD", "POST"])
@for_viewers
def delivery_push(request: PageRequest, delivery_id: int) -> HttpResponse:
    """The page; posted, a push is asked for. To htmx what goes on and what was, alone."""
    delivery = _delivery(delivery_id)
    if request.method == "POST":
        form = PushForm(request.POST)
        return _asked(request, delivery, form, lambda actor: _push(delivery, form, actor))
    if wants_fragment(request):
        context = {**_live(request, delivery), **step_context(delivery, "push"), "is_fragment": True}
        return polled(request, "deployments/delivery_push_live.html", context, goes_on=context["goes_on"])
    return _page(request, delivery)


@require_POST
@for_viewers
def delivery_save(request: PageRequest, delivery_id: int) -> HttpResponse:
    """Ask for an archive of the image."""
    delivery = _delivery(delivery_id)
    form = ImageForm(request.POST)
    return _asked(
        request,
        delivery,
        form,
        lambda actor: request_save(
            delivery,
            node=form.cleaned_data["node"],
            image=form.cleaned_data["image"],
            image_id="",
            actor=actor,
        ),
    )


@require_POST
@for_viewers
def delivery_load(request: PageRequest, delivery_id: int) -> HttpResponse:
    """Ask a node to load an archive."""
    delivery = _delivery(delivery_id)
    form = LoadForm(request.POST, request.FILES)
    return _asked(request, delivery, form, lambda actor: _load(delivery, form, actor))


@require_POST
@for_viewers
def transfer_cancel(request: PageRequest, transfer_id: int) -> HttpResponse:
    """End one."""
    if not cancel_transfer(transfer_id, actor=Actor.person(request.user)):
        messages.info(request, _("It had ended already."))
    return _back(find_transfer(transfer_id).delivery)


@require_POST
@for_viewers
def transfer_pin(request: PageRequest, transfer_id: int) -> HttpResponse:
    """Write the digest into the delivery's config."""
    revision = pin_digest(transfer_id, actor=Actor.person(request.user))
    delivery = find_transfer(transfer_id).delivery
    name = delivery.config.name if delivery.config else ""
    if revision is None:
        messages.info(request, _("“%(name)s” runs exactly this image already.") % {"name": name})
    else:
        told = _("“%(name)s” runs exactly this image from revision %(number)d on.")
        messages.success(request, told % {"name": name, "number": revision.number})
    return _back(delivery)


@require_safe
@for_viewers
def transfer_archive(request: PageRequest, transfer_id: int) -> HttpResponseBase:
    """The saved archive as a download, where it lies on this host."""
    Actor.person(request.user).require(BUILD_IMAGES)
    transfer = find_transfer(transfer_id)
    path = archive_path(transfer)
    if transfer.kind != ImageTransfer.Kind.SAVE or transfer.state != Job.State.DONE:
        raise NotFoundError(_("There is no archive of this."))
    if transfer.node.name != settings.BERTH_NODE_NAME or not path.is_file():
        told = _("The archive lies on %(node)s at %(path)s. Copy it from there.")
        raise NotFoundError(told % {"node": transfer.node.name, "path": transfer.path})
    name = f"{Path(transfer.delivery.name).name}-{transfer.pk}.tar"
    return FileResponse(path.open("rb"), as_attachment=True, filename=name, content_type="application/x-tar")


def _push(delivery: Delivery, form: PushForm, actor: Actor) -> object:
    clean = form.cleaned_data
    return request_push(
        delivery,
        node=clean["node"],
        image=clean["image"],
        image_id="",
        registry=clean["registry"].name,
        path=clean["path"],
        tag=clean["tag"],
        actor=actor,
    )


def _load(delivery: Delivery, form: LoadForm, actor: Actor) -> object:
    node, upload = form.cleaned_data["node"], form.cleaned_data["archive"]
    if upload is None:
        return request_load(delivery, node=node, path=form.cleaned_data["path"], actor=actor)
    # One byte more than is allowed is enough to refuse it.
    data = upload.read(MOST_UPLOAD_BYTES + 1)
    return request_load_upload(delivery, node=node, data=data, name=upload.name or "", actor=actor)


def _asked(request: PageRequest, delivery: Delivery, form: RefusableForm, ask: Any) -> HttpResponse:
    """Ask for what the form says, or show the page with the form's faults."""
    actor = Actor.person(request.user)
    actor.require(BUILD_IMAGES)
    if form.is_valid():
        try:
            ask(actor)
        except InvalidInputError as error:
            form.add_refusal(error)
        else:
            return _back(delivery)
    return _page(request, delivery, wrong=form)


def _page(request: PageRequest, delivery: Delivery, wrong: RefusableForm | None = None) -> HttpResponse:
    first = push_defaults(delivery)
    forms: dict[str, RefusableForm] = {
        "push_form": PushForm(initial=first, auto_id="push-%s"),
        "save_form": ImageForm(initial=first, auto_id="save-%s"),
        "load_form": LoadForm(initial={"node": first.get("node")}, auto_id="load-%s"),
    }
    for key, form in forms.items():
        if wrong is not None and type(form) is type(wrong):
            wrong.auto_id = form.auto_id
            forms[key] = wrong
    pushed = delivery.transfers.select_related("registry").filter(kind=ImageTransfer.Kind.PUSH, state=Job.State.DONE)
    if latest := pushed.first():
        look(latest)
    context = {**_live(request, delivery), **forms, **step_context(delivery, "push")}
    return render(request, "deployments/delivery_push.html", context, status=422 if wrong is not None else 200)


def _live(request: PageRequest, delivery: Delivery) -> dict[str, Any]:
    may = Actor.person(request.user).may(BUILD_IMAGES)
    transfers = shown_transfers(delivery, here=settings.BERTH_NODE_NAME)
    return {
        "delivery": delivery,
        "transfers": transfers,
        "has_registries": bool(transfers) or Registry.objects.exists(),
        "goes_on": any(each.row.is_live for each in transfers),
        "why_not": "" if may else explain_missing(BUILD_IMAGES),
    }


def _delivery(delivery_id: int) -> Delivery:
    return get_object_or_404(Delivery.objects.select_related("config"), pk=delivery_id)


def _back(delivery: Delivery) -> HttpResponse:
    return SeeOther(reverse("deployments:delivery_push", args=[delivery.pk]))
