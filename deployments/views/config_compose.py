"""A config from a Compose file, and a Compose file from a config."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from deployments.compose.importing import ComposeFile, propose
from deployments.compose.proposal import Proposal
from deployments.compose.writing import config_as_compose
from deployments.config_values import ConfigValues
from deployments.exceptions import ComposeError
from deployments.forms import ConfigForm
from deployments.forms_compose import ComposeForm
from deployments.presentation.compose import import_view
from deployments.selectors_catalogue import find_any_config, known_models

from .catalogue_editor import NEW_CONFIG, show_config_form
from .fragments import PageRequest, editor_of, for_viewers


@require_http_methods(["GET", "HEAD", "POST"])
@for_viewers
def config_compose(request: PageRequest) -> HttpResponse:
    """Takes a file, shows what a service of it would be as a config, and opens the form with that. Saves nothing."""
    editor_of(request)
    form = ComposeForm(request.POST or None, request.FILES or None)
    if not form.is_bound or not form.is_valid() or form.file is None:
        return _page(request, {"form": form}, status=422 if form.is_bound else 200)
    models = known_models()
    try:
        proposal = propose(form.file, form.chosen, models=models, known_secrets=settings.BERTH_SECRET_NAMES)
    except ComposeError as error:
        form.add_error("text", str(error))
        return _page(request, {"form": form, "file": form.file, "chosen": form.chosen}, status=422)
    view = import_view(proposal, models=models.names)
    if request.POST.get("step") == "open":
        filled = ConfigForm(initial=_initial(proposal), models=list(models.names))
        return show_config_form(request, filled, {"imported": view}, status=200)
    return _page(request, {"form": form, "file": form.file, "chosen": form.chosen, "result": view}, status=200)


def _page(request: PageRequest, context: dict[str, Any], *, status: int) -> HttpResponse:
    file: ComposeFile | None = context.get("file")
    context["services"] = file.services if file else ()
    return render(request, "deployments/compose_import.html", context, status=status)


def _initial(proposal: Proposal) -> dict[str, Any]:
    """What the form begins with. Fields that nobody could tell have what a new config has."""
    comment = _("From a Compose file, service %(service)s") % {"service": proposal.service}
    unsaid = {"concurrent_requests": 1, **({} if proposal.values.get("gpus") else {"memory_gib": 0})}
    values = {**NEW_CONFIG, **unsaid, **proposal.values}
    return {**ConfigForm.initial_from(values), "name": proposal.name, "comment": comment[:200]}


@require_safe
@for_viewers
def config_compose_file(request: PageRequest, name: str) -> HttpResponse:
    """The config as a Compose file to keep. Secrets are references in it."""
    config = find_any_config(name)
    text = config_as_compose(
        config.name, ConfigValues.of(config), origin=f"Config {config.name}, revision {config.revision}"
    )
    response = HttpResponse(text, content_type="application/yaml; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{config.name}.compose.yaml"'
    return response
