"""The log of one attempt: stretches of it and searches, as JSON for the page, and the whole as a file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from functools import wraps
from itertools import islice
from typing import Any, Concatenate, ParamSpec

from django.http import HttpRequest, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from deployments.database_threads import in_database
from deployments.exceptions import BerthError, InvalidInputError, NotAllowedError, NotFoundError
from deployments.log_follower import line_json
from deployments.log_pages import Stretch, lines_after, lines_around, lines_before, search_log
from deployments.log_position import Gap, Piece
from deployments.log_reader import log_file_lines
from deployments.services.lifecycle import find_deployment

from .fragments import PageRequest, for_viewers

P = ParamSpec("P")
PLACES: dict[str, Callable[[int, int, int], Stretch]] = {
    "before": lines_before,
    "after": lines_after,
    "around": lines_around,
}
MOST_DIGITS = 15
FILE_LINES = 1000
STATUS: tuple[tuple[type[BerthError], int], ...] = (
    (NotAllowedError, 403),
    (NotFoundError, 404),
    (InvalidInputError, 400),
    (BerthError, 503),
)


def answers_json(
    view: Callable[Concatenate[HttpRequest, P], HttpResponseBase],
) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
    """What goes wrong is told as JSON too: ``{"error": sentence}``."""

    @wraps(view)
    def answered(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)
        except BerthError as error:
            status = next(code for kind, code in STATUS if isinstance(error, kind))
            return JsonResponse({"error": str(error)}, status=status)

    return answered


@require_safe
@answers_json
@for_viewers
def log_lines(request: PageRequest, deployment_id: int, attempt: int) -> JsonResponse:
    """A stretch of the log: ``?before=``, ``?after=`` or ``?around=`` the number of a line."""
    name = next((name for name in PLACES if name in request.GET), "")
    number = request.GET.get(name, "")
    if not (number.isascii() and number.isdecimal() and len(number) <= MOST_DIGITS):
        raise InvalidInputError(_("Say before, after or around which line, as a number."))
    stretch = PLACES[name](deployment_id, attempt, int(number))
    items = [_item(piece) for piece in stretch.pieces]
    return _uncached({"items": items, "older": stretch.has_older, "newer": stretch.has_newer})


@require_safe
@answers_json
@for_viewers
def log_search(request: PageRequest, deployment_id: int, attempt: int) -> JsonResponse:
    """Which lines have ``?q=`` in them."""
    found = search_log(deployment_id, attempt, request.GET.get("q", ""))
    return _uncached({"total": found.total, "lines": list(found.cursors), "upto": found.upto})


@require_safe
@for_viewers
def log_download(request: PageRequest, deployment_id: int, attempt: int) -> StreamingHttpResponse:
    """The whole kept log of one attempt as a text file, sent as it is read."""
    deployment = find_deployment(deployment_id)
    lines = log_file_lines(deployment_id, attempt)
    first = next(lines, "")  # what is wrong with the whole request shows here, while it can still be told
    response = StreamingHttpResponse(_parts(first, lines), content_type="text/plain; charset=utf-8")
    name = f"{deployment.config.name}-{deployment_id}-attempt-{attempt}.log"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


async def _parts(first: str, lines: Iterator[str]) -> AsyncIterator[str]:
    yield first
    while part := await in_database(lambda: "".join(islice(lines, FILE_LINES))):
        yield part


def _item(piece: Piece) -> dict[str, Any]:
    return {"c": piece.last, "gap": piece.lines} if isinstance(piece, Gap) else line_json(piece)


def _uncached(answer: dict[str, Any]) -> JsonResponse:
    return JsonResponse(answer, headers={"Cache-Control": "no-store"}, json_dumps_params={"ensure_ascii": False})
