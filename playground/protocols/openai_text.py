"""OpenAI's chat completions: https://platform.openai.com/docs/api-reference/chat"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.utils.translation import gettext as _

from playground.exceptions import RequestError

from .base import Answer, GatewayHttp, Question, as_object, raise_for_error

PATH = "/v1/chat/completions"


def ask_openai_text(http: GatewayHttp, question: Question, on_text: Callable[[str], None]) -> Answer:
    """Ask; raises RequestError, also when a stream ends before its last frame."""
    body: dict[str, Any] = {
        "model": question.model,
        "messages": [{"role": "user", "content": _content(question)}],
        "stream": question.stream,
    }
    if question.stream:
        return _streamed(http, {**body, "stream_options": {"include_usage": True}}, on_text)
    answer = Answer(whole=http.whole(PATH, body))
    choices = answer.whole.get("choices") or [{}]
    answer.text = choices[0].get("message", {}).get("content") or ""
    _note_usage(answer, answer.whole)
    on_text(answer.text)
    return answer


def _content(question: Question) -> str | list[dict[str, Any]]:
    if question.picture is None:
        return question.prompt
    return [
        {"type": "text", "text": question.prompt},
        {"type": "image_url", "image_url": {"url": question.picture.data_uri}},
    ]


def _streamed(http: GatewayHttp, body: dict[str, Any], on_text: Callable[[str], None]) -> Answer:
    answer = Answer()
    for line in http.lines(PATH, body):
        if not line.startswith("data:"):
            continue
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            return answer
        chunk = as_object(data)
        raise_for_error(chunk)
        for choice in chunk.get("choices") or []:
            piece = choice.get("delta", {}).get("content") or ""
            answer.text += piece
            on_text(piece)
        _note_usage(answer, chunk)
    # A stream that is merely closed is no complete answer.
    raise RequestError(_("The answer broke off before its end."))


def _note_usage(answer: Answer, content: dict[str, Any]) -> None:
    usage = content.get("usage")
    if usage:
        answer.prompt_tokens, answer.answer_tokens = usage.get("prompt_tokens"), usage.get("completion_tokens")
