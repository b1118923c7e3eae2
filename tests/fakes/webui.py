"""stable-diffusion-webui's server: one image at a time behind a lock, held by a test, and no GPU.

Transcribed from stable-diffusion-webui 1.10: ``/sdapi/v1/txt2img``, ``/img2img``, ``/progress``, ``/sd-models``,
``/interrupt`` from modules/api/api.py (the lock around each request, errors from ``handle_exception``), their members
from modules/api/models.py, ``/internal/progress`` and its tasks from modules/progress.py, the state from
modules/shared_state.py, ``/internal/ping`` from modules/ui.py. ``pages=False`` is a server started with --nowebui,
which lacks ``/internal``.
"""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

from .pictures import png

OUT_OF_MEMORY = {
    "error": "OutOfMemoryError",
    "detail": "",
    "body": "",
    "errors": "CUDA out of memory. Tried to allocate 9.00 GiB. GPU 0 has a total capacity of 23.55 GiB",
}


@dataclass
class FakeWebUi:
    """Listens on 127.0.0.1, on ``port`` or a free one. Each image takes ``steps`` steps; a test changes fields."""

    port: int = 0
    steps: int = 2
    #: Seconds that each step takes.
    step_s: float = 0
    pages: bool = True
    #: An image waits before its first step until this is set.
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    failure: tuple[int, Any] | None = None
    #: Breaks the connection: "before" anything was drawn, or "after" in the middle of the answer.
    dies: str = ""
    silent: bool = False
    has_grid: bool = False

    endpoint: str = ""
    #: The bodies of /txt2img and /img2img, and the task that ran at each interrupt.
    asked: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    interrupted: list[str] = field(default_factory=list)
    interrupts: int = 0
    #: How often /progress was asked.
    looks: int = 0
    began: asyncio.Event = field(default_factory=asyncio.Event)
    current_task: str | None = None
    pending_tasks: list[str] = field(default_factory=list)
    finished_tasks: list[str] = field(default_factory=list)
    _state: dict[str, Any] = field(default_factory=dict)
    _stopped: bool = False
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        self.go_on.set()
        self._rest()
        application = web.Application(client_max_size=100 * 1024 * 1024)
        application.router.add_post("/sdapi/v1/txt2img", self._draw)
        application.router.add_post("/sdapi/v1/img2img", self._draw)
        application.router.add_get("/sdapi/v1/progress", self._progress)
        application.router.add_get("/sdapi/v1/sd-models", self._models)
        application.router.add_post("/sdapi/v1/interrupt", self._interrupt)
        if self.pages:
            application.router.add_post("/internal/progress", self._internal_progress)
            application.router.add_get("/internal/ping", self._ping)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.endpoint = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.go_on.set()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def route(self, deployment_id: int = 1, **changes: Any) -> dict[str, Any]:
        """This server as an entry of the routing table."""
        entry: dict[str, Any] = {
            "deployment_id": deployment_id,
            "config": "painter",
            "model": "Tiny-SD",
            "protocol": "openai-image",
            "engine": "sd-webui",
            "served_name": "v1-5-pruned",
            "endpoint": self.endpoint,
            "node": "here",
        }
        return {**entry, **changes}

    async def draw_for_others(self) -> None:
        """What somebody else asked for; it runs until :attr:`go_on` is set."""
        async with self._lock:
            await self._work("task(somebody-else)", {"steps": 50, "n_iter": 1})

    async def _draw(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        self.asked.append(asked)
        self.paths.append(request.path)
        task = asked.get("force_task_id") or "task(other)"
        self.pending_tasks.append(task)
        if self.silent:
            await asyncio.Event().wait()
        if self.dies == "before":
            return _cut(request)
        async with self._lock:
            images = await self._work(task, asked)
        if self.failure is not None:
            status, content = self.failure
            return web.json_response(content, status=status)
        answer = {"images": images, "parameters": asked, "info": json.dumps(self._info(images))}
        if self.dies == "after":
            response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "100000"})
            await response.prepare(request)
            await response.write(json.dumps(answer).encode()[:40])
            return _cut(request)
        return web.json_response(answer)

    def _info(self, images: list[str]) -> dict[str, Any]:
        return {"index_of_first_image": int(self.has_grid and len(images) > 1)}

    async def _work(self, task: str, asked: dict[str, Any]) -> list[str]:
        if task in self.pending_tasks:
            self.pending_tasks.remove(task)
        self.current_task = task
        self._stopped = False
        self._state |= {"job_count": asked["n_iter"], "sampling_steps": asked["steps"], "job_timestamp": task}
        self.began.set()
        pictures = []
        for number in range(asked["n_iter"]):
            self._state["job_no"] = number
            for step in range(1, self.steps + 1):
                await self.go_on.wait()
                if self._stopped:
                    break
                self._state["sampling_step"] = step
                await asyncio.sleep(self.step_s)
            pictures.append(base64.b64encode(png(len(self.asked) * 16 + number)).decode())
        if self.has_grid and len(pictures) > 1:
            pictures.insert(0, base64.b64encode(png(255)).decode())
        self.current_task = None
        self.finished_tasks.append(task)
        self._rest()
        return pictures

    def _rest(self) -> None:
        self._state = {
            "skipped": False,
            "interrupted": False,
            "job": "",
            "job_count": 0,
            "job_timestamp": "0",
            "job_no": 0,
            "sampling_step": 0,
            "sampling_steps": 0,
        }

    async def _progress(self, request: web.Request) -> web.Response:
        self.looks += 1
        done = self._state["sampling_step"] / (self._state["sampling_steps"] or 1)
        answer = {"progress": done, "eta_relative": 0, "state": self._state, "current_image": None, "textinfo": None}
        return web.json_response(answer)

    async def _internal_progress(self, request: web.Request) -> web.Response:
        task = (await request.json())["id_task"]
        answer = {
            "active": task == self.current_task,
            "queued": task in self.pending_tasks,
            "completed": task in self.finished_tasks,
            "progress": None,
            "eta": None,
            "live_preview": None,
            "id_live_preview": -1,
            "textinfo": "Waiting...",
        }
        return web.json_response(answer)

    async def _models(self, request: web.Request) -> web.Response:
        model = {
            "title": "v1-5-pruned.safetensors [6ce0161689]",
            "model_name": "v1-5-pruned",
            "hash": "6ce0161689",
            "sha256": "6ce0161689b3853acaa03779ec93eafe75a02f4ced659bee03f50797806fa2fa",
            "filename": "/models/Stable-diffusion/v1-5-pruned.safetensors",
            "config": None,
        }
        return web.json_response([model])

    async def _interrupt(self, request: web.Request) -> web.Response:
        self.interrupts += 1
        self.interrupted.append(self.current_task or "")
        self._stopped = True
        self.go_on.set()
        return web.json_response({})

    async def _ping(self, request: web.Request) -> web.Response:
        return web.json_response({})


def _cut(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
