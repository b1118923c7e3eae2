"""Reads for the pages of deliveries. Query counts are constant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import Q

from .deliveries.requirement import Requirement, Source
from .deliveries.steps import ShownStep, looked_at, next_step, shown_steps
from .models import CatalogueModel, Config, Delivery, Gpu

DELIVERIES_A_PAGE = 25
GIB = 1024**3


@dataclass(frozen=True, kw_only=True)
class DeliveryRow:
    """A delivery with how its steps stand; ``next`` is where one goes on."""

    delivery: Delivery
    steps: list[ShownStep]
    next: ShownStep


def delivery_rows(page: str | None) -> tuple[Page[Delivery], list[DeliveryRow]]:
    """One page of deliveries, newest first: two queries, and one for each relation that a step looks at."""
    shown = Paginator(looked_at(), DELIVERIES_A_PAGE).get_page(page)
    return shown, [_row(delivery) for delivery in shown]


def _row(delivery: Delivery) -> DeliveryRow:
    steps = shown_steps(delivery)
    return DeliveryRow(delivery=delivery, steps=steps, next=next_step(steps))


def known_gpus() -> dict[str, float]:
    """The GPU types of the nodes with the GiB that one has; the least where they differ. One query."""
    found: dict[str, float] = {}
    for name, memory_bytes in Gpu.objects.order_by("name").values_list("name", "memory_bytes"):
        memory_gib = round(memory_bytes / GIB, 1)
        found[name] = min(memory_gib, found.get(name, memory_gib))
    return found


def known_models() -> dict[str, dict[str, Any]]:
    """The catalogue's models with the figures that a requirement asks for. One query."""
    names = ("parameters_b", "layers", "kv_heads", "head_dimension")
    return {row.pop("name"): row for row in CatalogueModel.objects.order_by("name").values("name", *names)}


@dataclass(frozen=True, kw_only=True)
class WeightsLicence:
    """What the catalogue says of the weights that a requirement names."""

    licence: str
    note: str
    gated: bool


def weights_licences(wanted: Requirement) -> list[WeightsLicence]:
    """The licences of the catalogue's configs with the same weights, or of the same model. One query."""
    same = Q(model__name=wanted.model)
    if wanted.source == Source.HUB and wanted.repository:
        same |= Q(weights_repository=wanted.repository)
    rows = Config.objects.filter(same, archived_at=None).order_by("licence")
    found = rows.values_list("licence", "licence_note", "gated").distinct()
    return [WeightsLicence(licence=licence, note=note, gated=gated) for licence, note, gated in found]
