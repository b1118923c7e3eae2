"""Whose a container is. Only what carries this installation's label is ever looked at or touched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings

INSTALLATION = "berth.installation"
RUN = "berth.deployment"


def ours() -> dict[str, Any]:
    """The engine's filter for the runs of this installation."""
    return {"label": [f"{INSTALLATION}={settings.BERTH_INSTALLATION}", RUN]}


def is_ours(labels: Mapping[str, str] | None) -> bool:
    """Whether a container with these labels is a run of this installation."""
    return bool(labels) and labels is not None and labels.get(INSTALLATION) == settings.BERTH_INSTALLATION
