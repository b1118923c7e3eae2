"""The buttons that lead to a config's editor; one that may not be pressed says why."""

from __future__ import annotations

from dataclasses import dataclass

from django.urls import reverse
from django.utils.translation import gettext as _

from deployments.actors import EDIT_CATALOGUE, Actor, explain_missing
from deployments.models import Config


@dataclass(frozen=True, kw_only=True)
class EditingLink:
    """A link shown as a button. ``why_not`` explains why it cannot be followed."""

    name: str
    verb: str
    icon: str
    url: str
    why_not: str = ""


def editing_actions(config: Config, actor: Actor) -> list[EditingLink]:
    """Edit, Copy and Remove, in this order; a removed config can only be copied."""
    why_not = "" if actor.may(EDIT_CATALOGUE) else explain_missing(EDIT_CATALOGUE)
    links = [
        ("edit", _("Edit"), "pencil", "deployments:config_edit"),
        ("copy", _("Copy"), "copy", "deployments:config_copy"),
        ("remove", _("Remove"), "trash", "deployments:config_delete"),
    ]
    return [
        EditingLink(name=name, verb=verb, icon=icon, url=reverse(address, args=[config.name]), why_not=why_not)
        for name, verb, icon, address in links
        if config.archived_at is None or name == "copy"
    ]
