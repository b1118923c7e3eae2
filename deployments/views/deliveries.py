"""Deliveries: their list with the form for a new one, and closing and deleting one."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from deployments.actors import BUILD_IMAGES, Actor, explain_missing
from deployments.deliveries.forms import DeliveryForm
from deployments.deliveries.steps import next_step, step_states
from deployments.exceptions import InvalidInputError
from deployments.selectors_deliveries import delivery_rows
from deployments.services.deliveries import (
    close_delivery,
    create_delivery,
    delete_delivery,
    find_delivery,
    reopen_delivery,
)

from .catalogue_editor import SeeOther
from .fragments import PageRequest, for_viewers


def builder_of(request: PageRequest) -> Actor:
    """The person, who must be allowed to deliver images. Raises NotAllowedError."""
    actor = Actor.person(request.user)
    actor.require(BUILD_IMAGES)
    return actor


@require_http_methods(["GET", "HEAD", "POST"])
@for_viewers
def delivery_list(request: PageRequest) -> HttpResponse:
    """Every delivery with its steps; the form begins one."""
    form = DeliveryForm(request.POST or None)
    if request.method == "POST":
        actor = builder_of(request)
        if form.is_valid():
            try:
                made = create_delivery(**form.cleaned_data, actor=actor)
            except InvalidInputError as error:
                form.add_refusal(error)
            else:
                return SeeOther(reverse("deployments:delivery", args=[made.pk]))
    page, rows = delivery_rows(request.GET.get("page"))
    actor = Actor.person(request.user)
    context = {
        "form": form,
        "page": page,
        "rows": rows,
        "why_not": "" if actor.may(BUILD_IMAGES) else explain_missing(BUILD_IMAGES),
    }
    return render(request, "deployments/deliveries.html", context, status=422 if form.errors else 200)


@require_safe
@for_viewers
def delivery(request: PageRequest, delivery_id: int) -> HttpResponse:
    """Leads to the step where one goes on."""
    step = next_step(step_states(find_delivery(delivery_id)))
    return redirect(step.url or "deployments:deliveries")


@require_POST
@for_viewers
def close(request: PageRequest, delivery_id: int) -> HttpResponse:
    """End a delivery."""
    close_delivery(delivery_id, actor=builder_of(request))
    messages.success(request, _("Closed the delivery."))
    return SeeOther(reverse("deployments:delivery", args=[delivery_id]))


@require_POST
@for_viewers
def reopen(request: PageRequest, delivery_id: int) -> HttpResponse:
    """Let a closed delivery change again."""
    reopen_delivery(delivery_id, actor=builder_of(request))
    messages.success(request, _("The delivery is open again."))
    return SeeOther(reverse("deployments:delivery", args=[delivery_id]))


@require_POST
@for_viewers
def delete(request: PageRequest, delivery_id: int) -> HttpResponse:
    """Delete a delivery with its history."""
    delete_delivery(delivery_id, actor=builder_of(request))
    messages.success(request, _("Deleted the delivery."))
    return SeeOther(reverse("deployments:deliveries"))
