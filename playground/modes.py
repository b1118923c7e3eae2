"""The ways to try a model. Another one is a line here, with its own view and template."""

from __future__ import annotations

from dataclasses import dataclass

from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True, kw_only=True)
class Mode:
    """A tab of the playground; ``here`` marks the one looked at."""

    title: str | Promise
    icon: str
    url: str
    here: bool


_MODES = (
    ("playground:chat", _("Chat"), "message-2"),
    ("playground:images", _("Images"), "photo"),
    ("playground:compare", _("Compare"), "git-compare"),
    ("playground:raw", _("Raw"), "terminal-2"),
    ("playground:load_tests", _("Load test"), "gauge"),
)


def modes(view_name: str) -> list[Mode]:
    """The tabs in their order, seen from the page ``view_name``."""
    return [Mode(title=title, icon=icon, url=reverse(name), here=name == view_name) for name, title, icon in _MODES]
