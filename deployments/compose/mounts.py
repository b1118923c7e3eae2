"""``volumes``: named volumes, and folders of the host below BERTH_HOST_PATHS. Everything else is listed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from django.utils.translation import gettext as _

from deployments.config_items import VOLUME_NAME
from deployments.host_paths import host_path_problem

from .proposal import Draft, Weight
from .tree import Items, Scalar, Table

#: Folders that engines download into -> the volume that stands in for a folder of somebody's home.
CACHES = {
    "/root/.cache/huggingface": "hf-cache",
    "/root/.cache/vllm": "vllm-cache",
    "/root/.cache/llama.cpp": "llama-cache",
    "/root/.ollama": "ollama",
}
_SOCKET = re.compile(r"(docker|containerd|podman|crio|cri-dockerd)[^/]*\.sock$")
#: Folders that hold the host itself: whoever may write them, and often read, owns it.
_SYSTEM = frozenset(map(PurePosixPath, ("/", "/root", "/run", "/var/run")))
_SYSTEM_TREES = tuple(
    map(PurePosixPath, ("/boot", "/dev", "/etc", "/proc", "/sys", "/var/lib/docker", "/var/lib/containerd"))
)
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_MODES = frozenset({"ro", "rw", "z", "Z", "cached", "delegated", "consistent", "nocopy", "rprivate", "private"})


@dataclass(frozen=True, kw_only=True)
class Mount:
    """One entry. ``kind`` is volume, bind, tmpfs or what else Compose knows; an anonymous volume has no source."""

    kind: str
    source: str
    target: str
    read_only: bool
    line: int

    @property
    def shown(self) -> str:
        """The entry as a list of findings names it."""
        return f"volumes: {self.source or self.kind}:{self.target}"[:120]


def carry_volumes(draft: Draft) -> None:
    """Set ``volumes``."""
    kept: list[str] = []
    stand_ins: list[str] = []
    for mount in _mounts(draft):
        source = _real_source(draft, mount)
        if source is None:
            continue
        if refusal := _refusal(mount, source):
            why, instead, weight = refusal
            stand_in = CACHES.get(mount.target.rstrip("/"))
            if stand_in and weight is not Weight.DANGEROUS:
                stand_ins.append(f"{stand_in}:{mount.target.rstrip('/')}")
                instead = _("The volume %(name)s takes its place: weights are downloaded into it once.") % {
                    "name": stand_in
                }
            draft.leave(mount.shown, why, instead, weight=weight, line=mount.line)
        else:
            kept.append(f"{source}:{mount.target}" + (":ro" if mount.read_only else ""))
    if kept:
        draft.carry("volumes", "volumes", kept, note=_note(draft, kept))
    if stand_ins:
        why = _("A volume stands in for a folder of the host that engines download into.")
        draft.guess("volumes", kept + [item for item in stand_ins if item not in kept], why)


def _note(draft: Draft, kept: list[str]) -> str:
    named = [item.partition(":")[0] for item in kept if not item.startswith("/")]
    if not named or draft.is_own:
        return ""
    return _("What is in a volume of the other project stays there: %(names)s begins empty.") % {
        "names": ", ".join(named)
    }


def _mounts(draft: Draft) -> Iterator[Mount]:
    node = draft.service.get("volumes")
    for item in node.nodes if isinstance(node, Items) else ():
        if isinstance(item, Scalar):
            yield _short(draft.text(item, note_missing=False), item.line)
        elif isinstance(item, Table):
            kind = draft.text(item.get("type")) or "volume"
            read_only = item.get("read_only")
            yield Mount(
                kind=kind,
                source=draft.text(item.get("source") or item.get("src"), note_missing=False),
                target=draft.text(item.get("target") or item.get("destination") or item.get("dst")),
                read_only=isinstance(read_only, Scalar) and read_only.is_true,
                line=item.line,
            )


def _short(text: str, line: int) -> Mount:
    """``[SOURCE:]TARGET[:MODE]``. The colon of a Windows drive separates nothing; ``v:/x`` is a volume v, though."""
    parts = text.split(":")
    if _DRIVE.match(text) and (text[2] == "\\" or (len(parts) > 2 and parts[2].startswith("/"))):
        parts[:2] = [":".join(parts[:2])]
    modes: set[str] = set()
    if len(parts) > 1 and set(parts[-1].split(",")) <= _MODES:
        modes = set(parts.pop().split(","))
    if len(parts) == 1:
        return Mount(kind="anonymous", source="", target=parts[0], read_only=False, line=line)
    source, target = parts[0], ":".join(parts[1:])
    kind = "volume" if VOLUME_NAME.fullmatch(source) else "bind"
    return Mount(kind=kind, source=source, target=target, read_only="ro" in modes, line=line)


def _real_source(draft: Draft, mount: Mount) -> str | None:
    """The name under which the volume is known; the host's folder for one that is only a mask of it."""
    if mount.kind != "volume":
        return mount.source
    about = draft.document.at("volumes", mount.source)
    if not isinstance(about, Table):
        return mount.source
    device = draft.text(about.at("driver_opts", "device"), note_missing=False)
    if device:
        return device
    if about.get("driver_opts") is not None or draft.text(about.get("driver")) not in {"", "local"}:
        why = _("The volume has a driver or options of its own.")
        instead = _("Make the volume by hand on each node, then name it in the config.")
        draft.leave(mount.shown, why, instead, line=mount.line)
        return None
    return draft.text(about.get("name"), note_missing=False) or mount.source


