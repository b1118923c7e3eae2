"""A build as pages show it: its chip, its times, its steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from deployments.deliveries.builds import gone_sentence
from deployments.deliveries.contexts import Context
from deployments.models import ImageBuild

_TONES = {"pending": "idle", "running": "busy", "done": "good", "failed": "bad", "cancelled": "idle"}
_ICONS = {
    "pending": "clock",
    "running": "loader-2",
    "done": "circle-check",
    "failed": "circle-x",
    "cancelled": "circle-off",
    "cached": "bolt",
}


@dataclass(frozen=True)
class ShownBuild:
    """One build with what a template must not work out."""

    build: ImageBuild

    @property
    def tone(self) -> str:
        """The chip's colour."""
        return _TONES[self.build.state]

    @property
    def icon(self) -> str:
        """The chip's icon."""
        return _ICONS[self.build.state]

    @property
    def seconds(self) -> float | None:
        """How long it took, or has taken; None before it began."""
        if self.build.started_at is None:
            return None
        return ((self.build.ended_at or timezone.now()) - self.build.started_at).total_seconds()

    @property
    def gone(self) -> str:
        """Why its image is not there any more; empty while it is, or when there was none."""
        return gone_sentence(self.build) if self.build.gone_at else ""

    @property
    def is_being_deleted(self) -> bool:
        """Whether its worker was asked to delete the image and has not yet."""
        return bool(self.build.deleted_by and self.build.image_id and not self.build.gone_at)

    @property
    def has_image(self) -> bool:
        """Whether there is an image to delete."""
        return bool(self.build.image_id) and self.build.gone_at is None and not self.build.deleted_by

    @property
    def context(self) -> Context:
        """What it took its files from."""
        return Context.from_json(self.build.context)

    @property
    def steps(self) -> list[dict[str, Any]]:
        """Its steps, each with an icon; one that ran when the build ended was ended with it."""
        return [self._step(step) for step in self.build.steps]

    def _step(self, step: dict[str, Any]) -> dict[str, Any]:
        state = step["state"]
        if state == "running" and not self.build.is_live:
            state = "cancelled"
        return {**step, "state": state, "icon": _ICONS[state]}
