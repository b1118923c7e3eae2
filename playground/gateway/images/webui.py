"""Stable Diffusion web UI: one long question, its progress asked besides.

It works on one image at a time, ``/sdapi/v1/progress`` tells of whatever runs and ``/sdapi/v1/interrupt`` ends it. So
this process asks one thing at a time, and ``/internal/progress`` is asked whether what runs is this request, which may
have others of other processes and people before it. A server without its pages (--nowebui) lacks that address:
then nothing is interrupted, for it cannot be known whose it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from pathlib import PurePath, PureWindowsPath
from typing import Any, Final

import aiohttp
from django.utils.translation import gettext_lazy as _

from playground.exceptions import GatewayError, UpstreamError
from playground.gateway.http1.client import CONNECT_S

from .drawing import WAITING, Commission, Patience, Progress, address, words_in
from .turns import Turns

LOOK_S: Final = 1.0
#: A request that was sent is seen in its queue after so many looks, or never.
LOOKS_TO_FIND: Final = 3
#: How long others may take that are before what is to be ended.
WAIT_TO_END_S: Final = 900.0
_LONG: Final = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=None)
_BROKEN: Final = (aiohttp.ClientError, OSError, TimeoutError)
_MOST_NAMED: Final = 10


class WebUiDrawing:
    """One request."""

    def __init__(self, commission: Commission, turns: Turns) -> None:
        self._with = commission
        self._turns = turns
        self._task_id = f"task(berth-{uuid.uuid4().hex})"
        self._patience = Patience(silence_s=commission.silence_s)
        self._seen: Any = None

    async def draw(self) -> list[str]:
        """See the Protocol."""
        checkpoint = await self._checkpoint()
        async with self._turns.taken(self._with.route.deployment_id, self._waiting) as turn:
            self._patience.note()
            asking = asyncio.ensure_future(self._ask(checkpoint))
            try:
                return await self._watch(asking)
            finally:
                if not asking.done():
                    asking.cancel()
                    # Its own end of the connection does not tell the server anything: it computes on.
                    turn.then = self._with.later(self._stop(asking))

    async def _waiting(self) -> None:
        self._patience.note()
        self._patience.check()
        await self._with.tell(WAITING)

    async def _checkpoint(self) -> str:
        """The title of the config's checkpoint. The server itself would silently take whatever is loaded."""
        wanted = self._with.route.served_name
        models = await self._with.get("/sdapi/v1/sd-models")
        known = [model for model in models if isinstance(model, dict)] if isinstance(models, list) else []
        for model in known:
            title, filename = str(model.get("title", "")), str(model.get("filename", ""))
            names = {title, title.partition(" [")[0], str(model.get("model_name", "")), _base(filename)}
            if wanted in names | {_stem(filename)}:
                return title
        raise UpstreamError(
            _(
                "The server of %(config)s has no checkpoint called %(name)s. Put the file into "
                "models/Stable-diffusion, or correct the config's served name. There are: %(known)s."
            ),
            config=self._with.route.config,
            name=wanted,
            known=", ".join(str(model.get("model_name", "")) for model in known[:_MOST_NAMED]) or "-",
        )

    async def _ask(self, checkpoint: str) -> list[str]:
        asked = self._with.asked
        question = {
            "prompt": asked.prompt,
            "negative_prompt": asked.negative,
            "width": asked.width,
            "height": asked.height,
            "seed": asked.seed,
            "steps": asked.steps,
            "cfg_scale": asked.guidance,
            # One after the other: they need the memory of one.
            "n_iter": asked.count,
            "batch_size": 1,
            "override_settings": {"sd_model_checkpoint": checkpoint},
            "override_settings_restore_afterwards": False,
            "send_images": True,
            "save_images": False,
            "force_task_id": self._task_id,
        }
        url = address(self._with.route.endpoint, "/sdapi/v1/txt2img")
        async with self._with.session.post(url, json=question, timeout=_LONG, allow_redirects=False) as response:
            raw = await self._with.read_images(response, copies=3)
            if response.status != 200:
                raise self._with.failed(words_in(raw) or str(response.status))
        images = await asyncio.to_thread(_images, raw, asked.count)
        if not images:
            raise self._with.failed(_("it answered without an image"))
        return images

    async def _watch(self, asking: asyncio.Future[list[str]]) -> list[str]:
        while True:
            await asyncio.wait({asking}, timeout=LOOK_S)
            if asking.done():
                return asking.result()
            self._patience.check()
            with contextlib.suppress(GatewayError, *_BROKEN):
                await self._look()

    async def _look(self) -> None:
        standing = await self._standing()
        if standing is not None and not standing.get("active"):
            if standing.get("queued"):
                # It waits for others, which is no silence.
                self._patience.note()
            await self._with.tell(WAITING)
            return
        told = await self._with.get("/sdapi/v1/progress", params={"skip_current_image": "true"})
        state = told.get("state") if isinstance(told, dict) else None
        if not isinstance(state, dict):
            return
        seen = [state.get(name) for name in ("job_timestamp", "job_no", "sampling_step")]
        if seen != self._seen:
            self._seen = seen
            self._patience.note()
        step, steps = state.get("sampling_step"), state.get("sampling_steps")
        if isinstance(step, int) and isinstance(steps, int):
            await self._with.tell(Progress(step=step, steps=steps) if state.get("job_count") else WAITING)

    async def _standing(self) -> dict[str, Any] | None:
        """``active``, ``queued`` and ``completed`` of this request; None where the server has no such address."""
        status, raw = await self._with.post("/internal/progress", {"id_task": self._task_id, "live_preview": False})
        return _object(raw) if status == 200 else None

    async def _stop(self, asking: asyncio.Future[list[str]]) -> None:
        with contextlib.suppress(asyncio.CancelledError, GatewayError, *_BROKEN):
            await asking
        found = False
        for look in range(int(WAIT_TO_END_S / LOOK_S)):
            if look:
                await asyncio.sleep(LOOK_S)
            standing = await self._standing()
            if standing is None:
                return
            if standing.get("active"):
                await self._with.post("/sdapi/v1/interrupt", {})
                return
            queued = bool(standing.get("queued"))
            found = found or queued
            if not queued and (found or standing.get("completed") or look + 1 >= LOOKS_TO_FIND):
                return


def _object(raw: bytes) -> dict[str, Any]:
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _images(raw: bytes, count: int) -> list[str]:
    """The images without the grid of all of them, which comes first where the server makes one."""
    content = _object(raw)
    found = [image for image in content.get("images") or [] if isinstance(image, str)]
    info = content.get("info")
    first = _object(info.encode()).get("index_of_first_image") if isinstance(info, str) else 0
    start = first if isinstance(first, int) and 0 <= first < len(found) else 0
    # Some versions write data URIs.
    return [image.rpartition(",")[2] for image in found[start : start + count]]


def _base(filename: str) -> str:
    return PureWindowsPath(filename).name


def _stem(filename: str) -> str:
    return PurePath(_base(filename)).stem
