"""The websocket of the GPU readings; its messages are described in :mod:`deployments.gpu_frames`."""

from __future__ import annotations

from typing import Any

from .consumers import PageConsumer
from .gpu_hub import gpu_hub
from .gpu_subscription import GpuSubscription


class GpuConsumer(PageConsumer):
    """``/ws/gpus/``: a snapshot, then what changed.

    The browser says ``{"ack": seq}`` for what it has drawn, and ``{"pause": true}`` while nobody sees it.
    """

    _subscription: GpuSubscription | None = None
    _is_paused = False

    async def run(self) -> None:
        with gpu_hub.subscription() as mine:
            self._subscription = mine
            if self._is_paused:
                mine.pause()
            while True:
                await self.send(text_data=await mine.get())

    def hear(self, message: dict[str, Any]) -> bool:
        match message:
            case {"pause": bool(is_paused)}:
                self._pause(is_paused=is_paused)
            # True is an int to Python.
            case {"ack": int(seq)} if seq is not True and seq is not False:
                if self._subscription is not None:
                    self._subscription.acknowledge(seq)
            case _:
                return False
        return True

    def _pause(self, *, is_paused: bool) -> None:
        self._is_paused = is_paused
        if self._subscription is not None and is_paused:
            self._subscription.pause()
        elif self._subscription is not None:
            self._subscription.resume()
