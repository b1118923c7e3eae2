"""One revision of a config: what it changed, and the way back to it."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from deployments.actors import EDIT_CATALOGUE, Actor, explain_missing
from deployments.config_values import ConfigValues
from deployments.exceptions import ConflictError, InvalidInputError
from deployments.models import ConfigRevision
from deployments.revisions import diff_values
from deployments.selectors_catalogue import find_any_config, revision_changes
from deployments.services.catalogue import find_revision, rollback_config

from .catalogue_editor import SeeOther
from .fragments import PageRequest, for_viewers, wants_fragment


@require_http_methods(["GET", "HEAD", "POST"])
@for_viewers
def config_revision(request: PageRequest, name: str, number: int) -> HttpResponse:
    """What the revision changed and how it differs from the current one; POST makes it current again."""
    actor = Actor.person(request.user)
    refusal, status = "", 200
    if request.method == "POST":
        base = request.POST.get("base_revision", "")
        try:
            result = rollback_config(name, number, actor=actor, base_revision=int(base) if base.isdecimal() else None)
        except (ConflictError, InvalidInputError) as error:
            refusal, status = str(error), 409 if isinstance(error, ConflictError) else 422
        else:
            told = _("Revision %(number)d of “%(name)s” is current already.")
            if result.revision is not None:
                told = _("“%(name)s” has the values of revision %(number)d again, as a new revision.")
            messages.success(request, told % {"name": name, "number": number})
            return SeeOther(reverse("deployments:config", args=[name]))
    return _show(request, find_revision(name, number), actor, refusal=refusal, status=status)


def _show(request: PageRequest, revision: ConfigRevision, actor: Actor, *, refusal: str, status: int) -> HttpResponse:
    config = find_any_config(revision.config.name)
    differs = diff_values(ConfigValues.of(config), ConfigValues.from_json(revision.values))
    context = {
        "config": config,
        "revision": revision,
        "changes": revision_changes(revision),
        "differs": differs,
        "refusal": refusal,
        "why_not": "" if actor.may(EDIT_CATALOGUE) else explain_missing(EDIT_CATALOGUE),
    }
    template = "config_revision_changes.html" if wants_fragment(request) else "config_revision.html"
    return render(request, f"deployments/{template}", context, status=status)
