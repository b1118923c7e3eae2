"""What a service is, told from image and command: engine, protocol, model, names, context. All are marked guesses."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from django.utils.translation import gettext as _

from deployments.engines import recognised_engine
from deployments.engines.argument_style import option_value
from deployments.engines.traces import first_of
from deployments.models.catalogue import Protocol

from .environment import variables_of
from .proposal import Draft, KnownModels

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_DRAWS = re.compile(r"flux|stable-?diffusion|sdxl|\bsd\d|dreamshaper", re.IGNORECASE)
_QUANTISATION = ("--quantization", "-q", "--quantize", "--model-format")
#: Endings that say how a model was made ready, not which one it is.
_VARIANT = re.compile(r"[-_.](instruct|chat|it|hf|gguf|awq|gptq|fp8|bf16|fp16|int4|int8|w4a16|latest|v\d+(\.\d+)*)$")


def recognise_engine(draft: Draft) -> None:
    """Set ``engine``; after ``image`` and the command."""
    engine = recognised_engine(draft.values.get("image", ""), draft.arguments)
    if engine is None:
        why = _("Neither image nor command tells of an engine that Berth knows.")
        draft.guess("engine", "custom", why)
    else:
        draft.guess("engine", engine.name, _("Image or command tell of %(engine)s.") % {"engine": engine.title})


def recognise_model(draft: Draft) -> None:
    """Set what the engine's arguments tell: protocol, model, served name, weights, context, requests at a time."""
    engine, style = draft.engine, draft.engine.arguments
    environment = _environment(draft)
    told = engine.traces.model_of(style, draft.arguments, environment)
    _guess_protocol(draft, told)
    name = style.name_of(draft.arguments) or first_of(environment, engine.traces.name_variables)
    if served := name or _name_within(told):
        why = _("The arguments name it so.") if name else _("Engines answer to the model's own name by default.")
        draft.guess("served_name", served, why)
    repository = told.partition(":")[0]
    if _REPOSITORY.fullmatch(repository):
        draft.guess("weights_repository", repository, _("The engine is told to load it."))
    if model := _catalogue_model(draft.models, repository, served):
        draft.guess("model", model, _("Its weights or its name are those of that model in the catalogue."))
    _guess_numbers(draft, environment)


def _environment(draft: Draft) -> dict[str, str]:
    """The variables as they stand, for looking into only."""
    return {item.name: draft.text(item.value, note_missing=False) for item in variables_of(draft.service) if item.value}


def _guess_protocol(draft: Draft, told: str) -> None:
    spoken = draft.engine.protocols
    protocol = spoken[0]
    if draft.engine.name in {"localai", "custom"}:
        protocol = Protocol.OPENAI_IMAGE if _DRAWS.search(told) else Protocol.OPENAI_TEXT
    why = _("%(engine)s speaks %(protocols)s.") % {"engine": draft.engine.title, "protocols": ", ".join(spoken)}
    draft.guess("protocol", str(protocol), why)


def _guess_numbers(draft: Draft, environment: dict[str, str]) -> None:
    style = draft.engine.arguments
    context = style.context_of(draft.arguments, environment) or first_of(
        environment, draft.engine.traces.context_variables
    )
    if context.isdecimal() and int(context) > 0:
        draft.guess("context_tokens", int(context), _("The engine is told to keep so many."))
    slots = option_value(draft.arguments, style.slots) or ""
    if slots.isdecimal() and int(slots) > 0:
        draft.guess("concurrent_requests", int(slots), _("The engine is told to serve so many at a time."))
    quantisation = option_value(draft.arguments, _QUANTISATION)
    if quantisation and quantisation not in {"hf", "none"}:
        draft.guess("quantisation", quantisation, _("The arguments name it so."))


def _name_within(told: str) -> str:
    """The name by which a server answers: the repository, or the file's stem."""
    if told.startswith(("/", ".")) or told.endswith(".gguf"):
        return PurePosixPath(told).stem if told.endswith(".gguf") else told
    return told


def _catalogue_model(models: KnownModels, repository: str, served: str) -> str:
    if repository in models.by_repository:
        return models.by_repository[repository]
    wanted = {plain_name(repository), plain_name(served)} - {""}
    return next((name for name in models.names if plain_name(name) in wanted), "")


def plain_name(text: str) -> str:
    """A model's name without owner, variant and punctuation, to compare by: ``Llama-3-8B-Instruct`` -> ``llama38b``."""
    name = PurePosixPath(text.lower()).name.partition(":")[0].removesuffix(".gguf")
    while _VARIANT.search(name):
        name = _VARIANT.sub("", name)
    return re.sub(r"[^a-z0-9]", "", name.removeprefix("meta-"))
