"""Turns the apps' own errors into answers, so that views need no try."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render

from deployments.exceptions import (
    BerthError,
    ConflictError,
    InvalidInputError,
    NotAllowedError,
    NotFoundError,
)

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
