"""Views that the playground's modules ask: JSON in and out, with the apps' own sentences for what went wrong.

Raw takes a form, too, where files come along, and answers with lines of JSON.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.utils.cache import add_never_cache_headers
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from deployments.actors import Actor
from deployments.exceptions import BerthError, ConflictError, InvalidInputError, NotAllowedError, NotFoundError
from deployments.views.fragments import VIEW, PageRequest

P = ParamSpec("P")
_STATUS: tuple[tuple[type[BerthError], int], ...] = (
    (NotAllowedError, 403),
    (NotFoundError, 404),
    (InvalidInputError, 422),
    (ConflictError, 409),
    (BerthError, 503),
)


def answers_json(
    view: Callable[Concatenate[PageRequest, P], object],
) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
    """Answers with what ``view`` gives (a response as it is), or with ``{"error": sentence, "fields": {…}}``.

    Only for people with a role.
    """

    @wraps(view)
    def answered(request: Any, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        try:
            Actor.person(request.user).require(VIEW)
            response = _as_response(view(request, *args, **kwargs))
        except BerthError as error:
            status = next(code for kind, code in _STATUS if isinstance(error, kind))
            fields = error.fields if isinstance(error, InvalidInputError) else {}
            response = JsonResponse({"error": str(error), "fields": fields}, status=status)
        add_never_cache_headers(response)
        return response

    return answered


def _as_response(answer: object) -> HttpResponseBase:
    """A view may answer with a file or a stream."""
    return answer if isinstance(answer, HttpResponseBase) else JsonResponse(plain(answer), safe=False)


def takes_json(
    view: Callable[Concatenate[PageRequest, P], object],
) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
    """As :func:`answers_json`, for POST only. The view reads the body: :func:`told`."""
    return require_POST(answers_json(view))


def told(request: HttpRequest) -> dict[str, Any]:
    """The JSON object of the body. Raises InvalidInputError."""
    try:
        content = json.loads(request.body)
    except ValueError as error:
        raise InvalidInputError(_("The request is not JSON.")) from error
    if not isinstance(content, dict):
        raise InvalidInputError(_("The request is not a JSON object."))
    return content


def text_in(content: dict[str, Any], name: str) -> str:
    """A text, empty where there is none. Raises InvalidInputError."""
    value = content.get(name, "")
    if not isinstance(value, str):
        raise InvalidInputError(_("%(name)s has to be text.") % {"name": name})
    return value


def number_in(content: dict[str, Any], name: str) -> int | None:
    """The number of a row, or None. Raises InvalidInputError."""
    value = content.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**63:
        raise InvalidInputError(_("%(name)s has to be a number.") % {"name": name})
    return value


def numbers_in(content: dict[str, Any], name: str) -> list[int]:
    """Numbers of rows. Raises InvalidInputError."""
    value = content.get(name) or []
    if not isinstance(value, list) or len(value) > 100:
        raise InvalidInputError(_("%(name)s has to be a list.") % {"name": name})
    return [number_in({name: each}, name) or 0 for each in value]


def plain(value: Any) -> Any:
    """Dataclasses as objects."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return value
