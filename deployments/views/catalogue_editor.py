"""One config: its page, and adding, editing, copying, removing and restoring it."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from deployments.actors import Actor
from deployments.config_agreement import agreement_warnings
from deployments.config_items import Problem
from deployments.config_values import ConfigValues, field_label
from deployments.engines import engine_named, engine_names
from deployments.exceptions import ConflictError, InvalidInputError
from deployments.forms import ConfigForm, capitalised
from deployments.models import Config, Deployment
from deployments.placement.preview import Preview, preview_placement
from deployments.presentation.editing import editing_actions
from deployments.preview import preview_run
from deployments.revisions import diff_values
from deployments.selectors import live_deployments
from deployments.selectors_catalogue import (
    changes_since,
    config_revisions,
    config_runs,
    find_any_config,
    model_names,
)
from deployments.selectors_memory import config_memory
from deployments.services.catalogue import (
    SaveResult,
    archive_config,
    create_config,
    restore_config,
    save_config,
)

from .fragments import PageRequest, editor_of, for_viewers, wants_fragment


class SeeOther(HttpResponseRedirect):
    """After a POST: the browser gets the other address, whatever method it used."""

    status_code = 303


@require_safe
@for_viewers
def config_page(request: PageRequest, name: str) -> HttpResponse:
    """What would run and where, what ran, and every revision; htmx gets state and runs, or ``?part=placement``.

    ``node`` and ``gpu`` are what somebody is choosing for a start: the placement follows.
    """
    config = find_any_config(name)
    if wants_fragment(request) and request.GET.get("part") == "placement":
        placement = _placement(request, config, live_deployments().filter(config=config).first())
        return render(request, "deployments/config_placement.html", {"config": config, "placement": placement})
    runs = config_runs(config)
    state = {"config": config, "state": runs}
    if wants_fragment(request):
        return render(request, "deployments/config_state.html", state)
    values = ConfigValues.of(config)
    context = {
        **state,
        "preview": preview_run(config.serving_spec(), secrets=_set_secrets()),
        "warnings": [_with_label(warning) for warning in agreement_warnings(values)],
        "memory": config_memory(config),
        "placement": _placement(request, config, next(iter(runs.live), None)),
        "revisions": config_revisions(config),
        "editing": editing_actions(config, Actor.person(request.user)),
    }
    return render(request, "deployments/config.html", context)


def _placement(request: PageRequest, config: Config, running: Deployment | None) -> Preview:
    """Where it would go, with the node and GPUs that somebody is choosing; a run that there is already has chosen."""
    chosen = request.GET if running is None else QueryDict()
    gpus = [int(text) for text in chosen.getlist("gpu") if text.isdecimal()]
    return preview_placement(config, node=chosen.get("node", ""), gpus=gpus, running=running)


@require_http_methods(["GET", "HEAD", "POST"])
@for_viewers
def config_new(request: PageRequest) -> HttpResponse:
    """An empty form; saving it makes the config's first revision."""
    actor = editor_of(request)
    initial = {"model": request.GET.get("model", ""), **NEW_CONFIG}
    return _create(request, actor, initial=initial, context={})


@require_http_methods(["GET", "HEAD", "POST"])
@for_viewers
def config_copy(request: PageRequest, name: str) -> HttpResponse:
    """The form filled with another config's values; saving it makes a config of its own."""
    actor = editor_of(request)
    source = find_any_config(name)
    initial = {**ConfigForm.initial_of(ConfigValues.of(source)), "name": f"{source.name}-copy"}
    return _create(request, actor, initial=initial, context={"source": source})


#: What a new config begins with.
NEW_CONFIG = {"runtime": "docker", "load_timeout_s": 900, "grace_s": 20, "max_attempts": 3, "gpus": 1}


