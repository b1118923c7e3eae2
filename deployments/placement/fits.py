"""Whether configs fit as things are, for a list of many: the fleet is read once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from deployments.models import Config

from .choosing import choose
from .situation import Fleet, request_of
from .views import Choice, Holder, Refusal, Request


class FitsKind(StrEnum):
    """``WAITS``: it would fit, but stopping deployments does not help. ``NO_NODE``: no node is a candidate."""

    NOW = "now"
    AFTER_STOPPING = "after_stopping"
    WAITS = "waits"
    NOWHERE = "nowhere"
    NO_NODE = "no_node"


@dataclass(frozen=True, kw_only=True)
class Fits:
    """Whether a start of a config would find a place: on ``node``, or after ``stops``, or why not."""

    kind: FitsKind
    request: Request
    node: str = ""
    stops: tuple[Holder, ...] = ()
    refusal: Refusal | None = None


def fits_of(config: Config, fleet: Fleet) -> Fits:
    """The answer for one config. No queries of its own."""
    spec = config.serving_spec()
    request = request_of(spec)
    answer = choose(request, fleet.views(spec))
    if isinstance(answer, Choice):
        return Fits(kind=FitsKind.NOW, request=request, node=answer.node)
    return Fits(kind=_kind(answer), request=request, stops=answer.stops, refusal=answer)


def _kind(refusal: Refusal) -> FitsKind:
    if refusal.stops:
        return FitsKind.AFTER_STOPPING
    match refusal.code:
        case "fits_nowhere":
            return FitsKind.NOWHERE
        case "gpus_held":
            return FitsKind.WAITS
        case _:
            return FitsKind.NO_NODE
