"""The addresses of this app's websockets."""

from __future__ import annotations

from django.urls import path

from .consumers import AnswerConsumer

# Django's `path` is typed for views only; Channels routes by it all the same.
websocket_urlpatterns = [
    path("ws/answers/", AnswerConsumer.as_asgi()),  # type: ignore[arg-type]
]