def _refusal(mount: Mount, source: str) -> tuple[str, str, Weight] | None:
    """Why a mount is not carried over, what instead, and how bad it would be; None when it may be."""
    if mount.kind not in {"volume", "bind", "anonymous"}:
        why = _("%(kind)s mounts have no counterpart in a config.") % {"kind": mount.kind[:20] or "–"}
        return why, _("Use a named volume, or shared memory."), Weight.LOSS
    if mount.kind == "anonymous":
        return _("It is a volume without a name, empty at each start."), _("Give it a name to keep it."), Weight.LOSS
    if any(_SOCKET.search(path) for path in (source, mount.target)):
        why = _("It is the socket of the container engine: whoever has it is root on the host.")
        return why, _("Nothing: a model server does not need it, and Berth never mounts it."), Weight.DANGEROUS
    if not mount.target.startswith("/") or ".." in PurePosixPath(mount.target).parts or ":" in mount.target:
        why = _("%(path)s is no plain path within the container.") % {"path": mount.target[:100] or "–"}
        return why, _("Write it as name:/path."), Weight.LOSS
    if mount.target == "/":
        return _("It would take the place of the whole image."), _("Mount it at a folder."), Weight.LOSS
    if mount.kind == "volume" and VOLUME_NAME.fullmatch(source):
        return None
    return _folder_refusal(source)


def _folder_refusal(source: str) -> tuple[str, str, Weight] | None:
    allow = _("Name a volume, or the whole path of a folder below BERTH_HOST_PATHS.")
    if _DRIVE.match(source) or "\\" in source:
        return _("It is a folder of Windows, and models run on Linux."), allow, Weight.LOSS
    if ".." in PurePosixPath(source).parts:
        return _("It leads out of its folder with “..”."), allow, Weight.DANGEROUS
    if source.startswith("${"):
        return _("Which folder of the host it is, is told by a variable without a value."), allow, Weight.LOSS
    if not source.startswith("/"):
        return (
            _("It is a folder beside the Compose file or in somebody's home, which Berth does not know."),
            (allow),
            Weight.LOSS,
        )
    problem = host_path_problem(source)
    if problem and _is_the_host(source):
        problem = _("%(path)s is the host itself: whoever has it owns the host.") % {"path": source[:100]}
    return (problem, allow, Weight.DANGEROUS) if problem else None


def _is_the_host(source: str) -> bool:
    folder = PurePosixPath("/" + source.lstrip("/"))
    return folder in _SYSTEM or any(folder.is_relative_to(path) for path in _SYSTEM_TREES)
