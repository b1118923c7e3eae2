"""What somebody asks for: the first step of a delivery, and what all later ones are measured against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from django.db.models import TextChoices
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deployments.models import Delivery

from .steps import State, StepState


class Task(TextChoices):
    """What the model does."""

    TEXT = "text", gettext_lazy("writes text")
    IMAGE = "image", gettext_lazy("draws images")
    MULTIMODAL = "multimodal", gettext_lazy("reads text and images")
    EMBEDDING = "embedding", gettext_lazy("embeds text")


class Source(TextChoices):
    """Where the weights come from."""

    HUB = "hub", gettext_lazy("a repository of a model hub")
    PATH = "path", gettext_lazy("a folder or file of the host")


class Host(TextChoices):
    """Where the image will run."""

    LOCAL = "local", gettext_lazy("on a node of this installation")
    REMOTE = "remote", gettext_lazy("on another host")


class Weights(TextChoices):
    """Where the weights lie when it runs."""

    MOUNTED = "mounted", gettext_lazy("mounted from the host")
    BAKED = "baked", gettext_lazy("baked into the image")


class AskedProtocol(TextChoices):
    """How clients speak to it."""

    OPENAI_TEXT = "openai-text", gettext_lazy("OpenAI: chat, completions, embeddings")
    OLLAMA_TEXT = "ollama-text", gettext_lazy("Ollama")
    OPENAI_IMAGE = "openai-image", gettext_lazy("OpenAI: images")
    TGI = "tgi", gettext_lazy("TGI: generate")


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """The GPUs that it must fit: ``count`` of type ``gpu`` with ``memory_gib`` each; 0 GPUs means the processor."""

    gpu: str = ""
    count: int = 1
    memory_gib: float | None = None


@dataclass(frozen=True, kw_only=True)
class Targets:
    """What a load test is compared with. None: nothing was asked of it.

    ``first_token_ms`` is the longest time to first token, ``tokens_per_s`` the least output of one answer.
    """

    requests_per_s: float | None = None
    concurrent_users: int | None = None
    first_token_ms: float | None = None
    tokens_per_s: float | None = None
    context_tokens: int | None = None


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """A request for a model as a service. ``parameters_b`` is in billions; None and empty mean not known.

    ``layers``, ``kv_heads`` and ``head_dimension`` are those of the model's config.json, for the memory estimate.
    """

    task: str = Task.TEXT
    model: str = ""
    source: str = Source.HUB
    repository: str = ""
    revision: str = ""
    path: str = ""
    architecture: str = ""
    parameters_b: float | None = None
    quantisation: str = ""
    layers: int | None = None
    kv_heads: int | None = None
    head_dimension: int | None = None
    host: str = Host.LOCAL
    weights: str = Weights.MOUNTED
    protocol: str = AskedProtocol.OPENAI_TEXT
    hardware: Hardware = field(default_factory=Hardware)
    targets: Targets = field(default_factory=Targets)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """What ``Delivery.requirement`` holds; fields that are missing or unknown do not matter."""
        own = {name: value for name, value in data.items() if name in _names(cls)}
        own["hardware"] = Hardware(**_known(Hardware, data.get("hardware")))
        own["targets"] = Targets(**_known(Targets, data.get("targets")))
        return cls(**own)

    def to_json(self) -> dict[str, Any]:
        """What ``Delivery.requirement`` holds."""
        return asdict(self)

    @property
    def weights_from(self) -> str:
        """The weights' source as one line: ``org/model@main``, or a path."""
        if self.source == Source.PATH:
            return self.path
        return f"{self.repository}@{self.revision}" if self.revision else self.repository


def step_state(delivery: Delivery) -> StepState:
    """Done once it was written."""
    if not delivery.requirement:
        return StepState(sentence=_("Say what is asked for."))
    wanted = Requirement.from_json(delivery.requirement)
    hardware = wanted.hardware
    told = {"model": wanted.model, "count": hardware.count, "gpu": hardware.gpu}
    sentence = _("%(model)s on %(count)d × %(gpu)s.") if hardware.count else _("%(model)s without a GPU.")
    return StepState(
        state=State.DONE, sentence=sentence % told, who=delivery.requirement_by, when=delivery.requirement_at
    )


def _names(kind: type[Any]) -> set[str]:
    return {each.name for each in fields(kind)}


def _known(kind: type[Any], data: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (data or {}).items() if name in _names(kind)}
