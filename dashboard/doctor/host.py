"""Checks of the host: container engine, GPUs, disk space, the model hub."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from django.conf import settings

from deployments.exceptions import RuntimeFaultError
from deployments.gpu_readings import latest_readings
from deployments.gpu_reasons import in_words
from deployments.models import Config
from deployments.runtimes.docker import diagnosis

from .findings import Finding, failed, ok, skipped, warning

GIB = 1024**3
#: Images of model servers take 5 to 25 GiB, weights of a small model as much.
LOW_DISK_GIB = 50
NO_DISK_GIB = 5
#: The oldest engine that Berth is tested with.
LEAST_DOCKER = (20, 10)
HUB = "https://huggingface.co"
HUB_S = 5.0


def docker() -> Sequence[Finding]:
    """Whether the container engine answers, how old it is, and whether its disk has room for images."""
    try:
        engine = diagnosis.engine_facts()
    except RuntimeFaultError as error:
        return failed("docker", "silent", detail=str(error))
    found: list[Finding] = []
    if _version(engine.version) < LEAST_DOCKER:
        found += warning("docker", "old", version=engine.version, least=".".join(map(str, LEAST_DOCKER)))
    else:
        found += ok("docker", version=engine.version, storage=engine.storage_driver)
    return [*found, *_space("image_disk", Path(engine.root))]


def gpus() -> Sequence[Finding]:
    """Driver, toolkit, and each GPU from within a container: a real start where there is a GPU and an image."""
    reading = latest_readings([settings.BERTH_NODE_NAME]).get(settings.BERTH_NODE_NAME)
    if reading is None:
        return skipped("driver", "no_reading")
    if reading.is_replay:
        return skipped("driver", "replay", source=reading.source)
    if not reading.gpus:
        return skipped("driver", "none", reason=in_words(reading.reason) or "–")
    driver = ok("driver", version=reading.driver, count=len(reading.gpus))
    return [*driver, *_toolkit({gpu.uuid: gpu.index for gpu in reading.gpus})]


def _toolkit(expected: dict[str, int]) -> Sequence[Finding]:
    try:
        local = diagnosis.first_local_image(_images())
        if local is None:
            return warning("toolkit", "no_image")
        seen = diagnosis.gpus_in_container(local)
    except RuntimeFaultError as error:
        outcome = error.code if error.code == "no_nvidia_runtime" else "start_failed"
        return failed("toolkit", outcome, detail=str(error))
    found: list[Finding] = ok("toolkit", image=local)
    for uuid, index in sorted(expected.items(), key=lambda item: item[1]):
        if uuid in seen:
            found += ok("gpu_in_container", index=index, uuid=uuid)
        else:
            found += failed("gpu_in_container", "invisible", index=index, uuid=uuid)
    return found


def disk() -> Sequence[Finding]:
    """Room for weights, logs and the database."""
    return _space("data_disk", Path(settings.BERTH_DATA_DIR))


def hub() -> Sequence[Finding]:
    """Whether the hub that weights come from answers, and how fast."""
    url = settings.BERTH_HUB_URL or HUB
    began = time.perf_counter()
    try:
        httpx.head(url, timeout=HUB_S, follow_redirects=False)
    except httpx.HTTPError as error:
        return warning("hub", "unreachable", url=url, detail=str(error) or type(error).__name__)
    return ok("hub", url=url, ms=round((time.perf_counter() - began) * 1000))


def _space(check: str, folder: Path) -> Sequence[Finding]:
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        # The engine's folder is another host's or container's: only that can tell.
        return skipped(check, "invisible", folder=str(folder))
    free = usage.free / GIB
    params: dict[str, Any] = {"folder": str(folder), "free": round(free, 1), "total": round(usage.total / GIB)}
    if free < NO_DISK_GIB:
        return failed(check, "full", **params)
    return warning(check, "low", **params) if free < LOW_DISK_GIB else ok(check, **params)


def _images() -> list[str]:
    named = Config.objects.filter(runtime="docker", gpus__gt=0, archived_at=None)
    return sorted(set(named.values_list("image", flat=True)))


def _version(text: str) -> tuple[int, ...]:
    found = re.match(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)
