"""The addresses of the pages' websockets."""

from __future__ import annotations

from django.urls import path

from .consumers import LiveConsumer, LogConsumer
from .consumers_gpus import GpuConsumer

# Django's `path` is typed for views only; Channels routes by it all the same.
websocket_urlpatterns = [
    path("ws/live/", LiveConsumer.as_asgi()),  # type: ignore[arg-type]
    path("ws/log/<int:deployment_id>/<int:attempt>/", LogConsumer.as_asgi()),  # type: ignore[arg-type]
    path("ws/gpus/", GpuConsumer.as_asgi()),  # type: ignore[arg-type]
]
