"""What the page of pushes shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .models import Delivery, ImageTransfer, Job
from .registries.addresses import split_image
from .registries.refusals import SENTENCES
from .transfers.layers import LayerProgress, LayerState

#: Of one delivery; older ones are history that nobody scrolls to.
MOST_SHOWN = 50


@dataclass(frozen=True, kw_only=True)
class ShownLayer:
    """One layer of a push; ``percent`` is of its bytes, None before it has told them."""

    id: str
    state: str
    percent: int | None
    total_bytes: int


@dataclass(frozen=True, kw_only=True)
class ShownTransfer:
    """A row of the history. ``sentence`` and ``said`` say why it failed; ``downloadable``: its archive is here.

    ``kept`` is how many of its layers the registry had already, and were not sent again.
    """

    row: ImageTransfer
    layers: Sequence[ShownLayer]
    kept: int
    sentence: str
    said: str
    downloadable: bool
    pinned: bool


def shown_transfers(delivery: Delivery, *, here: str) -> list[ShownTransfer]:
    """The newest first, in one query. ``here`` is the name of this process's node."""
    rows = ImageTransfer.objects.filter(delivery=delivery).select_related("node", "registry")[:MOST_SHOWN]
    image = delivery.config.image if delivery.config else ""
    return [
        ShownTransfer(
            row=row,
            layers=[_layer(LayerProgress.from_json(each)) for each in row.layers],
            kept=sum(each["state"] == LayerState.HERE for each in row.layers),
            **_why(row),
            downloadable=_is_saved(row) and row.node.name == here,
            pinned=bool(row.digest) and row.pinned_image == image,
        )
        for row in rows
    ]


def push_defaults(delivery: Delivery) -> dict[str, Any]:
    """What the forms begin with: the image that was built last, to where images went last. At most three queries.

    The repository and tag are those of the image's name, and the repository that of this delivery's last push if there
    was one: a team's place in a registry does not change with each build.
    """
    latest = ImageTransfer.objects.filter(delivery=delivery).exclude(image="").select_related("registry").first()
    built = delivery.image_builds.filter(state=Job.State.DONE).only("node_id", "tag").order_by("-pk").first()
    first: dict[str, Any] = {"path": delivery.name, "tag": "1"}
    if built is not None:
        first |= {"node": built.node_id, "image": built.tag, **_place_of(built.tag)}
    elif latest is not None:
        first |= {"node": latest.node_id, "image": latest.image}
    if latest is not None and latest.registry is not None:
        first |= {"registry": latest.registry.name, "path": latest.repository.partition("/")[2]}
        return first if built is not None else {**first, "tag": latest.tag}
    elsewhere = ImageTransfer.objects.exclude(registry=None).values_list("registry__name", flat=True).first()
    return {**first, "registry": elsewhere} if elsewhere else first


def _place_of(image: str) -> dict[str, str]:
    """The repository without its registry, and the tag, of an image's name."""
    folder, slash, last = split_image(image)[1].rpartition("/")
    name, _colon, tag = last.partition(":")
    return {"path": f"{folder}{slash}{name}", "tag": tag or "1"}


def _is_saved(row: ImageTransfer) -> bool:
    return row.kind == ImageTransfer.Kind.SAVE and row.state == Job.State.DONE


def _why(row: ImageTransfer) -> dict[str, str]:
    """The sentence in the reader's language, and what the other side said as it was."""
    known = SENTENCES.get(row.error_code)
    if known is None:
        return {"sentence": row.error, "said": ""}
    # The row's own sentence is in the worker's language; what was said stands behind it.
    said = row.error.partition(" (")[2].removesuffix(")")
    return {"sentence": str(known), "said": said}


def _layer(layer: LayerProgress) -> ShownLayer:
    full = layer.state in (LayerState.PUSHED, LayerState.HERE)
    known = round(100 * layer.done_bytes / layer.total_bytes) if layer.total_bytes else None
    return ShownLayer(
        id=layer.id,
        state=str(layer.state),
        percent=100 if full else known and min(100, known),
        total_bytes=layer.total_bytes,
    )
