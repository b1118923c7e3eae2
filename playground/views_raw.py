"""Raw: the page, a request whose answer is passed on as it comes, and the same request as code."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils import translation
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from deployments.actors import TRY_MODELS, Actor, explain_missing
from deployments.exceptions import BerthError, InvalidInputError
from deployments.views.fragments import PageRequest, for_viewers

from .json_views import plain, takes_json, text_in, told
from .modes import modes
from .page_strings import raw_strings
from .protocols.raw import Sent, send_raw
from .raw.checking import RawRequest, check_code, check_request
from .raw.snippets import code_for
from .request_client import gateway_url
from .selectors_raw import WantedRequest, raw_targets, request_of_answer
from .services.person_token import make_person_token

logger = logging.getLogger(__name__)


@require_safe
@for_viewers
def raw(request: PageRequest) -> HttpResponse:
    """The page; ``?config=`` and ``?path=`` preselect, ``?answer=`` begins with what that answer was asked with."""
    may_send = Actor.person(request.user).may(TRY_MODELS)
    answer = request.GET.get("answer", "")
    if answer.isdecimal() and len(answer) < 16:
        wanted = request_of_answer(int(answer), request.user.pk)
    else:
        wanted = WantedRequest(config=request.GET.get("config", ""), path=request.GET.get("path", ""))
    context: dict[str, Any] = {
        "state": plain({"targets": raw_targets(), "wanted": wanted}),
        "strings": raw_strings(),
        "modes": modes("playground:raw"),
        "why_not": "" if may_send else explain_missing(TRY_MODELS),
    }
    return render(request, "playground/raw.html", context)


@takes_json
def raw_send(request: PageRequest) -> object:
    """Send it as the person. Lines of JSON: ``head``, then ``frame`` as often as something came, then ``end``."""
    content = request.POST.dict() if request.content_type == "multipart/form-data" else told(request)
    path, text = text_in(content, "path"), text_in(content, "body")
    checked = check_request(path, text, files=_files(request), actor=Actor.person(request.user))
    lines = _lines(checked, gateway_url().rstrip("/") + path, translation.get_language() or "en")
    response = StreamingHttpResponse(lines, content_type="application/x-ndjson")
    # A proxy in front passes on what comes when it comes.
    response.headers["X-Accel-Buffering"] = "no"
    return response


@takes_json
def raw_code(request: PageRequest) -> object:
    """The request in the words of other tools."""
    content = told(request)
    names = content.get("files", {})
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise InvalidInputError(_("%(name)s has to be text.") % {"name": "files"})
    path, text = text_in(content, "path"), text_in(content, "body")
    return code_for(check_code(path, text, names, actor=Actor.person(request.user)))


def _files(request: PageRequest) -> dict[str, UploadedFile]:
    """The last of each field, unread."""
    return {field: file for field, file in request.FILES.items() if isinstance(file, UploadedFile)}


def _sent(checked: RawRequest) -> Sent:
    asked = checked.asked
    if asked.kind == "json":
        return Sent(method=asked.method, text=checked.text)
    if asked.kind == "form":
        return Sent(method=asked.method, form=asked.form, files=checked.files)
    return Sent(method=asked.method)


async def _lines(checked: RawRequest, url: str, language: str) -> AsyncIterator[bytes]:
    token = make_person_token(checked.user_id)
    with translation.override(language):
        try:
            async for part in send_raw(url, _sent(checked), token=token, language=language):
                yield _line(type(part).__name__.lower(), plain(part))
        except BerthError as error:
            yield _line("error", str(error))
        except Exception:  # the edge: the head of the answer is gone, so the reason has to be in its body
            logger.exception("A raw request to %s failed", checked.asked.path)
            yield _line("error", _("The playground failed. Its log names the cause."))


def _line(kind: str, content: object) -> bytes:
    return json.dumps({kind: content}, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
