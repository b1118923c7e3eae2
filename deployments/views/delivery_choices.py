"""The steps in which a person decides: the requirement and the tool."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from deployments.actors import BUILD_IMAGES, Actor, explain_missing
from deployments.deliveries.forms import RequirementForm
from deployments.deliveries.quantisations import KNOWN
from deployments.deliveries.requirement import Requirement
from deployments.deliveries.steps import step_context
from deployments.exceptions import InvalidInputError
from deployments.models import Delivery
from deployments.selectors_deliveries import known_gpus, known_models
from deployments.services.deliveries import change_requirement, find_delivery

from .catalogue_editor import SeeOther
from .deliveries import builder_of
from .fragments import PageRequest, for_viewers


def why_not(delivery: Delivery, request: PageRequest) -> str:
    """Why the person may not change this delivery now; empty when they may."""
    if not Actor.person(request.user).may(BUILD_IMAGES):
        return explain_missing(BUILD_IMAGES)
    if delivery.closed_at is not None:
        return _("“%(name)s” is closed. Open it again before you change it.") % {"name": delivery.name}
    return ""


@require_http_methods(["GET", "HEAD", "POST"])
@for_viewers
def requirement(request: PageRequest, delivery_id: int) -> HttpResponse:
    """What is asked for: shown to everybody, written by editors."""
    delivery = find_delivery(delivery_id)
    gpus, models = known_gpus(), known_models()
    wanted = Requirement.from_json(delivery.requirement)
    initial = RequirementForm.initial_of(wanted)
    form = RequirementForm(request.POST or None, initial=initial, gpus_known=gpus, models_known=models)
    if request.method == "POST":
        actor = builder_of(request)
        if form.is_valid():
            try:
                changed = change_requirement(delivery_id, form.requirement, actor=actor)
            except InvalidInputError as error:
                form.add_refusal(error)
            else:
                messages.success(request, _("Saved the requirement.") if changed else _("Nothing was changed."))
                return SeeOther(reverse("deployments:delivery_requirement", args=[delivery_id]))
    context = {
        **step_context(delivery, "requirement"),
        "form": form,
        "gpus": gpus,
        "models": models,
        "quantisations": KNOWN,
        "why_not": why_not(delivery, request),
    }
    return render(request, "deployments/delivery_requirement.html", context, status=422 if form.errors else 200)
