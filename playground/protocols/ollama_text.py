"""Ollama's chat: https://github.com/ollama/ollama/blob/main/docs/api.md"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.utils.translation import gettext as _

from playground.exceptions import RequestError

from .base import Answer, GatewayHttp, Question, as_object, raise_for_error

PATH = "/api/chat"


def ask_ollama_text(http: GatewayHttp, question: Question, on_text: Callable[[str], None]) -> Answer:
    """Ask; raises RequestError, also for an error line under status 200 and a stream without its last line."""
    message: dict[str, Any] = {"role": "user", "content": question.prompt}
    if question.picture is not None:
        message["images"] = [question.picture.base64]
    body = {"model": question.model, "messages": [message], "stream": question.stream}
    if not question.stream:
        answer = Answer(whole=http.whole(PATH, body))
        raise_for_error(answer.whole)
        _note(answer, answer.whole, on_text)
        return answer
    answer = Answer()
    for line in http.lines(PATH, body):
        if not line:
            continue
        part = as_object(line)
        raise_for_error(part)
        _note(answer, part, on_text)
        if part.get("done"):
            return answer
    raise RequestError(_("The answer broke off before its end."))


def _note(answer: Answer, part: dict[str, Any], on_text: Callable[[str], None]) -> None:
    piece = part.get("message", {}).get("content") or ""
    answer.text += piece
    on_text(piece)
    if part.get("done"):
        answer.prompt_tokens, answer.answer_tokens = part.get("prompt_eval_count"), part.get("eval_count")
