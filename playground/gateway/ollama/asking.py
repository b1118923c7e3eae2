"""A request of Ollama's API as one of OpenAI's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from django.utils.translation import gettext_lazy as _

from playground.exceptions import BadRequestError

from .engines import Dialect
from .long_strings import LongStrings
from .messages import content_with, openai_messages
from .options import log_probabilities, response_format, sampling, thinking

Asked = Literal["chat", "generate", "embed", "embeddings"]
#: By the addresses of Ollama's API.
ASKED: Final[dict[str, Asked]] = {
    "/api/chat": "chat",
    "/api/generate": "generate",
    "/api/embed": "embed",
    "/api/embeddings": "embeddings",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What an engine is asked, and where. ``content`` has stand-ins for long strings."""

    path: str
    content: dict[str, Any]


def streams(asked: Asked, content: Mapping[str, Any]) -> bool:
    """Whether the answer is a stream, which it is unless the request says otherwise."""
    return asked in ("chat", "generate") and content.get("stream") is not False


def loads_only(asked: Asked, content: Mapping[str, Any]) -> bool:
    """Whether the request asks nothing but that the model be there (server/routes.go)."""
    if asked == "chat":
        return not content.get("messages")
    if asked == "embed":
        return not content.get("input")
    return not content.get("prompt") and not content.get("images") and not content.get("suffix")


def unloads(content: Mapping[str, Any]) -> bool:
    """Whether ``keep_alive`` is zero: a number of seconds, or a Go duration."""
    keep = content.get("keep_alive")
    if isinstance(keep, str):
        return keep.strip("+-") in ("0", "0s", "0m", "0h", "0ms", "0m0s", "0h0m0s")
    return keep == 0 and not isinstance(keep, bool)


def question_for(
    asked: Asked, content: Mapping[str, Any], strings: LongStrings, *, served_name: str, dialect: Dialect
) -> Question:
    """Translate a request for an engine. Raises BadRequestError for what cannot be asked of it."""
    if asked in ("embed", "embeddings"):
        return _embedding(content, served_name)
    stream: dict[str, Any] = {"stream": streams(asked, content)}
    if stream["stream"] and dialect.counts_stream:
        stream["stream_options"] = {"include_usage": True}
    common = {"model": served_name, **stream, **sampling(content, dialect), **response_format(content, dialect)}
    if asked == "generate" and content.get("raw") is True:
        return Question(path="/v1/completions", content={**common, "prompt": _raw_prompt(content)})
    if asked == "chat":
        messages = openai_messages(content.get("messages"), strings, dialect)
        if tools := content.get("tools"):
            common["tools"] = tools
    else:
        messages = _as_messages(content, strings)
    common |= {"messages": messages, **thinking(content, dialect), **log_probabilities(content)}
    return Question(path="/v1/chat/completions", content=common)


def _as_messages(content: Mapping[str, Any], strings: LongStrings) -> list[dict[str, Any]]:
    for name in ("template", "context", "suffix"):
        if content.get(name):
            raise BadRequestError(
                _("'%(name)s' cannot be used with this model, which is asked through its chat template."),
                param=name,
                name=name,
            )
    system = _text(content, "system")
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    return [
        *messages,
        {"role": "user", "content": content_with(_text(content, "prompt"), content.get("images"), strings)},
    ]


def _raw_prompt(content: Mapping[str, Any]) -> str:
    for name in ("template", "system", "context", "images", "suffix"):
        if content.get(name):
            raise BadRequestError(_("'%(name)s' cannot be used with 'raw'."), param=name, name=name)
    return _text(content, "prompt")


def _embedding(content: Mapping[str, Any], served_name: str) -> Question:
    given = content.get("input", content.get("prompt"))
    if not isinstance(given, str) and not (isinstance(given, list) and all(isinstance(text, str) for text in given)):
        raise BadRequestError(_("'input' must be a text or a list of texts."), param="input")
    asked: dict[str, Any] = {"model": served_name, "input": given, "encoding_format": "float"}
    dimensions = content.get("dimensions")
    if isinstance(dimensions, int) and dimensions > 0:
        asked["dimensions"] = dimensions
    return Question(path="/v1/embeddings", content=asked)


def _text(content: Mapping[str, Any], name: str) -> str:
    value = content.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadRequestError(_("'%(name)s' must be a text."), param=name, name=name)
    return value
