"""Turns the apps' own errors into answers, so that views need no try."""

from __future__ import annotations

import sys
from collections.abc import Callable

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.template import loader
from django.utils.translation import gettext as _

from deployments.exceptions import (
    BerthError,
    ConflictError,
    InvalidInputError,
    NotAllowedError,
    NotFoundError,
)
from deployments.full_disk import is_disk_full
from deployments.redis import RedisError

STATUS: list[tuple[type[BerthError], int]] = [
    (NotAllowedError, 403),
    (NotFoundError, 404),
    (InvalidInputError, 422),
    (ConflictError, 409),
    (BerthError, 503),
]


class BerthErrorMiddleware:
    """Renders a BerthError as a page, or as a fragment for htmx, with its own sentence."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Answer with the status of the error's class; anything else is left to Django."""
        if not isinstance(exception, BerthError):
            return None
        status = next(code for kind, code in STATUS if isinstance(exception, kind))
        template = "includes/error.html" if request.headers.get("HX-Request") else "error.html"
        return render(request, template, {"sentence": str(exception), "status": status}, status=status)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500. A database or Redis that is away is said so, as 503; its page needs neither.

    The detail, which names hosts and accounts, is in the log: this page needs no sign-in.
    Errors of middleware come here too, the session's among them, which process_exception never sees.
    """
    error = sys.exc_info()[1]
    away = ""
    if error is not None and is_disk_full(error):
        away = _("The disk of the data folder or the database is full, so nothing can be written. Free space there.")
    elif isinstance(error, OperationalError | InterfaceError):
        away = _("The database does not answer.")
    elif isinstance(error, RedisError):
        away = _("Redis does not answer.")
    # Without the request, so that no context processor asks for the person, and so the database, again.
    page = loader.render_to_string("500.html", {"away": away})
    return HttpResponse(page, status=503 if away else 500)
