"""Which GPUs of this host reach each other over NVLink, directly or through NVSwitches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .nvml_values import CLOSED, P2P_OK, SWITCH, code_of, text_of


def nvlink_peers(module: Any, gpus: Mapping[str, tuple[str, Any]]) -> dict[str, tuple[str, ...]]:
    """For each UUID the UUIDs that it reaches. ``gpus`` gives bus id and handle by UUID; ``module`` is pynvml.

    The driver is asked for each pair. Where it cannot tell, two GPUs are peers when a link of one ends at the
    other, or when both have links to a switch: the switches of one host form one fabric. Raises NVMLError only
    when the whole library must be opened again.
    """
    peers: dict[str, tuple[str, ...]] = {}
    ends: dict[str, frozenset[str]] = {}

    def ends_of(uuid: str) -> frozenset[str]:
        if uuid not in ends:
            ends[uuid] = _link_ends(module, gpus[uuid][1])
        return ends[uuid]

    for one, (_bus, handle) in gpus.items():
        found = []
        for other, (other_bus, other_handle) in gpus.items():
            if one == other:
                continue
            linked = _asked(module, handle, other_handle)
            if linked is None:
                mine = ends_of(one)
                linked = other_bus.lower() in mine or ("switch" in mine and "switch" in ends_of(other))
            if linked:
                found.append(other)
        peers[one] = tuple(found)
    return peers


def _asked(module: Any, one: Any, other: Any) -> bool | None:
    """The driver's own answer for a pair; None when it has none."""
    try:
        return int(module.nvmlDeviceGetP2PStatus(one, other, module.NVML_P2P_CAPS_INDEX_NVLINK)) == P2P_OK
    except module.NVMLError as error:
        _raise_if_closed(error)
        return None


def _link_ends(module: Any, handle: Any) -> frozenset[str]:
    """Where the active links of a GPU end: bus ids in lower case, "switch" for an NVSwitch."""
    ends: set[str] = set()
    for link in range(int(module.NVML_NVLINK_MAX_LINKS)):
        try:
            if not module.nvmlDeviceGetNvLinkState(handle, link):
                continue
            if module.nvmlDeviceGetNvLinkRemoteDeviceType(handle, link) == SWITCH:
                ends.add("switch")
            else:
                ends.add(text_of(module.nvmlDeviceGetNvLinkRemotePciInfo(handle, link).busId).lower())
        except module.NVMLError as error:
            # A GPU has fewer links than the header's maximum, and one without any says so at the first.
            _raise_if_closed(error)
    return frozenset(ends)


def _raise_if_closed(error: Any) -> None:
    if code_of(error) in CLOSED:
        raise error
