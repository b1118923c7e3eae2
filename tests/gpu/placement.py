"""Where deployments were put: no two on one GPU, islands kept together, and the reason when nothing is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import smi
from .installation import NODE, await_true, make_config
from .result import Check
from .smi import Row


def layouts(gpus: int) -> list[list[int]]:
    """GPUs of each deployment that runs at the same time, most telling first.

    As many of one as there are; one of all; where there are enough one of half, one of a quarter and what is left of
    such (of eight: 4, 2 and 2); then as many of 2 and of 4 as there are.
    """
    found = [[1] * gpus]
    if gpus >= 2:
        found.append([gpus])
    if gpus >= 4:
        found.append([gpus // 2, gpus // 4, gpus - gpus // 2 - gpus // 4])
    found += [[size] * (gpus // size) for size in (2, 4) if size < gpus]
    return found


def check_topology(check: Check) -> None:
    """Whether Berth knows the same NVLinks as ``nvidia-smi topo``."""
    from deployments.models import Gpu

    index_of = dict(Gpu.objects.filter(node__name=NODE).values_list("uuid", "index"))
    told = smi.query_links()
    for uuid, peers in Gpu.objects.filter(node__name=NODE).order_by("index").values_list("uuid", "nvlink_peers"):
        index, seen = index_of[uuid], sorted(index_of[peer] for peer in peers)
        if told is None:
            check.add(Row(what=f"GPU {index} NVLinks", expected="?", seen=str(seen), ok=None, note="not told"))
        else:
            check.holds(f"GPU {index} NVLinks to GPUs", sorted(told[index]), seen)


def check_placement(check: Check, started: Sequence[Any], label: str) -> None:
    """No GPU is given twice, and nobody is spread over more islands than his size needs."""
    from deployments.models import Gpu
    from deployments.placement.islands import islands

    given = [uuid for it in started for uuid in it.gpu_uuids]
    check.holds(f"{label}: GPUs given, no two to one", len(given), len(set(given)))
    rows = Gpu.objects.filter(node__name=NODE)
    island_of = islands({gpu.uuid: (gpu.nvlink_peers, gpu.numa_node) for gpu in rows})
    for it in started:
        if len(it.gpu_uuids) > 1:
            spread = len({island_of[uuid] for uuid in it.gpu_uuids})
            fewest = fewest_islands(island_of, len(it.gpu_uuids))
            check.holds(
                f"{it.spec['config']} islands",
                f"{fewest} of {len(set(island_of.values()))}",
                f"{spread}",
                ok=spread == fewest,
            )


def fewest_islands(island_of: Mapping[str, str], gpus: int) -> int:
    """Over how many islands so many GPUs have to be spread, when all are free."""
    left = gpus
    for number, size in enumerate(sorted(Counter(island_of.values()).values(), reverse=True), start=1):
        left -= size
        if left <= 0:
            return number
    return len(set(island_of.values()))


def check_nothing_left(check: Check, started: Sequence[Any], label: str, folder: Path) -> None:
    """One more waits, and says who holds every GPU; one that is larger than the host says that it fits nowhere.

    Where the layout leaves GPUs free there is nothing to see.
    """
    from deployments.models import Gpu

    total = sum(len(it.gpu_uuids) for it in started)
    if total < Gpu.objects.filter(node__name=NODE).count():
        check.add(Row(what=f"one more than {label} waits", expected="", seen="", ok=None, note="GPUs are left"))
        return
    slug = label.replace("+", "-")
    waiting = _waits(check, f"more-{slug}", gpus=1, folder=folder)
    check.holds(f"one more than {label} waits", "queued gpus_held", f"{waiting.phase} {waiting.reason}")
    detail = str(waiting.reason_params.get("detail", ""))
    holders = _named(detail, (it.spec["config"] for it in started))
    check.holds(f"its reason names all {len(started)} holders", sorted(it.spec["config"] for it in started), holders)
    check.holds(f"its reason names all {total} GPUs", total, detail.count("←"))
    _ended(check, waiting)
    huge = _waits(check, f"huge-{slug}", gpus=total + 1, folder=folder)
    check.holds(f"{total + 1} GPUs fit nowhere", "queued fits_nowhere", f"{huge.phase} {huge.reason}")
    _ended(check, huge)


def _named(detail: str, names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if f"← {name} #" in detail)


def _waits(check: Check, name: str, *, gpus: int, folder: Path) -> Any:
    """A deployment that was asked for, once it says why it does not start."""
    from deployments.actors import Actor
    from deployments.services.lifecycle import start_deployment

    make_config(name, gpus=gpus, gib=check.options.gib, folder=folder, pretend=check.options.pretend)
    deployment = start_deployment(name, actor=Actor.command_line()).deployment

    def says_why() -> bool:
        deployment.refresh_from_db()
        return bool(deployment.reason_params) or deployment.phase != "queued"

    await_true(says_why, 15)
    return deployment


def _ended(check: Check, deployment: Any) -> None:
    from deployments.actors import Actor
    from deployments.services.lifecycle import stop_deployment

    stop_deployment(deployment.pk, actor=Actor.command_line())

    def is_stopped() -> bool:
        deployment.refresh_from_db()
        return bool(deployment.phase == "stopped")

    await_true(is_stopped, 15)
    check.holds(f"{deployment.spec['config']} is taken back", "stopped", str(deployment.phase))
