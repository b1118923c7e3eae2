"""LocalAI. ``/readyz`` answers before a model is installed, and weights load at the first request.

An image costs minutes, so none is made to probe: the model must stand in the list of models.
"""

from __future__ import annotations

import time
from typing import Any

from deployments.exceptions import FetchError
from deployments.progress import Progress
from deployments.spec import ServingSpec

from .argument_style import ArgumentStyle
from .base import Cancelled, CausePattern, Report
from .http import HttpError, ModelServer, ServerRefusedError
from .patience import pause
from .probes import listed_by_name, model_ids
from .served import ServedEngine
from .traces import Traces

POLL_S = 1.0
#: A job has no status until its turn comes.
UNKNOWN_FOR_S = 60.0


class LocalAi(ServedEngine):
    """Installs the model from the gallery when the arguments did not."""

    prepares = True

    def prepare(self, endpoint: str, spec: ServingSpec, *, report: Report, cancelled: Cancelled, key: str = "") -> None:
        """Install, unless it is listed already. See the Protocol."""
        server = ModelServer(endpoint=endpoint, key=key)
        try:
            if spec.served_name in model_ids(server):
                return
            name = spec.served_name if "@" in spec.served_name else f"localai@{spec.served_name}"
            job = server.post("/models/apply", {"id": name})
            if not isinstance(job, dict) or not job.get("uuid"):
                raise FetchError(f"LocalAI began no job: {job}", code="install_failed")
            _await_job(server, str(job["uuid"]), report, cancelled)
            if spec.served_name not in model_ids(server):
                raise FetchError(f"It was installed, but {spec.served_name} is not listed.", code="install_failed")
        except (ServerRefusedError, *HttpError) as error:
            raise FetchError(str(error) or type(error).__name__, code="install_failed") from error


def _await_job(server: ModelServer, uuid: str, report: Report, cancelled: Cancelled) -> None:
    began_at = time.monotonic()
    while True:
        try:
            status = server.get(f"/models/jobs/{uuid}")
        except ServerRefusedError:
            if time.monotonic() - began_at > UNKNOWN_FOR_S:
                raise
            status = {}
        if _ended(status if isinstance(status, dict) else {}, report):
            return
        pause(POLL_S, cancelled=cancelled)


def _ended(status: dict[str, Any], report: Report) -> bool:
    """Report what a job says. Raises FetchError when it failed; older versions give an empty object as error."""
    error, message = status.get("error"), str(status.get("message") or "")
    if (error is not None and error != "") or status.get("cancelled") or message.startswith("error"):
        words = error if isinstance(error, str) and error else message or "the installation failed"
        missing = "no model found" in words or "not found" in words
        code = "no_disk_space" if "no space left" in words else "install_failed"
        raise FetchError(words, code="model_not_in_library" if missing else code, permanent=missing)
    done, total = status.get("current_bytes"), status.get("total_bytes")
    if total:
        report(Progress(step="installing", done=done, total=total))
    elif status:
        report(Progress(step="installing", done=status.get("progress"), total=100, unit="%"))
    return bool(status.get("processed"))


ENGINE = LocalAi(
    name="localai",
    title="LocalAI",
    default_image="localai/localai:v4.9.0-gpu-nvidia-cuda-12",
    default_port=8080,
    key_variable="LOCALAI_API_KEY",
    default_readiness_path="/readyz",
    protocols=("openai-image", "openai-text"),
    arguments=ArgumentStyle(leading=("run",), context_variable="LOCALAI_CONTEXT_SIZE"),
    traces=Traces(images=("localai", "local-ai"), commands=("local-ai",), model_after=("run",)),
    causes=(
        CausePattern(pattern=r"no model found with name|could not find a model in the gallery", cause="bad_model_path"),
    ),
    ask=listed_by_name,
    # "Downloading <file>: … (15.00%) ETA …", newer: fileName="<file>" … percentage=15, names in colour.
    progress_line=r"Downloading (?:\S*fileName\S*=\")?(?P<step>[^\s\"]+?)(?:\"|:) .*(?:\(|percentage\S*=)"
    r"(?P<percent>\d+(\.\d+)?)(?:%\) ETA| )",
)
