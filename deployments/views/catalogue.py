"""The catalogue's table: what ops staff work from."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from deployments.presentation.filters import CatalogueQuery
from deployments.selectors_catalogue import removed_configs
from deployments.selectors_pages import catalogue_page, catalogue_row

from .fragments import PageRequest, for_viewers, wants_fragment


@require_safe
@for_viewers
def catalogue(request: PageRequest) -> HttpResponse:
    """The table, searched and filtered by GET parameters, and removed configs below; htmx gets these alone."""
    page = catalogue_page(CatalogueQuery.from_params(request.GET))
    template = "catalogue_table.html" if wants_fragment(request) else "catalogue.html"
    context = {"page": page, "removed": removed_configs(), "address": request.get_full_path()}
    return render(request, f"deployments/{template}", context)


@require_safe
@for_viewers
def row(request: PageRequest, name: str) -> HttpResponse:
    """One row as it is now."""
    return render(request, "deployments/catalogue_row.html", {"row": catalogue_row(name)})
