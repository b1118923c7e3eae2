"""Where Ctrl-K leads: pages, configs, live deployments, and a person's newest conversations."""

from __future__ import annotations

from typing import TypedDict

from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _

from deployments.models import Config
from deployments.selectors import live_deployments
from deployments.views.fragments import PageRequest
from playground.json_views import answers_json
from playground.selectors_chat import conversations_of

from .context import places

#: Conversations that are offered; the playground's own search finds the others.
CONVERSATIONS = 30


class Destination(TypedDict):
    """A line of the palette. ``hint`` says what kind of thing it is."""

    title: str
    hint: str
    url: str
    icon: str


@answers_json
def palette(request: PageRequest) -> object:
    """Every destination: a few hundred short lines, which the page filters itself while one types."""
    return [*_pages(request), *_deployments(), *_configs(), *_conversations(request.user.pk)]


def _pages(request: HttpRequest) -> list[Destination]:
    return [Destination(title=place.title, hint=_("page"), url=place.url, icon=place.icon) for place in places(request)]


def _deployments() -> list[Destination]:
    return [
        Destination(
            title=f"{run.config.name} #{run.pk}",
            hint=_("deployment · %(phase)s") % {"phase": run.get_phase_display()},
            url=reverse("deployments:detail", args=[run.pk]),
            icon="stack-2",
        )
        for run in live_deployments()
    ]


def _configs() -> list[Destination]:
    rows = Config.objects.filter(archived_at=None, is_draft=False).order_by("name").values_list("name", "model__name")
    return [
        Destination(
            title=name,
            hint=_("config · %(model)s") % {"model": model},
            url=reverse("deployments:config", args=[name]),
            icon="list-details",
        )
        for name, model in rows
    ]


def _conversations(user_id: int) -> list[Destination]:
    return [
        Destination(
            title=str(conversation),
            hint=_("conversation"),
            url=reverse("playground:conversation", args=[conversation.pk]),
            icon="message-2",
        )
        for conversation in conversations_of(user_id)[:CONVERSATIONS]
    ]
