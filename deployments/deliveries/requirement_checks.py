"""What makes a requirement one that can be delivered: a sentence for each field that does not fit. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from django.utils.translation import gettext as _

from .requirement import AskedProtocol, Host, Requirement, Source, Task, Weights

#: A problem of one field, by the name that the form gives it.
Problem = tuple[str, str]

MOST_GPUS = 64
#: ``org/model`` or ``model``, as hubs name repositories; also what a command line may hold without quotes.
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
_ARCHITECTURE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
#: How each task may be asked.
_PROTOCOLS = {
    Task.TEXT: {AskedProtocol.OPENAI_TEXT, AskedProtocol.OLLAMA_TEXT, AskedProtocol.TGI},
    Task.MULTIMODAL: {AskedProtocol.OPENAI_TEXT, AskedProtocol.OLLAMA_TEXT, AskedProtocol.TGI},
    Task.EMBEDDING: {AskedProtocol.OPENAI_TEXT, AskedProtocol.OLLAMA_TEXT},
    Task.IMAGE: {AskedProtocol.OPENAI_IMAGE},
}
_CHOICES = {"task": Task, "source": Source, "host": Host, "weights": Weights, "protocol": AskedProtocol}


def requirement_problems(wanted: Requirement) -> dict[str, list[str]]:
    """The problems of each field; empty when it can be kept."""
    found: dict[str, list[str]] = {}
    for field, problem in _problems(wanted):
        found.setdefault(field, []).append(problem)
    return found


def _problems(wanted: Requirement) -> Iterator[Problem]:
    for field, kind in _CHOICES.items():
        if getattr(wanted, field) not in kind.values:
            yield field, _("Choose one of the list.")
    if not wanted.model.strip():
        yield "model", _("Name the model.")
    yield from _weights(wanted)
    yield from _shape(wanted)
    yield from _hardware(wanted)
    yield from _protocol(wanted)
    yield from _targets(wanted)


def _weights(wanted: Requirement) -> Iterator[Problem]:
    if wanted.source == Source.HUB:
        if not wanted.repository:
            yield "repository", _("Name the repository of the hub, as in org/model.")
        elif not _REPOSITORY.fullmatch(wanted.repository) or ".." in wanted.repository:
            yield "repository", _("Write it as the hub does, as in org/model, without an address.")
        if wanted.revision and (not _REVISION.fullmatch(wanted.revision) or ".." in wanted.revision):
            yield "revision", _("Write a branch, a tag or a commit.")
    elif wanted.source == Source.PATH:
        path = PurePosixPath(wanted.path)
        if not wanted.path:
            yield "path", _("Write the path of the weights on the host.")
        elif not path.is_absolute() or ".." in path.parts or not wanted.path.isprintable():
            yield "path", _("Write an absolute path without “..”, as in /models/llama3-8b.")


def _shape(wanted: Requirement) -> Iterator[Problem]:
    if wanted.architecture and not _ARCHITECTURE.fullmatch(wanted.architecture):
        yield "architecture", _("Write it as config.json does, as in LlamaForCausalLM.")
    if wanted.parameters_b is not None and wanted.parameters_b <= 0:
        yield "parameters_b", _("Write a number above 0, or leave it empty.")
    shape = {"layers": wanted.layers, "kv_heads": wanted.kv_heads, "head_dimension": wanted.head_dimension}
    for field, value in shape.items():
        if value is None and any(shape.values()):
            yield field, _("The KV cache is known only with all three: layers, key-value heads and head dimension.")
        if value is not None and value <= 0:
            yield field, _("Write a number above 0, or leave it empty.")


def _hardware(wanted: Requirement) -> Iterator[Problem]:
    hardware = wanted.hardware
    if not 0 <= hardware.count <= MOST_GPUS:
        yield "gpus", _("Write a number from 0 (no GPU) to %(most)d.") % {"most": MOST_GPUS}
    if hardware.memory_gib is not None and hardware.memory_gib <= 0:
        yield "gpu_memory_gib", _("Write a number above 0.")
    if hardware.count > 0:
        if not hardware.gpu.strip():
            yield "gpu", _("Name the GPU, or ask for 0 of them.")
        if hardware.memory_gib is None:
            yield "gpu_memory_gib", _("Say how much memory one GPU has; no node has told it for this type.")


def _protocol(wanted: Requirement) -> Iterator[Problem]:
    fitting = next((protocols for task, protocols in _PROTOCOLS.items() if task == wanted.task), None)
    if fitting is None or wanted.protocol not in AskedProtocol.values or wanted.protocol in fitting:
        return
    names = ", ".join(sorted(str(AskedProtocol(protocol).label) for protocol in fitting))
    yield "protocol", _("This task cannot be asked so. Choose among: %(names)s.") % {"names": names}


def _targets(wanted: Requirement) -> Iterator[Problem]:
    targets = wanted.targets
    for field in ("requests_per_s", "concurrent_users", "first_token_ms", "tokens_per_s", "context_tokens"):
        value = getattr(targets, field)
        if value is not None and value <= 0:
            yield field, _("Write a number above 0, or leave it empty.")
    if wanted.task in {Task.IMAGE, Task.EMBEDDING}:
        for field in ("first_token_ms", "tokens_per_s"):
            if getattr(targets, field) is not None:
                yield field, _("A model that writes no text has no such figure; leave it empty.")
