"""Ollama's ``options``, ``format`` and ``think`` as parameters of OpenAI's API.

Options that decide how a model is loaded (num_ctx, num_gpu and the like) are the deployment's, and sampling options
that an engine does not have are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.utils.translation import gettext_lazy as _

from playground.exceptions import BadRequestError

from .engines import Dialect

_STANDARD: Final = {
    "temperature": "temperature",
    "top_p": "top_p",
    "seed": "seed",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "stop": "stop",
    "num_predict": "max_tokens",
}
_INTEGERS: Final = frozenset({"seed", "num_predict", "top_k"})
_EFFORTS: Final = ("low", "medium", "high")


def options_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """The request's ``options``. Raises BadRequestError when they are no object."""
    options = content.get("options")
    if options is None:
        return {}
    if not isinstance(options, dict):
        raise BadRequestError(_("'options' must be an object."), param="options")
    return options


def most_tokens(content: Mapping[str, Any]) -> int | None:
    """How long the answer may become; None without a bound, as for numbers below one. Raises BadRequestError."""
    value = options_of(content).get("num_predict")
    if value is None:
        return None
    number = int(_checked("num_predict", value))
    return number if number > 0 else None


def sampling(content: Mapping[str, Any], dialect: Dialect) -> dict[str, Any]:
    """The options for an engine. Raises BadRequestError for a value of the wrong kind."""
    names = {**_STANDARD, **dialect.options}
    asked = {
        names[name]: _checked(name, value)
        for name, value in options_of(content).items()
        if name in names and value is not None
    }
    if asked.get("max_tokens", 1) < 1:
        del asked["max_tokens"]
    return {name: value for name, value in asked.items() if value != []}


def response_format(content: Mapping[str, Any], dialect: Dialect) -> dict[str, Any]:
    """``format`` as ``response_format``, alone in a dict; empty without one. Raises BadRequestError."""
    wanted = content.get("format")
    if wanted is None or wanted == "":
        return {}
    if wanted != "json" and not isinstance(wanted, dict):
        raise BadRequestError(_("'format' must be “json” or a JSON schema."), param="format")
    if dialect.formats == "tgi":
        schema = wanted if isinstance(wanted, dict) else {"type": "object"}
        return {"response_format": {"type": "json", "value": schema}}
    if isinstance(wanted, dict):
        schema = {"name": "response", "schema": wanted, "strict": True}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}
    return {"response_format": {"type": "json_object"}}


def thinking(content: Mapping[str, Any], dialect: Dialect) -> dict[str, Any]:
    """``think`` for an engine: an effort by OpenAI's own name, yes and no for the template. Raises BadRequestError.

    Templates know it by either of two names and ignore the other (Qwen's enable_thinking, DeepSeek's thinking).
    """
    think = content.get("think")
    if think is None:
        return {}
    if isinstance(think, bool):
        return (
            {"chat_template_kwargs": {"enable_thinking": think, "thinking": think}} if dialect.template_thinking else {}
        )
    if think in _EFFORTS:
        return {"reasoning_effort": think}
    raise BadRequestError(_("'think' must be true, false, “low”, “medium” or “high”."), param="think")


def log_probabilities(content: Mapping[str, Any]) -> dict[str, Any]:
    """``logprobs`` and ``top_logprobs``, which OpenAI's chat calls the same."""
    if content.get("logprobs") is not True:
        return {}
    top = content.get("top_logprobs")
    return {"logprobs": True, **({"top_logprobs": top} if isinstance(top, int) and top else {})}


def _checked(name: str, value: Any) -> Any:
    if name == "stop":
        if isinstance(value, str):
            return [value]
        if isinstance(value, list) and all(isinstance(word, str) for word in value):
            return value
        raise _wrong(name, _("a list of strings"))
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(name, _("a number"))
    return int(value) if name in _INTEGERS else value


def _wrong(name: str, kind: Any) -> BadRequestError:
    return BadRequestError(_("The option '%(name)s' must be %(kind)s."), param="options", name=name, kind=kind)
