"""The page Usage, whole or as a fragment, and its table as CSV."""

from __future__ import annotations

import csv
from datetime import datetime
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from deployments.views.fragments import PageRequest, for_viewers, wants_fragment

from .selectors_usage import DIMENSIONS, SPANS, UsageQuery, narrowed, usage, usage_choices, usage_lines
from .spreadsheets import harmless
from .usage_charts import charts
from .usage_table import table_rows, tiles

CSV_COLUMNS = (
    "time",
    "name",
    "requests",
    "client_errors",
    "server_errors",
    "prompt_tokens",
    "completion_tokens",
    "first_token_p50_s",
    "first_token_p95_s",
    "duration_mean_s",
)


@require_safe
@for_viewers
def usage_page(request: PageRequest) -> HttpResponse:
    """Charts and a table of what was used; ``?span=&by=&key=&model=&caller=&deployment=`` narrow it."""
    query = UsageQuery.read(request.GET.dict())
    found = usage(query)
    context: dict[str, Any] = {
        "usage": found,
        "charts": charts(found.moments, found.total, query.span) if found.total.requests else [],
        "tiles": tiles(found.total),
        "rows": table_rows(found, lambda value: "?" + _address(narrowed(query, value))),
        "by_title": DIMENSIONS[query.by][2],
        "address": _address(query),
    }
    if wants_fragment(request):
        return render(request, "playground/usage_body.html", context)
    choices = usage_choices()
    context["filters"] = [
        {"name": name, "title": title, "chosen": query.filters.get(name), "choices": choices[name]}
        for name, (_column, _cube, title) in DIMENSIONS.items()
    ]
    context |= {"spans": SPANS.values(), "dimensions": [(name, title) for name, (_c, _q, title) in DIMENSIONS.items()]}
    return render(request, "playground/usage.html", context)


@require_safe
@for_viewers
def usage_csv(request: PageRequest) -> HttpResponse:
    """The same as a file: a line for each hour or day and each model, key, caller or deployment."""
    query = UsageQuery.read(request.GET.dict())
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    name = f"usage-{query.by}-{query.span.name}-{timezone.localdate():%Y-%m-%d}.csv"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    writer = csv.writer(response)
    writer.writerow(CSV_COLUMNS)
    for at, group in usage_lines(query):
        sums = group.sums
        writer.writerow(
            [
                timezone.localtime(at).isoformat() if isinstance(at, datetime) else at.isoformat(),
                harmless(group.name),
                sums.requests,
                sums.client_errors,
                sums.server_errors,
                sums.prompt_tokens,
                sums.completion_tokens,
                *("" if value is None else f"{value:.3f}" for value in (sums.p50_s, sums.p95_s, sums.mean_s)),
            ]
        )
    return response


def _address(query: UsageQuery) -> str:
    return urlencode({"span": query.span.name, "by": query.by, **query.filters})
