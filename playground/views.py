"""The keys' page, whole or as a fragment."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.cache import add_never_cache_headers, patch_cache_control
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from deployments.actors import MANAGE_KEYS, Actor, explain_missing
from deployments.exceptions import InvalidInputError
from deployments.views.fragments import PageRequest, for_viewers, wants_fragment

from .key_form import end_of, kept_fields, read_rules, whole_days, written_fields
from .models import GatewayKey
from .selectors import find_key_row, gateway_keys
from .services.keys import create_key, edit_key, revoke_key

#: What the form offers, in days; 0 is never.
LIFETIMES_DAYS = (0, 7, 30, 90, 365)


@require_safe
@for_viewers
def keys(request: PageRequest) -> HttpResponse:
    """Every gateway key, and the form for another."""
    return _keys_page(request)


@require_http_methods(["GET", "HEAD", "POST"])
@for_viewers
def key_create(request: PageRequest) -> HttpResponseBase:
    """Make a key and show it, this once. Who comes here without the form's values gets the page of keys."""
    if request.method != "POST":
        return redirect("playground:keys")
    name, days = request.POST.get("name", ""), request.POST.get("expires_in_days", "")
    try:
        made = create_key(
            name, actor=Actor.person(request.user), expires_in_days=whole_days(days), rules=read_rules(request.POST)
        )
    except InvalidInputError as error:
        if wants_fragment(request):
            raise
        written = written_fields(request.POST)
        return _keys_page(request, status=422, problem=str(error), name=name, days=days, fields=written)
    response = _keys_page(request, made=made)
    add_never_cache_headers(response)
    # The secret stands beside text that somebody else may have written (BREACH): not compressed, by a proxy neither.
    patch_cache_control(response, no_transform=True)
    return response


@require_http_methods(["GET", "HEAD", "POST"])
@for_viewers
def key_edit(request: PageRequest, pk: int) -> HttpResponseBase:
    """Other scopes, limits or another end for a key."""
    actor = Actor.person(request.user)
    actor.require(MANAGE_KEYS)
    key = find_key_row(pk)
    if request.method != "POST":
        return _edit_page(request, key, fields=kept_fields(key))
    days = request.POST.get("expires_in_days", "")
    try:
        expires_at = key.expires_at if days == "" else end_of(whole_days(days))
        result = edit_key(pk, actor=actor, rules=read_rules(request.POST), expires_at=expires_at)
    except InvalidInputError as error:
        written = written_fields(request.POST, kept=key.allowed_models)
        return _edit_page(request, key, status=422, problem=str(error), days=days, fields=written)
    sentence = _("The key %(name)s is saved.") if result.changed else _("The key %(name)s was like that before.")
    messages.success(request, sentence % {"name": key.name})
    response = redirect("playground:keys")
    response.status_code = 303
    return response


@require_POST
def key_revoke(request: PageRequest, pk: int) -> HttpResponseBase:
    """End a key at once."""
    result = revoke_key(pk, actor=Actor.person(request.user))
    if wants_fragment(request):
        return _keys_page(request)
    sentence = _("The key %(name)s is revoked.") if result.changed else _("The key %(name)s was revoked before.")
    messages.success(request, sentence % {"name": result.key.name})
    response = redirect("playground:keys")
    response.status_code = 303
    return response


def _keys_page(request: PageRequest, *, status: int = 200, **context: Any) -> HttpResponse:
    may_manage = Actor.person(request.user).may(MANAGE_KEYS)
    context = {"fields": written_fields({}), **context}
    context |= {
        "keys": list(gateway_keys()),
        "lifetimes_days": LIFETIMES_DAYS,
        # One consequence a line, as the page's dialog reads them.
        "revoking_means": "\n".join(
            [_("Programs that send it are refused from now on."), _("It cannot be brought back.")]
        ),
        "why_not": "" if may_manage else explain_missing(MANAGE_KEYS),
    }
    template = "playground/keys_body.html" if wants_fragment(request) else "playground/keys.html"
    return render(request, template, context, status=status)


def _edit_page(request: PageRequest, key: GatewayKey, *, status: int = 200, **context: Any) -> HttpResponse:
    context |= {"key": key, "lifetimes_days": LIFETIMES_DAYS}
    return render(request, "playground/key_edit.html", context, status=status)
