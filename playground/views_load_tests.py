"""Load tests: the page with its form and saved runs, one run, and what can be done to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.http import HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from deployments.actors import TRY_MODELS, Actor, explain_missing
from deployments.exceptions import InvalidInputError, NotFoundError
from deployments.views.fragments import PageRequest, for_viewers, wants_fragment

from .loadtests import form
from .loadtests.charting import chart_lines
from .loadtests.presenting import as_csv, as_record
from .modes import modes
from .page_strings import load_strings
from .presenting_load_tests import run_detail, run_rows
from .selectors_load_tests import (
    chosen_load_tests,
    find_load_test,
    live_load_test,
    load_tests_page,
    newest_load_tests,
    testable_configs,
)
from .services import load_tests as services

_MOST_DIGITS = 15


@require_safe
@for_viewers
def load_tests(request: PageRequest) -> HttpResponse:
    """The form, the saved runs and the charts of those chosen; ``?config=`` preselects, ``?run=`` chooses."""
    config = request.GET.get("config", "")
    if wants_fragment(request) and request.GET.get("part") == "form":
        return render(request, "playground/load_form.html", _form(request, form.begin_with(config)))
    context = _runs(request, config)
    if wants_fragment(request):
        return render(request, "playground/load_runs.html", context)
    return render(request, "playground/load_tests.html", {**context, **_form(request, form.begin_with(config))})


@require_http_methods(["GET", "HEAD", "POST"])
@for_viewers
def begin(request: PageRequest) -> HttpResponseBase:
    """Begin a load test; leads to its page."""
    if request.method != "POST":
        return redirect("playground:load_tests")
    written = form.written_in(request.POST.dict())
    try:
        test = services.begin_load_test(
            written["config"],
            actor=Actor.person(request.user),
            settings=form.read_form(written),
            targets=form.read_targets(written),
            with_smoke=written["smoke"] == "on",
        )
    except InvalidInputError as error:
        if wants_fragment(request):
            raise
        context = {**_runs(request, written["config"]), **_form(request, written), "problem": str(error)}
        return render(request, "playground/load_tests.html", context, status=422)
    return _to(request, "playground:load_test", test.pk)


@require_safe
@for_viewers
def load_test(request: PageRequest, pk: int) -> HttpResponse:
    """One run: its levels, its charts, what went wrong."""
    context = _run(request, pk)
    return render(
        request, "playground/load_run.html" if wants_fragment(request) else "playground/load_test.html", context
    )


@require_POST
@for_viewers
def cancel(request: PageRequest, pk: int) -> HttpResponseBase:
    """End it; what was measured is kept."""
    if not services.cancel_load_test(pk, actor=Actor.person(request.user)):
        messages.info(request, _("This load test has ended already."))
    if wants_fragment(request):
        return render(request, "playground/load_run.html", {**_run(request, pk), "with_messages": True})
    return _to(request, "playground:load_test", pk)


@require_POST
@for_viewers
def delete(request: PageRequest, pk: int) -> HttpResponseBase:
    """Delete a run."""
    test = find_load_test(pk)
    services.delete_load_test(pk, actor=Actor.person(request.user))
    messages.success(
        request, _("Load test %(number)s of %(config)s is deleted.") % {"number": pk, "config": test.config}
    )
    return _to(request, "playground:load_tests")


@require_safe
@for_viewers
def export(request: PageRequest, kind: str) -> HttpResponseBase:
    """The runs of ``?run=`` as JSON, or as CSV with a line a level."""
    tests = chosen_load_tests(_numbers(request))
    response: HttpResponse
    if kind == "csv":
        response = HttpResponse(as_csv(tests), content_type="text/csv; charset=utf-8")
    elif kind == "json":
        content = {"load_tests": [as_record(test) for test in tests]}
        response = JsonResponse(content, json_dumps_params={"ensure_ascii": False, "indent": 1})
    else:
        raise NotFoundError(_("Load tests are exported as CSV (csv) and as JSON (json)."))
    response.headers["Content-Disposition"] = f'attachment; filename="load-tests.{kind}"'
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _runs(request: PageRequest, config: str) -> dict[str, Any]:
    page = load_tests_page(config, request.GET.get("page"))
    # Nothing chosen yet is another thing than everything taken out of the choice.
    has_chosen = "chosen" in request.GET or "run" in request.GET
    chosen = chosen_load_tests(_numbers(request)) if has_chosen else newest_load_tests(page.object_list)
    numbers = [test.pk for test in chosen]
    return {
        "config": config,
        "page": page,
        "rows": run_rows(page.object_list, chosen=numbers),
        "lines": json.dumps(chart_lines(chosen)),
        "legend": run_rows(chosen, chosen=numbers),
        "is_live": any(test.is_live for test in page.object_list),
        "export_query": urlencode({"run": numbers}, doseq=True),
        "strings": load_strings(),
        "modes": modes("playground:load_tests"),
    }


def _run(request: PageRequest, pk: int) -> dict[str, Any]:
    test = find_load_test(pk)
    may_send = Actor.person(request.user).may(TRY_MODELS)
    return {
        "test": test,
        "detail": run_detail(test),
        "lines": json.dumps(chart_lines([test])),
        "legend": run_rows([test], chosen=[]),
        "strings": load_strings(),
        "modes": modes("playground:load_tests"),
        "why_not": "" if may_send else explain_missing(TRY_MODELS),
    }


def _form(request: PageRequest, written: Mapping[str, str]) -> dict[str, Any]:
    may_send = Actor.person(request.user).may(TRY_MODELS)
    configs = testable_configs()
    chosen = next(
        (each for each in configs if each.target.config == written["config"]), configs[0] if configs else None
    )
    live = None if chosen is None else live_load_test(chosen.target.config)
    return {
        "configs": configs,
        "asked": chosen,
        "live": live,
        "wanted": written["config"],
        "written": written,
        "numbers": form.number_fields(written, is_more=False),
        "more_numbers": form.number_fields(written, is_more=True),
        "targets": form.target_fields(written),
        "why_not": "" if may_send else explain_missing(TRY_MODELS),
    }


def _numbers(request: PageRequest) -> list[int]:
    texts = request.GET.getlist("run")
    return [int(text) for text in texts if text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS]


def _to(request: PageRequest, name: str, *arguments: int) -> HttpResponseBase:
    """Another page; htmx follows by itself only what it is told in a header."""
    response = redirect(name, *arguments)
    if wants_fragment(request):
        return HttpResponse(headers={"HX-Redirect": response.headers["Location"]})
    response.status_code = 303
    return response
