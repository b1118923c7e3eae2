"""Models: the list, and adding, editing and deleting one."""

from __future__ import annotations

from dataclasses import asdict, fields

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from deployments.actors import EDIT_CATALOGUE, Actor, explain_missing
from deployments.exceptions import InvalidInputError
from deployments.forms import ModelForm
from deployments.selectors_catalogue import model_rows
from deployments.services.catalogue_models import (
    ModelValues,
    create_model,
    delete_model,
    find_model,
    save_model,
)

from .catalogue_editor import SeeOther
from .fragments import PageRequest, editor_of, for_viewers, wants_fragment


@require_safe
@for_viewers
def model_list(request: PageRequest) -> HttpResponse:
    """Every model with its configs."""
    actor = Actor.person(request.user)
    context = {
        "rows": model_rows(),
        "why_not": "" if actor.may(EDIT_CATALOGUE) else explain_missing(EDIT_CATALOGUE),
    }
    template = "model_table.html" if wants_fragment(request) else "model_list.html"
    return render(request, f"deployments/{template}", context)


@require_http_methods(["GET", "HEAD", "POST"])
@for_viewers
def model_new(request: PageRequest) -> HttpResponse:
    """A form for a new model."""
    actor = editor_of(request)
    form = ModelForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            model = create_model(form.cleaned_data["name"], form.values, actor=actor)
        except InvalidInputError as error:
            form.add_refusal(error)
        else:
            messages.success(request, _("Added the model “%(name)s”.") % {"name": model.name})
            return SeeOther(reverse("deployments:model_list"))
    return render(request, "deployments/model_form.html", {"form": form}, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@for_viewers
def model_edit(request: PageRequest, name: str) -> HttpResponse:
    """The form of a model."""
    actor = editor_of(request)
    model = find_model(name)
    initial = asdict(ModelValues(**{field.name: getattr(model, field.name) for field in fields(ModelValues)}))
    form = ModelForm(request.POST or None, initial=initial, fixed_name=name)
    if request.method == "POST" and form.is_valid():
        try:
            changed = save_model(name, form.values, actor=actor)
        except InvalidInputError as error:
            form.add_refusal(error)
        else:
            told = _("Saved the model “%(name)s”.") if changed else _("Nothing of “%(name)s” was changed.")
            messages.success(request, told % {"name": name})
            return SeeOther(reverse("deployments:model_list"))
    context = {"form": form, "model": model}
    return render(request, "deployments/model_form.html", context, status=422 if form.errors else 200)


@require_POST
@for_viewers
def model_delete(request: PageRequest, name: str) -> HttpResponse:
    """Delete a model that no config serves."""
    delete_model(name, actor=editor_of(request))
    messages.success(request, _("Deleted the model “%(name)s”.") % {"name": name})
    return SeeOther(reverse("deployments:model_list"))
