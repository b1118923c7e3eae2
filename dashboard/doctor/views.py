"""The doctor's page: the last report of each node, and a button to look again."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from deployments.actors import Actor
from deployments.models import Node
from deployments.views.fragments import PageRequest, for_viewers, wants_fragment

from .asking import ask_for_examination
from .examination import last_report
from .findings import Report
from .words import Line, line, state_word


@dataclass(frozen=True, kw_only=True)
class Examined:
    """A node with its last report in words; ``lines`` is empty when it was never examined."""

    node: Node
    report: Report | None
    lines: tuple[Line, ...]
    summary: str


@require_safe
@for_viewers
def doctor(request: PageRequest) -> HttpResponse:
    """Each node's last report; the list alone for htmx."""
    template = "doctor_reports.html" if wants_fragment(request) else "doctor.html"
    nodes = [_examined(node) for node in Node.objects.order_by("name")]
    return render(request, f"dashboard/{template}", {"nodes": nodes})


@require_POST
@for_viewers
def examine(request: PageRequest, name: str) -> HttpResponse:
    """Ask a node for an examination; its report appears by itself."""
    ask_for_examination(name, actor=Actor.person(request.user))
    messages.success(request, _("“%(node)s” is being examined; the report appears here.") % {"node": name})
    response = redirect("dashboard:doctor")
    response.status_code = 303
    return response


def _examined(node: Node) -> Examined:
    report = last_report(node.name)
    if report is None:
        return Examined(node=node, report=None, lines=(), summary="")
    counts = [f"{count} {state_word(state)}" for state in report.states() if (count := report.count(state))]
    lines = tuple(line(finding) for finding in report.findings)
    return Examined(node=node, report=report, lines=lines, summary=" · ".join(counts))
