"""The keys of a service that become no field: each is listed with its reason."""

from __future__ import annotations

from django.utils.translation import gettext as _

from . import reasons
from .durations import size_of
from .proposal import Draft
from .reasons import Reason
from .tree import Scalar, Table, texts
from .writing import NO_NEW_PRIVILEGES, ULIMITS

#: What becomes a field, elsewhere in this package.
_TAKEN = frozenset(
    {
        "image",
        "entrypoint",
        "command",
        "environment",
        "volumes",
        "ports",
        "expose",
        "healthcheck",
        "restart",
        "stop_grace_period",
        "gpus",
        "shm_size",
    }
)
_RESOURCES = ("limits", "reservations")
_USUAL_MEMORY = "16g"


def carry_shared_memory(draft: Draft) -> None:
    """Set ``shared_memory``: what the file says, else a usual size where it shares the host's."""
    node = draft.service.get("shm_size")
    if node is not None:
        size = size_of(draft.text(node))
        if size:
            draft.carry("shm_size", "shared_memory", size)
        else:
            draft.leave("shm_size", _("It is no size, as in 16g."), _("Set the shared memory in the form."))
    elif draft.text(draft.service.get("ipc")) == "host":
        why = _("The file shares the host's memory instead, which Berth never does; 16 GiB are usual.")
        draft.guess("shared_memory", _USUAL_MEMORY, why)


def list_remainder(draft: Draft) -> None:
    """List every key of the service, of ``deploy`` and of the file that is not carried over."""
    for key in draft.service:
        if key in _TAKEN or key.startswith("x-") or draft.service.get(key) is None:
            continue
        if key == "deploy":
            _list_deploy(draft)
        elif _berth_does_it(draft, key):
            draft.note(key, "", _("Berth does this for every model."))
        elif (reason := _reason(draft, key)) is not None:
            _leave(draft, key, reason)
    for key in draft.document:
        if (told := reasons.BY_TOP_KEY.get(key)) and draft.document.get(key) is not None:
            _leave(draft, key, told, line=draft.document.line_of(key))


def _leave(draft: Draft, key: str, reason: Reason, *, line: int | None = None) -> None:
    draft.leave(key, str(reason.why), str(reason.instead), weight=reason.weight, line=line)


def _berth_does_it(draft: Draft, key: str) -> bool:
    """Whether Berth does the same by itself."""
    node = draft.service.get(key)
    match key:
        case "container_name":
            return True
        case "init":
            return isinstance(node, Scalar) and node.is_true
        case "security_opt":
            told = {draft.text(item).removesuffix(":true").removesuffix("=true") for item in texts(node)}
            return told == {NO_NEW_PRIVILEGES}
        case "ulimits" if isinstance(node, Table):
            limits = {name: draft.text(entry.node) for name, entry in node.entries.items()}
            usual = {name: str(limit) for name, limit in ULIMITS.items()}
            return limits.items() <= usual.items() and bool(draft.values.get("gpus"))
        case "runtime":
            return draft.text(node) == "nvidia"
    return False


def _reason(draft: Draft, key: str) -> Reason | None:
    """Why a key is left out; None for one that asks for nothing, as ``privileged: false`` does."""
    node = draft.service.get(key)
    text = draft.text(node, note_missing=False)
    if key in {"privileged", "use_api_socket", "init", "tty", "stdin_open", "read_only"} and text in {"false", "no"}:
        return None
    if key == "network_mode" and text == "host":
        return reasons.HOST_NETWORK
    if key == "ipc" and text == "host":
        return reasons.HOST_IPC
    if key == "scale" and text == "1":
        return None
    return reasons.BY_KEY.get(key, reasons.UNKNOWN)


def _list_deploy(draft: Draft) -> None:
    deploy = draft.service.get("deploy")
    for key, entry in deploy.entries.items() if isinstance(deploy, Table) else ():
        if key == "resources" and isinstance(entry.node, Table):
            for part in _RESOURCES:
                _list_resources(draft, part, entry.node.get(part))
        elif key == "replicas" and draft.text(entry.node, note_missing=False) == "1":
            continue
        elif key not in {"restart_policy", "resources"} and not key.startswith("x-"):
            _leave(draft, f"deploy.{key}", reasons.BY_DEPLOY_KEY.get(key, reasons.UNKNOWN), line=entry.line)


def _list_resources(draft: Draft, part: str, node: object) -> None:
    for key, entry in node.entries.items() if isinstance(node, Table) else ():
        if key != "devices":
            _leave(draft, f"deploy.resources.{part}.{key}", reasons.LIMITS, line=entry.line)