def _create(request: PageRequest, actor: Actor, *, initial: dict[str, Any], context: dict[str, Any]) -> HttpResponse:
    form = ConfigForm(request.POST or None, initial=initial, models=model_names())
    if request.method == "POST" and form.is_valid():
        source: Config | None = context.get("source")
        try:
            result = create_config(
                form.cleaned_data["name"],
                form.values,
                actor=actor,
                comment=form.cleaned_data["comment"],
                copied_from=source.name if source else "",
            )
        except InvalidInputError as error:
            form.add_refusal(error)
        else:
            return _saved(request, form, result)
    return show_config_form(request, form, context, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@for_viewers
def config_edit(request: PageRequest, name: str) -> HttpResponse:
    """The form; what was typed comes back whenever it cannot be saved."""
    actor = editor_of(request)
    config = find_any_config(name)
    context: dict[str, Any] = {"config": config}
    initial = {**ConfigForm.initial_of(ConfigValues.of(config)), "base_revision": config.revision}
    form = ConfigForm(request.POST or None, initial=initial, models=model_names(), fixed_name=config.name)
    status = 200
    if request.method == "POST" and form.is_valid():
        base = form.cleaned_data["base_revision"]
        try:
            result = save_config(
                name, form.values, actor=actor, comment=form.cleaned_data["comment"], base_revision=base
            )
        except InvalidInputError as error:
            form.add_refusal(error)
        except ConflictError as error:
            context |= {"conflict": str(error), **_their_changes(request, form, name, base)}
            status = 409
        else:
            return _saved(request, form, result)
    return show_config_form(request, form, context, status=422 if form.errors else status)


def _their_changes(request: PageRequest, form: ConfigForm, name: str, base: int | None) -> dict[str, Any]:
    """What others saved meanwhile. The form's base becomes that, so that saving again is a decision."""
    config = find_any_config(name)
    posted = request.POST.copy()
    posted["base_revision"] = str(config.revision)
    form.data = posted
    return {"config": config, "theirs": changes_since(config, base or 0), "base_revision": base}


def _saved(request: PageRequest, form: ConfigForm, result: SaveResult) -> HttpResponse:
    name = result.config.name
    if result.revision is None:
        messages.info(
            request, _("Nothing differs from revision %(n)d, so nothing was saved.") % {"n": result.config.revision}
        )
    else:
        messages.success(
            request, _("Saved “%(name)s” as revision %(n)d.") % {"name": name, "n": result.revision.number}
        )
    for warning in form.checked.warnings if form.checked else ():
        messages.warning(request, _with_label(warning))
    return SeeOther(reverse("deployments:config", args=[name]))


def show_config_form(request: PageRequest, form: ConfigForm, context: dict[str, Any], *, status: int) -> HttpResponse:
    """The editor's page around ``form``."""
    shown = {
        "form": form,
        "engine_defaults": _engine_defaults(),
        **_preview_context(form, context.get("config")),
        **context,
    }
    return render(request, "deployments/config_form.html", shown, status=status)


@require_POST
@for_viewers
def config_preview(request: PageRequest) -> HttpResponse:
    """What the typed values would run and change, or what is still wrong with them. Saves nothing."""
    editor_of(request)
    name = request.POST.get("editing", "")
    config = find_any_config(name) if name else None
    initial = ConfigForm.initial_of(ConfigValues.of(config)) if config else {}
    form = ConfigForm(request.POST, initial=initial, models=model_names(), fixed_name=name)
    return render(request, "deployments/config_preview.html", _preview_context(form, config))


def _preview_context(form: ConfigForm, config: Config | None) -> dict[str, Any]:
    if not form.is_bound:
        values = ConfigValues.of(config) if config else None
        return {"preview": values and _preview(config.name if config else "", values)}
    valid = form.is_valid()
    if not valid and form.checked is not None and form.checked.values is None:
        named = {name: errors for name, errors in form.errors.items() if name in form.fields}
        return {"problems": [(form[name], errors) for name, errors in named.items()]}
    values = form.values
    return {
        "preview": _preview(form["name"].value() or "config", values),
        "warnings": [_with_label(warning) for warning in form.checked.warnings] if form.checked else [],
        "changes": diff_values(ConfigValues.of(config), values) if config else [],
        "compared": config,
    }


def _preview(name: str, values: ConfigValues) -> object:
    return preview_run(values.serving_spec(name), secrets=_set_secrets())


def _set_secrets() -> set[str]:
    """The names of the secrets that this host has."""
    return {name for name, value in settings.BERTH_SECRETS.items() if value}


def _engine_defaults() -> dict[str, dict[str, Any]]:
    """What the form fills in when an engine is chosen, by the engine's name."""
    engines = {name: engine_named(name) for name in engine_names()}
    return {
        name: {
            "image": engine.default_image,
            "port": engine.default_port,
            "readiness_path": engine.default_readiness_path,
            "grace_s": engine.grace_s,
        }
        for name, engine in engines.items()
    }


@require_http_methods(["GET", "HEAD", "POST"])
@for_viewers
def config_delete(request: PageRequest, name: str) -> HttpResponse:
    """Asks first, naming what is lost and what is kept; refused with a sentence while it is in use."""
    actor = editor_of(request)
    config = find_any_config(name)
    refusal = ""
    if request.method == "POST":
        try:
            archive_config(name, actor=actor)
        except ConflictError as error:
            refusal = str(error)
        else:
            messages.success(
                request,
                _("“%(name)s” was removed from the catalogue. It can be restored on its page.") % {"name": name},
            )
            return SeeOther(reverse("deployments:catalogue"))
    context = {"config": config, "state": config_runs(config), "refusal": refusal}
    return render(request, "deployments/config_delete.html", context, status=409 if refusal else 200)


@require_POST
@for_viewers
def config_restore(request: PageRequest, name: str) -> HttpResponse:
    """Bring a removed config back."""
    if restore_config(name, actor=editor_of(request)):
        messages.success(request, _("“%(name)s” is in the catalogue again.") % {"name": name})
    return SeeOther(reverse("deployments:config", args=[name]))


def _with_label(problem: Problem) -> str:
    return f"{capitalised(field_label(problem.field))}: {problem.sentence}"
