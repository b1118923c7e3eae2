"""The steps Test and Report of a delivery."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from deployments.actors import BUILD_IMAGES, Actor, explain_missing
from deployments.deliveries.requirement import Requirement
from deployments.deliveries.steps import step_context
from deployments.exceptions import BerthError, InvalidInputError, NotAllowedError
from deployments.images.settings import ADAPTED_ENGINES
from deployments.models import Config, Delivery
from deployments.services.deliveries import find_delivery
from deployments.views.catalogue_editor import SeeOther
from deployments.views.fragments import PageRequest, for_viewers, polled, wants_fragment

from .deliveries.form import TestForm
from .deliveries.report import report_of
from .deliveries.targets import kind_for, settings_for, targets_of
from .deliveries.testing import first_failure
from .loadtests.charting import chart_lines
from .loadtests.settings import LoadSettings
from .loadtests.words import figure_words, target_words
from .page_strings import load_strings
from .presenting_load_tests import run_detail, run_rows
from .services.image_tests import begin_image_test, cancel_image_test, newest_build

#: Older ones stay in the database.
TESTS_SHOWN = 20


@require_http_methods(["GET", "HEAD", "POST"])
@for_viewers
def test(request: PageRequest, delivery_id: int) -> HttpResponse:
    """The form, the newest test (or ``?test=ID``) as it goes, and those before; POST begins one."""
    delivery = find_delivery(delivery_id)
    config = Config.objects.filter(deliveries=delivery).first()
    form = TestForm(request.POST or None, initial=_initial(delivery, config))
    if request.method == "POST" and config is not None and form.is_valid() and _begun(request, delivery, config, form):
        return SeeOther(reverse("playground:delivery_test", args=[delivery.pk]))
    context = _context(request, delivery, config, form)
    if wants_fragment(request):
        shown = context["shown"]
        return polled(request, "playground/image_test.html", context, goes_on=shown is not None and shown.is_live)
    return render(request, "playground/delivery_test.html", context, status=422 if form.errors else 200)


@require_POST
@for_viewers
def cancel(request: PageRequest, delivery_id: int, test_id: int) -> HttpResponse:
    """End a test; what it started is stopped."""
    delivery = find_delivery(delivery_id)
    if not cancel_image_test(delivery, test_id, actor=Actor.person(request.user)):
        messages.info(request, _("This test has ended already."))
    return SeeOther(reverse("playground:delivery_test", args=[delivery.pk]))


@require_safe
@for_viewers
def report(request: PageRequest, delivery_id: int) -> HttpResponse:
    """Everything about a delivery on one page, fit to print."""
    delivery = find_delivery(delivery_id)
    context = {**step_context(delivery, "report"), "report": report_of(delivery)}
    return render(request, "playground/delivery_report.html", context)


@require_safe
@for_viewers
def report_text(request: PageRequest, delivery_id: int) -> HttpResponse:
    """The same as Markdown, to keep or send."""
    delivery = find_delivery(delivery_id)
    response = render(
        request,
        "playground/delivery_report.md",
        {"delivery": delivery, "report": report_of(delivery)},
        content_type="text/markdown; charset=utf-8",
    )
    response.headers["Content-Disposition"] = f'attachment; filename="{delivery.name}.md"'
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _begun(request: PageRequest, delivery: Delivery, config: Config, form: TestForm) -> bool:
    try:
        settings = form.settings(_usual(delivery, config))
        begin_image_test(delivery, settings, actor=Actor.person(request.user))
    except NotAllowedError:
        raise
    except InvalidInputError as error:
        form.add_refusal(error)
        return False
    except BerthError as error:
        form.add_error(None, str(error))
        return False
    return True


def _usual(delivery: Delivery, config: Config) -> LoadSettings:
    requirement = Requirement.from_json(delivery.requirement)
    kind = kind_for(requirement, config.protocol, config.engine)
    return settings_for(requirement, kind=kind, direct=config.engine not in ADAPTED_ENGINES)


def _initial(delivery: Delivery, config: Config | None) -> dict[str, Any]:
    return {} if config is None else TestForm.initial_of(_usual(delivery, config))


def _context(request: PageRequest, delivery: Delivery, config: Config | None, form: TestForm) -> dict[str, Any]:
    found = list(delivery.image_tests.select_related("node", "load_test__node", "deployment")[:TESTS_SHOWN])
    wanted = request.GET.get("test", "")
    shown = next((each for each in found if str(each.pk) == wanted), found[0] if found else None)
    load = None if shown is None else shown.load_test
    targets = targets_of(Requirement.from_json(delivery.requirement))
    return {
        **step_context(delivery, "test"),
        "config": config,
        "form": form,
        "build": newest_build(delivery),
        "tests": found,
        "shown": shown,
        "failure": "" if shown is None or shown.passed is not False else first_failure(shown),
        "load": load,
        "detail": None if load is None else run_detail(load),
        "lines": json.dumps(chart_lines([] if load is None else [load])),
        "legend": run_rows([] if load is None else [load], chosen=[]),
        "strings": load_strings(),
        "targets": [(target_words(name), figure_words(value, 6)) for name, value in targets.items()],
        "is_fragment": wants_fragment(request),
        "why_not": "" if Actor.person(request.user).may(BUILD_IMAGES) else explain_missing(BUILD_IMAGES),
    }
