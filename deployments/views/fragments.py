"""Whole page or fragment: the one place that decides, and the answers to pressed buttons."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django_htmx.http import HttpResponseStopPolling, trigger_client_event
from django_htmx.middleware import HtmxDetails

from deployments.actors import EDIT_CATALOGUE, Actor
from deployments.models import Deployment
from deployments.presentation.idle_words import idle_words
from deployments.presentation.log_words import exit_words
from deployments.presentation.outlook import outlook_words
from deployments.presentation.timeline import time_to_ready, way_of
from deployments.selectors_pages import catalogue_row, run_history

P = ParamSpec("P")
VIEW = "deployments.view_deployment"


class PageRequest(HttpRequest):
    """A request behind the sign-in, with htmx's details."""

    user: User
    htmx: HtmxDetails


def for_viewers(
    view: Callable[Concatenate[PageRequest, P], HttpResponseBase],
) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
    """Lets only people with a role see ``view``; others get NotAllowedError's sentence."""

    @wraps(view)
    def checked(request: Any, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        Actor.person(request.user).require(VIEW)
        return view(request, *args, **kwargs)

    return checked


def editor_of(request: PageRequest) -> Actor:
    """The person, who must be an editor to see the editor's pages too. Raises NotAllowedError."""
    actor = Actor.person(request.user)
    actor.require(EDIT_CATALOGUE)
    return actor


def wants_fragment(request: PageRequest) -> bool:
    """Whether htmx asks for a part; going back in the history wants the whole page."""
    return bool(request.htmx) and not request.htmx.history_restore_request


def polled(request: PageRequest, template: str, context: dict[str, Any], *, goes_on: bool) -> HttpResponse:
    """A fragment that asks for itself again; once what it shows has ended htmx is told to stop (status 286)."""
    response = render(request, template, context)
    return response if goes_on else HttpResponseStopPolling(response.content)


def answer_press(request: PageRequest, deployment: Deployment) -> HttpResponse:
    """After Start, Stop or Restart: the fragment that the form names in ``shown_in``, with new notices.

    A form that names none gets the notices alone, and the page reloads its live parts. Without htmx: a redirect to
    the run.
    """
    if not wants_fragment(request):
        response = redirect("deployments:detail", deployment.pk)
        response.status_code = 303
        return response
    context_of = _SHOWN_IN.get(request.POST.get("shown_in", ""))
    if context_of is None:
        return trigger_client_event(render(request, "includes/new_messages.html"), "berth:acted", after="swap")
    template, context = context_of(deployment)
    return render(request, template, {**context, "with_messages": True})


def head_context(deployment: Deployment) -> dict[str, Any]:
    """What the head of a run's page shows."""
    history = run_history(deployment)
    way = way_of(history.events)
    return {
        "deployment": deployment,
        "history": history,
        "way": way,
        "time_to_ready": time_to_ready(way, attempt=deployment.attempt),
        "outlook": outlook_words(deployment),
        "exit_words": exit_words(history.attempts[-1]) if history.attempts else "",
        "replaced_by": deployment.replacements.order_by("-pk").first(),
        "idle": idle_words(deployment),
    }


def _catalogue_row(deployment: Deployment) -> tuple[str, dict[str, Any]]:
    return "deployments/catalogue_row.html", {"row": catalogue_row(deployment.config.name)}


def _list_row(deployment: Deployment) -> tuple[str, dict[str, Any]]:
    return "deployments/list_row.html", {"deployment": deployment}


def _head(deployment: Deployment) -> tuple[str, dict[str, Any]]:
    return "deployments/detail_head.html", head_context(deployment)


_SHOWN_IN: dict[str, Callable[[Deployment], tuple[str, dict[str, Any]]]] = {
    "catalogue": _catalogue_row,
    "list": _list_row,
    "head": _head,
}
