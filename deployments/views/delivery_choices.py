"""The steps in which a person decides: the requirement and the tool."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from deployments.actors import BUILD_IMAGES, Actor, explain_missing
from deployments.deliveries.forms import RequirementForm, ToolForm
from deployments.deliveries.quantisations import KNOWN
from deployments.deliveries.requirement import Requirement
from deployments.deliveries.steps import step_context
from deployments.deliveries.support import support_table
from deployments.deliveries.tools import recommend
from deployments.exceptions import InvalidInputError
from deployments.models import Delivery
from deployments.presentation.delivery_tools import shown_tools
from deployments.selectors_deliveries import known_gpus, known_models, weights_licences
from deployments.services.deliveries import change_requirement, choose_tool, find_delivery

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


@require_http_methods(["GET", "HEAD", "POST"])
@for_viewers
def tool(request: PageRequest, delivery_id: int) -> HttpResponse:
    """The tools, ranked with reasons; an editor chooses."""
    delivery = find_delivery(delivery_id)
    form = ToolForm(request.POST or None, initial={"tool": delivery.tool, "reason": delivery.tool_reason})
    if request.method == "POST":
        actor = builder_of(request)
        if form.is_valid():
            try:
                choose_tool(delivery_id, form.cleaned_data["tool"], reason=form.cleaned_data["reason"], actor=actor)
            except InvalidInputError as error:
                form.add_refusal(error)
            else:
                messages.success(request, _("Kept your choice."))
                return SeeOther(reverse("deployments:delivery_tool", args=[delivery_id]))
    wanted = Requirement.from_json(delivery.requirement)
    context = {
        **step_context(delivery, "tool"),
        "form": form,
        "wanted": wanted if delivery.requirement else None,
        "tools": shown_tools(recommend(wanted, support_table())) if delivery.requirement else [],
        "licences": weights_licences(wanted) if delivery.requirement else [],
        "why_not": why_not(delivery, request),
    }
    return render(request, "deployments/delivery_tool.html", context, status=422 if form.errors else 200)
