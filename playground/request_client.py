"""Sends one question through the gateway, as the host's command line."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.utils.translation import gettext as _

from deployments.actors import Actor
from deployments.exceptions import InvalidInputError

from .exceptions import RequestError
from .protocols import ASK, Answer, GatewayHttp, Question
from .services.command_line_token import make_token


@dataclass(frozen=True, kw_only=True)
class Timed:
    """An answer with its times in seconds; ``first_s`` is None when no text came."""

    answer: Answer
    first_s: float | None
    total_s: float

    @property
    def tokens_per_s(self) -> float | None:
        """Tokens a second after the first, or None when it is not known."""
        tokens = (self.answer.answer_tokens or 0) - 1
        if self.first_s is None or tokens < 1 or self.total_s <= self.first_s:
            return None
        return tokens / (self.total_s - self.first_s)


def send_question(question: Question, *, protocol: str, on_text: Callable[[str], None]) -> Timed:
    """Ask through the gateway; ``on_text`` gets each piece as it arrives. Raises RequestError with a sentence."""
    began = time.monotonic()
    first_s: float | None = None

    def note(piece: str) -> None:
        nonlocal first_s
        if piece:
            first_s = time.monotonic() - began if first_s is None else first_s
            on_text(piece)

    token = make_token(Actor.command_line().name)
    with GatewayHttp(gateway_url(), token) as http:
        try:
            answer = ASK[protocol](http, question, note)
        except RequestError as error:
            if error.code != "unknown_url":
                raise
            sentence = _("This gateway does not serve %(protocol)s yet.") % {"protocol": protocol}
            raise RequestError(sentence, status=error.status, code=error.code) from error
    return Timed(answer=answer, first_s=first_s, total_s=time.monotonic() - began)


def free_name(wanted: Path) -> Path:
    """``wanted``, or with a number before its suffix so that no file is overwritten."""
    numbered = (wanted.with_stem(f"{wanted.stem}-{number}") for number in range(1, 10_000))
    return next(path for path in (wanted, *numbered) if not path.exists())


def write_file(path: Path, content: bytes) -> None:
    """Write ``content``. Raises InvalidInputError with the reason."""
    try:
        path.write_bytes(content)
    except OSError as error:
        reason = {"path": path, "reason": error.strerror}
        raise InvalidInputError(_("%(path)s cannot be written: %(reason)s.") % reason) from error


def gateway_url() -> str:
    """Where the gateway is: as it was set, else where the running one says it is, else where one would be."""
    pointer = settings.BERTH_GATEWAY_POINTER
    if pointer and Path(pointer).exists():
        return Path(pointer).read_text().strip()
    return str(settings.BERTH_GATEWAY_AT)
