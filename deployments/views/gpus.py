"""The GPUs of every node, live."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from deployments.gpu_history import CHARTED
from deployments.models import Node
from deployments.presentation.gpu_strings import gpu_strings
from deployments.selectors_gpus import gpu_fleet, run_counts

from .fragments import PageRequest, for_viewers, wants_fragment

DEFAULT_RANGE = "15m"


@require_safe
@for_viewers
def gpus(request: PageRequest) -> HttpResponse:
    """Tiles, charts and processes; ``?kiosk`` is for a wall screen, ``?range`` one of the history's."""
    is_kiosk = request.GET.get("kiosk", "0") != "0"
    context = {
        "gpus": gpu_fleet(list(Node.objects.all())),
        "counts": run_counts(),
        "kiosk": is_kiosk,
        "range": chosen_range(request),
    }
    if wants_fragment(request):
        return render(request, "deployments/gpus_body.html", context)
    return render(request, "deployments/gpus.html", {**context, "strings": gpu_strings()})


def chosen_range(request: PageRequest) -> str:
    """The range of the charts that the address names, else the shortest."""
    asked = request.GET.get("range", "")
    return asked if asked in CHARTED else DEFAULT_RANGE
