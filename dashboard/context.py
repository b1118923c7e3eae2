"""What the frame of every page needs."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from deployments.gpu_readings import REPLAY

THEMES = ("auto", "light", "dark")
THEME_COOKIE = "berth_theme"

#: No eval and no injected styles, as the content policy demands. Of a refused press, the notice is shown on the shelf.
HTMX_CONFIG = json.dumps(
    {
        "allowEval": False,
        "allowScriptTags": False,
        "includeIndicatorStyles": False,
        "selfRequestsOnly": True,
        "historyCacheSize": 0,
        "scrollIntoViewOnBoost": False,
        "timeout": 20_000,
        "responseHandling": [
            {"code": "204", "swap": False},
            {"code": "[23]..", "swap": True},
            {
                "code": "[45]..",
                "swap": True,
                "error": True,
                "target": "#messages",
                "swapOverride": "beforeend",
                "select": "[data-notice]",
            },
        ],
    }
)


@dataclass(frozen=True, kw_only=True)
class Place:
    """An entry of the rail. ``here`` marks the page being looked at."""

    title: str
    icon: str
    url: str
    here: bool
    last: bool = False


def frame(request: HttpRequest) -> dict[str, Any]:
    """The variable ``frame``: theme, clock, htmx's settings, and for signed-in people the rail and their role.

    ``is_replay`` when this installation plays a recording of GPUs; pages of a node that does say so by its readings.
    """
    theme = request.COOKIES.get(THEME_COOKIE, "auto")
    values: dict[str, Any] = {
        "theme": theme if theme in THEMES else "auto",
        "now": f"{time.time():.3f}",
        "htmx_config": HTMX_CONFIG,
        "is_replay": settings.BERTH_GPU_SOURCE.startswith(REPLAY),
    }
    user = getattr(request, "user", None)
    if user is not None and user.is_authenticated:
        values |= {"places": places(request), "role": role_of(user)}
    return {"frame": values}


def places(request: HttpRequest) -> list[Place]:
    """The rail, in its fixed order; the admin's pages only for those who may enter."""
    match = request.resolver_match
    view = match.view_name if match else ""
    entries = [
        ("dashboard:overview", _("Overview"), "layout-dashboard", ("dashboard:overview",)),
        ("deployments:catalogue", _("Catalogue"), "list-details", ("deployments:c", "deployments:model")),
        ("deployments:list", _("Deployments"), "stack-2", ("deployments:list", "deployments:detail")),
        ("deployments:gpus", _("GPUs"), "cpu", ("deployments:gpu",)),
        ("deployments:nodes", _("Nodes"), "server", ("deployments:nodes", "dashboard:doctor")),
        ("playground:chat", _("Playground"), "message-2", ("playground:chat",)),
        (
            "deployments:deliveries",
            pgettext("container images", "Images"),
            "package",
            ("deployments:deliver", "deployments:registr", "playground:delivery"),
        ),
        ("playground:keys", _("Keys"), "key", ("playground:key",)),
        ("playground:usage", _("Usage"), "chart-bar", ("playground:usage",)),
        ("dashboard:activity", _("Activity"), "history", ("dashboard:activity",)),
    ]
    found = [
        Place(title=title, icon=icon, url=reverse(name), here=view.startswith(prefixes))
        for name, title, icon, prefixes in entries
    ]
    if getattr(request.user, "is_staff", False):
        found.append(Place(title=_("Admin"), icon="settings", url=reverse("admin:index"), here=False, last=True))
    return found


def role_of(user: Any) -> str:
    """The highest of the person's roles, in words."""
    if user.is_superuser:
        return _("admin")
    held = set(user.groups.values_list("name", flat=True))
    words = {"admin": _("admin"), "editor": _("editor"), "operator": _("operator"), "viewer": _("viewer")}
    return next((word for role, word in words.items() if role in held), _("no role yet"))
