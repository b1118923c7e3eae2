"""Runs: the list, one run, and what can be done to it."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from deployments.actors import Actor
from deployments.models import Deployment
from deployments.presentation.gpu_strings import gpu_strings
from deployments.presentation.log_words import attempt_choices, empty_log_words, last_ended
from deployments.presentation.snippets import snippets_for
from deployments.selectors import live_deployments
from deployments.selectors_gpus import run_gpus
from deployments.selectors_pages import RunHistory, past_deployments
from deployments.services.lifecycle import (
    Pins,
    find_deployment,
    replace_deployment,
    restart_deployment,
    start_deployment,
    stop_deployment,
    stop_now,
)

from .fragments import PageRequest, answer_press, for_viewers, head_context, wants_fragment
from .gpus import chosen_range

TABS = ("log", "gpus", "specification", "events")
MOST_DIGITS = 15


@require_safe
@for_viewers
def deployment_list(request: PageRequest) -> HttpResponse:
    """Live runs first, then past ones with paging."""
    template = "list_tables.html" if wants_fragment(request) else "list.html"
    context = {"running": list(live_deployments()), "past": past_deployments(request.GET.get("page"))}
    return render(request, f"deployments/{template}", {**context, "address": request.get_full_path()})


@require_safe
@for_viewers
def list_row(request: PageRequest, deployment_id: int) -> HttpResponse:
    """One live run's row as it is now."""
    return render(request, "deployments/list_row.html", {"deployment": find_deployment(deployment_id)})


@require_safe
@for_viewers
def detail(request: PageRequest, deployment_id: int) -> HttpResponse:
    """One run. ``?part=`` is head, tab, gpus or asking: the parts that refresh by themselves."""
    deployment = find_deployment(deployment_id)
    part = request.GET.get("part") if wants_fragment(request) else None
    if part == "head":
        return render(request, "deployments/detail_head.html", head_context(deployment))
    if part == "asking":
        return render(request, "deployments/detail_asking.html", _asking_context(deployment))
    if part == "gpus":
        return render(request, "deployments/detail_gpus.html", _gpus_context(request, deployment))
    head = head_context(deployment)
    context = {**head, **_tab_context(request, deployment, head["history"]), **_asking_context(deployment)}
    return render(request, "deployments/detail_tab.html" if part == "tab" else "deployments/detail.html", context)


def _asking_context(deployment: Deployment) -> dict[str, Any]:
    spec = deployment.serving_spec()
    return {"deployment": deployment, "spec": spec, "snippets": snippets_for(spec.config, spec.protocol)}


def _tab_context(request: PageRequest, deployment: Deployment, history: RunHistory) -> dict[str, Any]:
    asked = request.GET.get("tab", TABS[0])
    tab = asked if asked in TABS else TABS[0]
    spec = deployment.serving_spec()
    return {
        **(_gpus_context(request, deployment) if tab == "gpus" else {}),
        "strings": gpu_strings(),
        "tab": tab,
        "spec": spec,
        "differs": spec.digest != deployment.config.serving_spec().digest,
        **_log_context(request, deployment, history),
    }


def _gpus_context(request: PageRequest, deployment: Deployment) -> dict[str, Any]:
    return {
        "deployment": deployment,
        "spec": deployment.serving_spec(),
        "own": run_gpus(deployment),
        "range": chosen_range(request),
    }


def _log_context(request: PageRequest, deployment: Deployment, history: RunHistory) -> dict[str, Any]:
    """Which attempt's log is shown: the one asked for, else the newest, and then each one that follows."""
    asked = _number(request.GET.get("attempt", ""))
    number = asked or deployment.attempt
    row = next((item for item in history.attempts if item.number == number), None)
    return {
        "attempt": number,
        "attempt_chosen": asked > 0,
        "attempt_row": row,
        "attempts": attempt_choices(deployment, history.attempts, number),
        "ended_before": None if asked else last_ended(history.attempts, number),
        "empty_log": empty_log_words(row),
        "line": _number(request.GET.get("line", "")),
    }


def _numbers(texts: list[str]) -> tuple[int, ...]:
    """The numbers of a form; what is none is left out."""
    return tuple(int(text) for text in texts if text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS)


def _number(text: str) -> int:
    """A number of an address, 0 for anything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS else 0


@require_POST
@for_viewers
def start(request: PageRequest, name: str) -> HttpResponse:
    """Start a config, where the form says; says so when it runs already."""
    result = start_deployment(
        name,
        actor=Actor.person(request.user),
        pins=Pins(node=request.POST.get("node", ""), gpus=_numbers(request.POST.getlist("gpu"))),
        stop_first=_numbers(request.POST.getlist("stop_first")),
    )
    if not result.created:
        messages.info(request, _("“%(name)s” is running or on its way already.") % {"name": name})
    return answer_press(request, find_deployment(result.deployment.pk))


@require_POST
@for_viewers
def stop(request: PageRequest, deployment_id: int) -> HttpResponse:
    """Stop a run; says so when it has ended, or is ending, already."""
    result = stop_deployment(deployment_id, actor=Actor.person(request.user))
    if not result.changed:
        messages.info(request, _("This run has ended or is being stopped already."))
    return answer_press(request, find_deployment(deployment_id))


@require_POST
@for_viewers
def stop_at_once(request: PageRequest, deployment_id: int) -> HttpResponse:
    """Stop a run without waiting for its requests."""
    stop_now(deployment_id, actor=Actor.person(request.user))
    return answer_press(request, find_deployment(deployment_id))


@require_POST
@for_viewers
def replace(request: PageRequest, deployment_id: int) -> HttpResponse:
    """Start the config's current revision in the place of a run; ``in_place`` makes room for it first."""
    in_place = "1" in {request.POST.get("in_place"), request.GET.get("in_place")}
    new = replace_deployment(deployment_id, actor=Actor.person(request.user), in_place=in_place)
    messages.success(request, _("The replacement, #%(id)s, is on its way.") % {"id": new.pk})
    return answer_press(request, find_deployment(new.pk))


@require_POST
@for_viewers
def restart(request: PageRequest, deployment_id: int) -> HttpResponse:
    """Stop a run and start the same specification again."""
    restart_deployment(deployment_id, actor=Actor.person(request.user))
    return answer_press(request, find_deployment(deployment_id))
