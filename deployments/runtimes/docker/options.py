"""What a run means in the engine's terms. Pure, so that a test can hold every option."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from docker.types import DeviceRequest, LogConfig, Mount, Ulimit

from deployments.exceptions import InvalidInputError, LaunchError
from deployments.host_paths import allowed_host_path
from deployments.runtimes.base import RunSpec
from deployments.volumes import Volume

#: Taken from what the engine gives by default: a model server neither crafts packets nor makes devices.
DROPPED = ("NET_RAW", "MKNOD", "AUDIT_WRITE", "SYS_CHROOT", "SETFCAP")
#: The engine's own log is a buffer between it and the node's bounded store, so it is short.
LOG_OPTIONS = {"max-size": "20m", "max-file": "2"}
#: As vLLM's and SGLang's documentation of containers ask for, with NCCL in mind.
STACK_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Reach:
    """How a model is reached: by name in ``network``, or by a port that the engine chooses at ``address``.

    With a network it may be published at ``published`` too, for people on the host; Berth does not use that.
    """

    network: str = ""
    address: str = "127.0.0.1"
    published: str = ""


def container_options(run: RunSpec, reach: Reach) -> dict[str, Any]:
    """Arguments of ``create_container`` apart from the host's. Raises LaunchError for a refused volume."""
    return {
        "image": run.image,
        "name": run.name,
        "entrypoint": list(filled(run.entrypoint, run.port)) or None,
        "command": list(filled(run.argv, run.port)) or None,
        "environment": environment(run),
        "labels": dict(run.labels),
        "ports": [] if reach.network and not reach.published else [(run.port, "tcp")],
        "stdin_open": False,
        "tty": False,
    }


def host_options(run: RunSpec, reach: Reach) -> dict[str, Any]:
    """Arguments of ``create_host_config``. No privileged mode and no host network, whatever the config says."""
    options: dict[str, Any] = {
        "init": True,
        "security_opt": ["no-new-privileges"],
        "cap_drop": list(DROPPED),
        "mounts": [mount(Volume.parse(text)) for text in run.volumes],
        "log_config": LogConfig(type="json-file", config=LOG_OPTIONS),
        "restart_policy": {"Name": "no"},
    }
    if run.shared_memory:
        options["shm_size"] = run.shared_memory
    if run.locked_memory:
        options["ulimits"] = [
            Ulimit(name="memlock", soft=-1, hard=-1),
            Ulimit(name="stack", soft=STACK_BYTES, hard=STACK_BYTES),
        ]
    if run.gpu_uuids:
        options["device_requests"] = [DeviceRequest(device_ids=list(run.gpu_uuids), capabilities=[["gpu"]])]
    if reach.network:
        options["network_mode"] = reach.network
    if address := reach.published if reach.network else reach.address:
        options["port_bindings"] = {run.port: (address, None)}
    return options


def environment(run: RunSpec) -> dict[str, str]:
    """The run's variables; those that choose GPUs are Berth's, whatever the config says."""
    chosen = {name: value.replace("{port}", str(run.port)) for name, value in run.environment}
    if run.gpu_uuids:
        # CUDA orders the fastest first by default; by bus, index 0 is the same GPU everywhere.
        return {**chosen, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    # Where nvidia is the engine's default runtime, a container without this sees every GPU.
    return {**chosen, "NVIDIA_VISIBLE_DEVICES": "void"}


def filled(arguments: tuple[str, ...], port: int) -> tuple[str, ...]:
    """``arguments`` with ``{port}`` filled in."""
    return tuple(argument.replace("{port}", str(port)) for argument in arguments)


def mount(volume: Volume) -> Mount:
    """A named volume, or a folder of the host below an allowed one. Raises LaunchError for another folder."""
    if not volume.is_host_path:
        return Mount(target=volume.target, source=volume.source, type="volume", read_only=volume.read_only)
    try:
        source = allowed_host_path(volume.source)
    except InvalidInputError as error:
        raise LaunchError(str(error), code="host_path_refused", detail=str(error)) from error
    return Mount(target=volume.target, source=source, type="bind", read_only=volume.read_only)
