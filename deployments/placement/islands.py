"""Which GPUs of a node reach each other fast. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping


def islands(gpus: Mapping[str, tuple[Collection[str], int | None]]) -> dict[str, str]:
    """GPU -> its island's name, from each GPU's NVLink peers and NUMA node.

    GPUs joined by NVLink, even over others, are one island; one without links belongs to those of its NUMA node
    that have none either; where neither is known, to all such.
    """
    names: dict[str, str] = {}
    for uuid in sorted(gpus):
        if uuid in names:
            continue
        peers, numa = gpus[uuid]
        if not peers:
            names[uuid] = f"numa {numa}"
            continue
        reached = {uuid}
        waiting = [uuid]
        while waiting:
            for peer in gpus.get(waiting.pop(), ((), None))[0]:
                if peer in gpus and peer not in reached:
                    reached.add(peer)
                    waiting.append(peer)
        names.update(dict.fromkeys(reached, f"nvlink {uuid}"))
    return names
