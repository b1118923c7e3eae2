"""What the doctor asks of the container engine: facts, and one container with all GPUs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass

from django.conf import settings
from docker.errors import APIError, ImageNotFound, NotFound
from docker.types import DeviceRequest

from deployments.exceptions import LaunchError

from .engine import answers, refuse

START_S = 30


@dataclass(frozen=True, kw_only=True)
class EngineFacts:
    """``root`` is the engine's own folder, on the engine's host."""

    version: str
    storage_driver: str
    root: str


def engine_facts() -> EngineFacts:
    """Version and storage. Raises RuntimeUnavailableError."""
    with answers() as client:
        info = client.info()
    return EngineFacts(version=info["ServerVersion"], storage_driver=info["Driver"], root=info["DockerRootDir"])


def first_local_image(images: Iterable[str]) -> str | None:
    """The first of ``images`` that is on this host. Raises RuntimeUnavailableError."""
    with answers() as client:
        for image in images:
            try:
                client.inspect_image(image)  # type: ignore[no-untyped-call]  # missing in the stubs
            except ImageNotFound:
                continue
            return image
    return None


def gpus_in_container(image: str) -> frozenset[str]:
    """UUIDs of the GPUs that a container of ``image`` sees, by nvidia-smi, which the toolkit puts into it.

    Raises LaunchError (code ``no_nvidia_runtime`` without the toolkit), RuntimeUnavailableError.
    """
    with answers() as client:
        host = client.create_host_config(
            device_requests=[DeviceRequest(count=-1, capabilities=[["gpu"]])],
            security_opt=["no-new-privileges"],
            network_mode="none",
        )
        try:
            container = client.create_container(
                image,
                entrypoint=["nvidia-smi"],
                command=["--query-gpu=uuid", "--format=csv,noheader"],
                environment={"NVIDIA_DRIVER_CAPABILITIES": "utility"},
                labels={"berth.doctor": settings.BERTH_INSTALLATION},
                host_config=host,
            )["Id"]
        except APIError as error:
            refuse(error)
        try:
            client.start(container)
            status = client.wait(container, timeout=START_S)["StatusCode"]
            said = client.logs(container).decode(errors="replace").strip()
        except APIError as error:
            refuse(error)
        finally:
            with contextlib.suppress(NotFound):
                client.remove_container(container, force=True, v=True)
    if status:
        raise LaunchError(said[:300] or f"nvidia-smi ended with {status}", code="launch_refused", detail=said[:300])
    return frozenset(said.split())
