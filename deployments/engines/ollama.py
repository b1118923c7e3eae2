"""Ollama. Answers at once, without a model: it is pulled and loaded then. It does not drain at SIGTERM.

It knows no key: it is reached on the host's own address or the models' network only.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from deployments.exceptions import FetchError
from deployments.progress import Progress
from deployments.spec import ServingSpec

from .argument_style import ArgumentStyle
from .base import Cancelled, CausePattern, Report
from .http import HttpError, ModelServer, ServerRefusedError
from .metrics import ollama_resident
from .patience import following
from .probes import model_in_memory, names_in, ollama_name
from .served import ServedEngine
from .traces import Traces


@dataclass
class Pull:
    """The sum over the layers of a pull; a line may leave ``completed`` out."""

    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    began_at: float = 0.0
    began_with: int = 0
    succeeded: bool = False

    def take(self, line: dict[str, Any]) -> Progress:
        """Note one line. Raises FetchError for an error, which comes despite HTTP 200."""
        if error := line.get("error"):
            raise pull_error(str(error))
        status = str(line.get("status", ""))
        self.succeeded = status == "success"
        if digest := line.get("digest"):
            _total, before = self.sizes.get(digest, (0, 0))
            self.sizes[digest] = (int(line.get("total") or 0), int(line.get("completed") or before))
        total = sum(size for size, _done in self.sizes.values())
        done = sum(done for _size, done in self.sizes.values())
        if not total:
            return Progress(step=status)
        now = time.monotonic()
        if not self.began_at:
            self.began_at, self.began_with = now, done  # bytes of an earlier pull are no speed of this one
        seconds = now - self.began_at
        rate = (done - self.began_with) / seconds if seconds > 1 else None
        step = "pulling" if line.get("digest") else status
        return Progress(step=step, done=done, total=total, rate=rate, eta_s=(total - done) / rate if rate else None)


def pull_error(words: str) -> FetchError:
    """The error for what Ollama says when it cannot pull."""
    if "file does not exist" in words or "not found" in words:
        return FetchError(words, code="model_not_in_library", permanent=True)
    if "no space left" in words:
        return FetchError(words, code="no_disk_space")
    return FetchError(words, code="pull_failed")


class Ollama(ServedEngine):
    """Pulls the model through the running server, then has it loaded for good."""

    prepares = True

    def prepare(self, endpoint: str, spec: ServingSpec, *, report: Report, cancelled: Cancelled, key: str = "") -> None:
        """Pull unless it is there (so that it starts without a network), then load. See the Protocol."""
        server = ModelServer(endpoint=endpoint, key=key)
        try:
            if ollama_name(spec) not in names_in(server.get("/api/tags")):
                _pull(server, spec, report, cancelled)
            report(Progress(step="loading into memory"))
            _load(server, spec, cancelled)
        except ServerRefusedError as error:
            raise pull_error(str(error)) from error
        except HttpError as error:
            raise FetchError(f"{type(error).__name__}: {error}", code="pull_failed") from error


def _pull(server: ModelServer, spec: ServingSpec, report: Report, cancelled: Cancelled) -> None:
    pull = Pull()
    body = {"model": spec.served_name, "stream": True}
    for line in following(lambda: server.lines("/api/pull", body), cancelled=cancelled):
        report(pull.take(line))
    if not pull.succeeded:
        raise FetchError("The pull ended without success.", code="pull_failed")


def _load(server: ModelServer, spec: ServingSpec, cancelled: Cancelled) -> None:
    """An empty request loads the model; a negative ``keep_alive`` keeps it."""

    def ask() -> Iterator[Any]:
        yield server.post("/api/generate", {"model": spec.served_name, "keep_alive": -1}, limit_s=spec.load_timeout_s)

    try:
        for answer in following(ask, cancelled=cancelled):
            if isinstance(answer, dict) and answer.get("error"):
                raise FetchError(str(answer["error"]), code="preload_failed")
        model_in_memory(server, spec)
    except ServerRefusedError as error:
        raise FetchError(str(error), code="preload_failed") from error


ENGINE = Ollama(
    name="ollama",
    title="Ollama",
    default_image="ollama/ollama:0.32.15",
    default_port=11434,
    default_readiness_path="/api/version",
    protocols=("ollama-text", "openai-text"),
    grace_s=10,
    arguments=ArgumentStyle(leading=("serve",), takes_model=False, context_variable="OLLAMA_CONTEXT_LENGTH"),
    traces=Traces(
        images=("ollama/ollama",), commands=("ollama serve",), model_pattern=r"\bollama (?:pull|run) ([^\s;&|'\"]+)"
    ),
    causes=(CausePattern(pattern=r"model requires more system memory|cudaMalloc failed", cause="cuda_out_of_memory"),),
    ask=model_in_memory,
    metrics=ollama_resident,
)
