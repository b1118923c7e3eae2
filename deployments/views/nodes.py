"""The nodes: what each has, what it holds, and taking one out of use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from deployments.actors import Actor
from deployments.gpu_memory import lift_quarantine, quarantine_sentence
from deployments.gpu_reasons import in_words
from deployments.models import Node
from deployments.placement.preview import DrawnGpu, nodes_with_gpus
from deployments.placement.situation import Fleet
from deployments.presentation.placement import node_words
from deployments.presentation.states import silent_since
from deployments.services.nodes import set_maintenance

from .fragments import PageRequest, for_viewers, wants_fragment


@dataclass(frozen=True, kw_only=True)
class ShownNode:
    """A node as the page shows it; ``has`` is what it has, in a few words, and ``reason`` says why it has no GPUs.

    ``quarantined`` are GPUs that nothing new is put on, each with the sentence why.
    """

    node: Node
    gpus: list[DrawnGpu]
    quarantined: list[tuple[DrawnGpu, str]]
    silent_since: object
    reason: str
    has: Sequence[str]


@require_safe
@for_viewers
def node_list(request: PageRequest) -> HttpResponse:
    """Every node; the list alone for htmx."""
    fleet = Fleet()
    now = timezone.now()
    shown = []
    for node, gpus in nodes_with_gpus(fleet):
        reading = fleet.reading(node)
        shown.append(
            ShownNode(
                node=node,
                gpus=gpus,
                quarantined=_quarantined(gpus, fleet.quarantines(node)),
                silent_since=silent_since(node, now),
                reason=in_words(reading.reason) if reading else "",
                has=node_words(node, reading, [drawn.gpu for drawn in gpus]),
            )
        )
    template = "node_list.html" if wants_fragment(request) else "nodes.html"
    return render(request, f"deployments/{template}", {"nodes": shown, "any_gpu": any(each.gpus for each in shown)})


def _quarantined(gpus: list[DrawnGpu], params: Mapping[str, Mapping[str, Any]]) -> list[tuple[DrawnGpu, str]]:
    held = (drawn for drawn in gpus if drawn.gpu.uuid in params)
    return [(drawn, quarantine_sentence(params[drawn.gpu.uuid])) for drawn in held]


@require_POST
@for_viewers
def maintenance(request: PageRequest, name: str) -> HttpResponse:
    """Let a node take nothing new (``on`` is 1), or again."""
    on = request.POST.get("on") == "1"
    set_maintenance(name, actor=Actor.person(request.user), on=on, note=request.POST.get("note", "").strip())
    return _back()


@require_POST
@for_viewers
def lift(request: PageRequest, name: str, uuid: str) -> HttpResponse:
    """Let a quarantined GPU be used again."""
    node = get_object_or_404(Node, name=name)
    if not lift_quarantine([uuid], node, actor=Actor.person(request.user)):
        messages.info(request, _("This GPU is not quarantined any more."))
    return _back()


def _back() -> HttpResponse:
    response = redirect("deployments:nodes")
    response.status_code = 303
    return response
