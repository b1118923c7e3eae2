"""Django's handler for the pages of the web role."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Final

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.db import close_old_connections
from django.http import HttpRequest
from django.http.response import HttpResponseBase

#: Pages that are made at once; more wait. Each may hold a connection to the database.
THREADS: Final = 32


class PagesHandler(ASGIHandler):
    """Makes each page in one go in a thread, which keeps its connection to the database for the next one.

    Every view here is synchronous. Django's own handler begins a thread, and so a connection, for each request, and
    goes back to the event loop between its middleware and the view.
    """

    def __init__(self) -> None:
        super().__init__()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="page")

    def load_middleware(self, is_async: bool = False) -> None:  # noqa: FBT001, FBT002 - Django's signature
        """The chain as WSGI has it."""
        super().load_middleware(is_async=False)

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """The answer of middleware and view; what they raise is an answer too."""
        make = sync_to_async(self._make, thread_sensitive=False, executor=self._threads)
        return await make(request)

    def _make(self, request: HttpRequest) -> HttpResponseBase:
        # Django's signals do this in another thread, where it closes nothing.
        close_old_connections()
        try:
            return self.get_response(request)
        finally:
            close_old_connections()
