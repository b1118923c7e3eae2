"""Reads for the pages of deliveries. Query counts are constant."""

from __future__ import annotations

from dataclasses import dataclass

from django.core.paginator import Page, Paginator

from .deliveries.steps import ShownStep, next_step, prefetched_relations, step_states
from .models import Delivery

DELIVERIES_A_PAGE = 25


@dataclass(frozen=True, kw_only=True)
class DeliveryRow:
    """A delivery with how its steps stand; ``next`` is where one goes on."""

    delivery: Delivery
    steps: list[ShownStep]
    next: ShownStep


def delivery_rows(page: str | None) -> tuple[Page[Delivery], list[DeliveryRow]]:
    """One page of deliveries, newest first: two queries, and one for each relation that a step looks at."""
    found = Delivery.objects.select_related("config").prefetch_related(*prefetched_relations())
    shown = Paginator(found, DELIVERIES_A_PAGE).get_page(page)
    return shown, [_row(delivery) for delivery in shown]


def _row(delivery: Delivery) -> DeliveryRow:
    steps = step_states(delivery)
    return DeliveryRow(delivery=delivery, steps=steps, next=next_step(steps))
