"""Ends a task for good."""

from __future__ import annotations

import asyncio
from typing import Any

AGAIN_S = 0.5


async def end_task(task: asyncio.Task[Any] | None) -> None:
    """Cancel until it has ended; nothing for None.

    Once is not enough: ``sync_to_async`` swallows a cancellation that comes while its thread is at work, and one that
    meets a timeout in the depths of Redis's client is taken for that.
    """
    while task is not None and not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=AGAIN_S)
