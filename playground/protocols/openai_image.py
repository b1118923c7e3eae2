"""OpenAI's image generation: https://platform.openai.com/docs/api-reference/images"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable

from django.utils.translation import gettext as _

from playground.exceptions import RequestError

from .base import Answer, GatewayHttp, Question

PATH = "/v1/images/generations"


def ask_openai_image(http: GatewayHttp, question: Question, on_text: Callable[[str], None]) -> Answer:
    """Ask for one picture as base64; ``on_text`` is not used. Raises RequestError."""
    body = {"model": question.model, "prompt": question.prompt, "n": 1, "response_format": "b64_json"}
    answer = Answer(whole=http.whole(PATH, body))
    try:
        answer.pictures = [
            base64.b64decode(entry["b64_json"], validate=True) for entry in answer.whole.get("data") or []
        ]
    except (KeyError, TypeError, binascii.Error) as error:
        raise RequestError(_("The model's server sent no picture as base64.")) from error
    if not answer.pictures:
        raise RequestError(_("The model's server sent no picture."))
    return answer
