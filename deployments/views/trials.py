"""The step Trial of a delivery: its draft, its runs, two of them compared, and the way into the catalogue."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from deployments.actors import BUILD_IMAGES, Actor, explain_missing
from deployments.config_values import ConfigValues
from deployments.deliveries.steps import step_context
from deployments.deliveries.trial_form import TrialForm
from deployments.deliveries.trials import Trial, compared, trials
from deployments.exceptions import BerthError, InvalidInputError, NotAllowedError
from deployments.models import Config, Delivery
from deployments.services.deliveries import find_delivery
from deployments.services.trials import make_draft, publish, try_out

from .catalogue_editor import SeeOther
from .fragments import PageRequest, for_viewers, polled, wants_fragment


@require_http_methods(["GET", "HEAD", "POST"])
@for_viewers
def delivery_trial(request: PageRequest, delivery_id: int) -> HttpResponse:
    """The step; POST starts a trial with what was typed. ``?compare=A&compare=B`` shows two runs beside each other."""
    delivery = find_delivery(delivery_id)
    config = Config.objects.select_related("model").filter(deliveries=delivery).first()
    if request.method == "POST" and config is not None:
        form = TrialForm(request.POST)
        if form.is_valid() and _started(request, delivery, form):
            return SeeOther(_address(delivery))
        return _show(request, delivery, config, form, status=422)
    initial = TrialForm.initial_of(ConfigValues.of(config)) if config else {}
    return _show(request, delivery, config, TrialForm(initial=initial))


@require_POST
@for_viewers
def trial_draft(request: PageRequest, delivery_id: int) -> HttpResponse:
    """Make the draft."""
    delivery = find_delivery(delivery_id)
    try:
        make_draft(delivery, actor=Actor.person(request.user))
    except NotAllowedError:
        raise
    except BerthError as error:
        messages.error(request, str(error))
    return SeeOther(_address(delivery))


@require_POST
@for_viewers
def trial_publish(request: PageRequest, delivery_id: int, deployment_id: int) -> HttpResponse:
    """Put the values of a good run into the catalogue."""
    delivery = find_delivery(delivery_id)
    try:
        config = publish(delivery, deployment_id, actor=Actor.person(request.user))
    except NotAllowedError:
        raise
    except BerthError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("“%(name)s” is in the catalogue.") % {"name": config.name})
    return SeeOther(_address(delivery))


def _started(request: PageRequest, delivery: Delivery, form: TrialForm) -> bool:
    values = form.cleaned_data
    try:
        started = try_out(
            delivery,
            actor=Actor.person(request.user),
            image=values["image"],
            arguments=tuple(values["arguments"]),
            environment=values["environment"],
            pins=form.pins,
        )
    except NotAllowedError:
        raise
    except InvalidInputError as error:
        form.add_refusal(error)
        return False
    except BerthError as error:
        form.add_error(None, str(error))
        return False
    messages.success(request, _("Deployment %(number)d starts.") % {"number": started.deployment.pk})
    return True


def _show(
    request: PageRequest, delivery: Delivery, config: Config | None, form: TrialForm, *, status: int = 200
) -> HttpResponse:
    found = trials(delivery)
    chosen = [int(each) for each in request.GET.getlist("compare")[:2] if each.isdecimal()]
    context: dict[str, Any] = {
        **step_context(delivery, "trial"),
        "config": config,
        "form": form,
        "trials": found,
        "live": next((trial for trial in found if trial.deployment.is_live), None),
        "comparison": compared(found, *chosen) if len(chosen) == 2 else None,
        "chosen": chosen,
        "publishes": _good_and_other(found, config),
        "is_fragment": wants_fragment(request),
        "why_not": "" if Actor.person(request.user).may(BUILD_IMAGES) else explain_missing(BUILD_IMAGES),
    }
    if wants_fragment(request):
        return polled(request, "deployments/trial_runs.html", context, goes_on=context["live"] is not None)
    return render(request, "deployments/delivery_trial.html", context, status=status)


def _good_and_other(found: list[Trial], config: Config | None) -> set[int]:
    """The deployments whose values may go into the catalogue and are not there yet."""
    if config is None:
        return set()
    published = None if config.is_draft else ConfigValues.of(config)
    return {trial.deployment.pk for trial in found if trial.is_good and trial.values != published}


def _address(delivery: Delivery) -> str:
    return reverse("deployments:delivery_trial", args=[delivery.pk])
