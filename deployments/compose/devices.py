"""GPUs: ``deploy.resources.reservations.devices``, ``gpus``, ``runtime: nvidia`` and the variables of the runtime.

A config asks for a number of whole GPUs; which ones they are is chosen at each start.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.utils.translation import gettext as _

from .environment import variable
from .proposal import Draft, Weight
from .tree import Items, Node, Scalar, Table, texts

_RESERVATION = "deploy.resources.reservations.devices"
_NOBODY = frozenset({"", "none", "void"})
_ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the file asks for. ``count`` None means all of the host; ``names`` are those that it picks."""

    key: str
    count: int | None
    names: tuple[str, ...] = ()


def carry_devices(draft: Draft) -> None:
    """Set ``gpus``: 0 where the file asks for none."""
    wish = next(_wishes(draft), None)
    if wish is None:
        draft.values["gpus"] = 0
        return
    if wish.count is not None:
        note = ""
        if wish.names:
            names = ", ".join(wish.names)
            note = _("Berth chooses the GPUs at each start; the file picked %(names)s.") % {"names": names}
        draft.carry(wish.key, "gpus", wish.count, note=note)
        return
    draft.note(wish.key, "gpus", _("It asks for all GPUs of the host, whatever their number."))
    split = draft.engine.arguments.split_over(draft.arguments) or variable(draft, "NUM_SHARD")
    if split.isdecimal() and int(split) > 0:
        draft.guess("gpus", int(split), _("The engine is told to split the model over so many."))
    else:
        draft.guess("gpus", 1, _("“All GPUs” is no number, and the engine is not told to split the model."))


def _wishes(draft: Draft) -> Iterator[Wish]:
    """What asks for GPUs, the plainest first."""
    yield from _requests(draft, _RESERVATION, draft.service.at(*_RESERVATION.split(".")))
    gpus = draft.service.get("gpus")
    if isinstance(gpus, Scalar):
        yield _counted(draft, "gpus", draft.text(gpus))
    else:
        yield from _requests(draft, "gpus", gpus)
    chosen = variable(draft, "NVIDIA_VISIBLE_DEVICES").strip()
    if chosen.lower() not in _NOBODY:
        yield _listed("environment", chosen)
    elif draft.text(draft.service.get("runtime")) == "nvidia":
        yield Wish(key="runtime", count=None)


def _requests(draft: Draft, key: str, node: Node | None) -> Iterator[Wish]:
    """The device requests of a list. Those for other devices than NVIDIA's GPUs are listed."""
    for item in node.nodes if isinstance(node, Items) else ():
        if not isinstance(item, Table):
            continue
        driver = draft.text(item.get("driver")) or "nvidia"
        capabilities = {draft.text(scalar) for scalar in texts(item.get("capabilities"))}
        if driver != "nvidia" or capabilities & {"tpu", "npu"}:
            why = _("It asks for devices of %(driver)s; Berth gives NVIDIA's GPUs.") % {"driver": driver[:40]}
            draft.leave(key, why, _("Choose an image for NVIDIA's GPUs, or one that needs none."), line=item.line)
            continue
        names = tuple(draft.text(scalar) for scalar in texts(item.get("device_ids")))
        if names:
            yield _listed(key, ",".join(names))
        else:
            yield _counted(draft, key, draft.text(item.get("count")) or _ALL)


def _listed(key: str, text: str) -> Wish:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if names == (_ALL,):
        return Wish(key=key, count=None)
    return Wish(key=key, count=len(set(names)), names=names)


def _counted(draft: Draft, key: str, text: str) -> Wish:
    if text == "-1" or text.lower() == _ALL or not text.isdecimal():
        if text.lower() != _ALL and text != "-1":
            why = _("“%(count)s” is no number of GPUs.") % {"count": text[:40]}
            draft.leave(key, why, _("Give the variable a value, or set the number in the form."), weight=Weight.LOSS)
        return Wish(key=key, count=None)
    return Wish(key=key, count=int(text))
