"""Registries: the list, adding, editing, checking and removing one."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from deployments.actors import BUILD_IMAGES, Actor, explain_missing
from deployments.exceptions import InvalidInputError
from deployments.forms_registries import RegistryForm
from deployments.models import Registry
from deployments.services.registries import (
    check_registry,
    create_registry,
    delete_registry,
    find_registry,
    save_registry,
)

from .catalogue_editor import SeeOther
from .fragments import PageRequest, for_viewers


@require_safe
@for_viewers
def registry_list(request: PageRequest) -> HttpResponse:
    """Every registry, and what it said when it was last asked."""
    may = Actor.person(request.user).may(BUILD_IMAGES)
    context = {
        "registries": Registry.objects.defer("secret"),
        "why_not": "" if may else explain_missing(BUILD_IMAGES),
    }
    return render(request, "deployments/registries.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@for_viewers
def registry_new(request: PageRequest) -> HttpResponse:
    """A form for a new registry."""
    actor = _builder(request)
    form = RegistryForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            create_registry(form.cleaned_data["name"], form.values, actor=actor)
        except InvalidInputError as error:
            form.add_refusal(error)
        else:
            return _checked(request, form.cleaned_data["name"], actor)
    return render(request, "deployments/registry_form.html", {"form": form}, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@for_viewers
def registry_edit(request: PageRequest, name: str) -> HttpResponse:
    """The form of a registry."""
    actor = _builder(request)
    registry = find_registry(name)
    form = RegistryForm(request.POST or None, registry=registry)
    if request.method == "POST" and form.is_valid():
        try:
            save_registry(name, form.values, actor=actor)
        except InvalidInputError as error:
            form.add_refusal(error)
        else:
            return _checked(request, name, actor)
    context = {"form": form, "registry": registry}
    return render(request, "deployments/registry_form.html", context, status=422 if form.errors else 200)


@require_POST
@for_viewers
def registry_check(request: PageRequest, name: str) -> HttpResponse:
    """Ask the registry whether it accepts us."""
    return _checked(request, name, Actor.person(request.user))


@require_POST
@for_viewers
def registry_delete(request: PageRequest, name: str) -> HttpResponse:
    """Forget a registry and its password."""
    delete_registry(name, actor=Actor.person(request.user))
    messages.success(request, _("Removed the registry “%(name)s”.") % {"name": name})
    return SeeOther(reverse("deployments:registries"))


def _checked(request: PageRequest, name: str, actor: Actor) -> HttpResponse:
    registry = check_registry(name, actor=actor)
    if not registry.check_code:
        messages.success(request, _("The registry “%(name)s” accepts name and password.") % {"name": name})
    return SeeOther(reverse("deployments:registries"))


def _builder(request: PageRequest) -> Actor:
    actor = Actor.person(request.user)
    actor.require(BUILD_IMAGES)
    return actor
