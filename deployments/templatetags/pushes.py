"""What templates of registries and pushes need."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.translation import gettext as _

from deployments.models import ImageTransfer, Job
from deployments.presentation.words import byte_words
from deployments.registries.refusals import SENTENCES
from deployments.transfers.layers import LayerState

register = template.Library()

_TONES = {
    Job.State.PENDING: ("aside", "clock"),
    Job.State.RUNNING: ("busy", "loader-2"),
    Job.State.DONE: ("good", "circle-check"),
    Job.State.FAILED: ("bad", "circle-x"),
    Job.State.CANCELLED: ("aside", "circle-off"),
}


@register.inclusion_tag("deployments/transfer_chip.html")
def transfer_chip(row: ImageTransfer) -> dict[str, Any]:
    """The state as a chip."""
    tone, icon = _TONES[Job.State(row.state)]
    ending = row.is_live and row.cancel_requested_at is not None
    return {"tone": tone, "icon": icon, "word": _("being cancelled") if ending else row.get_state_display()}


@register.filter
def refusal_sentence(code: str) -> str:
    """The sentence of a registry's refusal."""
    return str(SENTENCES.get(code, code))


@register.filter
def bytes_words(count: int) -> str:
    """Bytes in powers of ten: ``98.2 MB``."""
    return byte_words(count)


@register.filter
def layer_word(state: str) -> str:
    """Where a layer is, in a word or two."""
    words = {
        LayerState.WAITING: _("waiting"),
        LayerState.PUSHING: _("being sent"),
        LayerState.RETRYING: _("once more"),
        LayerState.PUSHED: _("sent"),
        LayerState.HERE: _("there already"),
    }
    return words[LayerState(state)]
