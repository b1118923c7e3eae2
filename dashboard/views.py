"""The overview and the activity page."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from deployments.presentation.gpu_strings import gpu_strings
from deployments.selectors_gpus import gpu_fleet
from deployments.selectors_pages import AuditQuery, audit_actions, audit_actors, audit_rows, fleet
from deployments.views.fragments import PageRequest, for_viewers, wants_fragment


@require_safe
@for_viewers
def overview(request: PageRequest) -> HttpResponse:
    """The fleet, what needs attention, what runs."""
    template = "overview_body.html" if wants_fragment(request) else "overview.html"
    seen = fleet()
    context = {"fleet": seen, "gpus": gpu_fleet(seen.nodes)}
    return render(request, f"dashboard/{template}", {**context, "strings": gpu_strings()})


@require_safe
@for_viewers
def activity(request: PageRequest) -> HttpResponse:
    """Who changed what, when; narrowed by actor, action and target."""
    asked = {name: request.GET.get(name, "").strip()[:200] for name in ("actor", "action", "target")}
    context = {"query": asked, "rows": audit_rows(AuditQuery(**asked), request.GET.get("page"))}
    if wants_fragment(request):
        return render(request, "dashboard/activity_table.html", context)
    lists = {"actors": list(audit_actors()), "actions": list(audit_actions())}
    return render(request, "dashboard/activity.html", {**context, **lists})
