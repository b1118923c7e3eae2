"""ComfyUI's server with a queue, a sampler that a test holds at a step, and no GPU.

Transcribed from ComfyUI 0.3.60: routes and the websocket from server.py (``/ws``, ``/prompt``, ``/queue``,
``/history``, ``/view``, ``/interrupt``), refusals from execution.py (``validate_prompt``, ``validate_inputs``),
messages and the order "last message, then history, then ``executing`` of nothing" from execution.py
(``PromptExecutor``) and main.py (``prompt_worker``). ``names_runs=False`` is a version before 0.3.57, whose
``/interrupt`` reads no body.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import WSCloseCode, web

from .pictures import png

NODES = frozenset(
    {
        "CheckpointLoaderSimple",
        "CLIPTextEncode",
        "EmptyLatentImage",
        "KSampler",
        "VAEDecode",
        "PreviewImage",
        "SaveImage",
    }
)
OUT_OF_MEMORY = ("torch.OutOfMemoryError", "Allocation on device 0 would exceed allowed memory. (out of memory)")


@dataclass
class Item:
    """A workflow in the queue, as the tuple that ``/queue`` shows."""

    number: int
    prompt_id: str
    prompt: dict[str, Any]
    extra_data: dict[str, Any]

    @property
    def entry(self) -> list[Any]:
        return [self.number, self.prompt_id, self.prompt, self.extra_data, _outputs(self.prompt)]


class InterruptedByUserError(Exception):
    """InterruptProcessingException."""


@dataclass
class FakeComfyUi:
    """Listens on 127.0.0.1, on ``port`` or a free one. Each run takes ``steps`` steps; a test changes fields."""

    checkpoints: tuple[str, ...] = ("tiny.safetensors",)
    port: int = 0
    steps: int = 2
    #: Seconds that each step takes.
    step_s: float = 0
    names_runs: bool = True
    #: A run waits before its first step until this is set.
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    #: Exception type and message of a node that fails.
    failure: tuple[str, str] | None = None
    #: Ends its connections for good: at "prompt", "running", "history" or "view".
    dies_at: str = ""
    #: Closes every websocket once a run begins.
    drops_sockets: bool = False
    #: Answers nothing but takes connections.
    silent: bool = False
    tells_images: bool = True
    #: The number of the run that waits for :attr:`go_on` again, whatever was set before.
    hangs_at: int = 0
    refusal: tuple[int, Any] | None = None

    endpoint: str = ""
    pending: deque[Item] = field(default_factory=deque)
    running: Item | None = None
    history: dict[str, Any] = field(default_factory=dict)
    #: Every workflow that was queued, the bodies of /interrupt, and whose run each ended.
    queued: list[Item] = field(default_factory=list)
    interrupts: list[Any] = field(default_factory=list)
    interrupted: list[str] = field(default_factory=list)
    sockets: dict[str, web.WebSocketResponse] = field(default_factory=dict)
    began: asyncio.Event = field(default_factory=asyncio.Event)
    _files: dict[str, bytes] = field(default_factory=dict)
    _interrupting: bool = False
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _number: int = 0
    _runner: web.AppRunner | None = None
    _worker: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.go_on.set()
        application = web.Application(middlewares=[self._misbehave])
        application.router.add_get("/ws", self._socket)
        application.router.add_post("/prompt", self._prompt)
        application.router.add_get("/queue", self._queue)
        application.router.add_post("/queue", self._change_queue)
        application.router.add_get("/history/{prompt_id}", self._history)
        application.router.add_post("/history", self._change_history)
        application.router.add_get("/view", self._view)
        application.router.add_post("/interrupt", self._interrupt)
        application.router.add_get("/system_stats", self._system_stats)
        application.router.add_get("/object_info/{node}", self._object_info)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.endpoint = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        self._worker = asyncio.create_task(self._work())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._worker is not None:
            self._worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._worker
        await self._stop()

    async def _stop(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            for socket in list(self.sockets.values()):
                await socket.close(code=WSCloseCode.GOING_AWAY)
            await runner.cleanup()

    def route(self, deployment_id: int = 1, **changes: Any) -> dict[str, Any]:
        """This server as an entry of the routing table."""
        entry: dict[str, Any] = {
            "deployment_id": deployment_id,
            "config": "painter",
            "model": "Tiny-SD",
            "protocol": "openai-image",
            "engine": "comfyui",
            "served_name": "tiny.safetensors",
            "endpoint": self.endpoint,
            "node": "here",
        }
        return {**entry, **changes}

    def queue_for_others(self) -> str:
        """A workflow that somebody else queued in ComfyUI's own pages."""
        return self._put({"1": {"class_type": "PreviewImage", "inputs": {}}}, {"client_id": "somebody-else"})

    @web.middleware
    async def _misbehave(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if self.silent and request.path != "/ws":
            await asyncio.Event().wait()
        if self.dies_at and request.path.startswith(f"/{self.dies_at}"):
            await self._die(request)
        response: web.StreamResponse = await handler(request)
        return response

    async def _die(self, request: web.Request) -> None:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        client_id = request.query.get("clientId") or uuid.uuid4().hex
        self.sockets[client_id] = socket
        await self._send("status", {"status": self._status(), "sid": client_id}, client_id)
        try:
            async for _message in socket:
                pass
        finally:
            self.sockets.pop(client_id, None)
        return socket

    async def _send(self, event: str, data: dict[str, Any], client_id: str) -> None:
        socket = self.sockets.get(client_id)
        if socket is not None and not socket.closed:
            with contextlib.suppress(ConnectionError):
                await socket.send_json({"type": event, "data": data})

    def _status(self) -> dict[str, Any]:
        return {"exec_info": {"queue_remaining": len(self.pending) + (self.running is not None)}}

    async def _prompt(self, request: web.Request) -> web.Response:
        asked = await request.json()
        if self.refusal is not None:
            status, content = self.refusal
            return web.json_response(content, status=status)
        prompt = asked["prompt"]
        refusal = self._validate(prompt)
        if refusal is not None:
            return web.json_response(refusal, status=400)
        extra = {**asked.get("extra_data", {}), "client_id": asked["client_id"]}
        name = self._put(prompt, extra)
        return web.json_response({"prompt_id": name, "number": self._number, "node_errors": {}})

    def _put(self, prompt: dict[str, Any], extra: dict[str, Any]) -> str:
        self._number += 1
        item = Item(self._number, str(uuid.uuid4()), prompt, extra)
        self.queued.append(item)
        self.pending.append(item)
        self._wake.set()
        return item.prompt_id

    def _validate(self, prompt: dict[str, Any]) -> dict[str, Any] | None:
        for name, node in prompt.items():
            if node["class_type"] not in NODES:
                error = {
                    "type": "missing_node_type",
                    "message": f"Node '{node['class_type']}' not found. The custom node may not be installed.",
                    "details": f"Node ID '#{name}'",
                    "extra_info": {},
                }
                return {"error": error, "node_errors": {}}
        errors = {name: problem for name, node in prompt.items() if (problem := self._node_problem(node)) is not None}
        if not errors:
            return None
        told = {"type": "prompt_outputs_failed_validation", "message": "Prompt outputs failed validation"}
        return {
            "error": {**told, "details": "", "extra_info": {}},
            "node_errors": {
                name: {
                    "errors": [{**problem, "extra_info": {}}],
                    "dependent_outputs": _outputs(prompt),
                    "class_type": prompt[name]["class_type"],
                }
                for name, problem in errors.items()
            },
        }

    def _node_problem(self, node: dict[str, Any]) -> dict[str, str] | None:
        inputs = node["inputs"]
        checkpoint = inputs.get("ckpt_name", "")
        if node["class_type"] == "CheckpointLoaderSimple" and checkpoint not in self.checkpoints:
            details = f"ckpt_name: '{checkpoint}' not in {list(self.checkpoints)}"
            return {"type": "value_not_in_list", "message": "Value not in list", "details": details}
        if node["class_type"] == "EmptyLatentImage" and inputs["width"] > 2048:
            return {
                "type": "value_bigger_than_max",
                "message": "Value 4096 bigger than max of 2048",
                "details": "width",
            }
        return None

    async def _queue(self, request: web.Request) -> web.Response:
        running = [self.running.entry] if self.running is not None else []
        return web.json_response({"queue_running": running, "queue_pending": [item.entry for item in self.pending]})

    async def _change_queue(self, request: web.Request) -> web.Response:
        asked = await request.json()
        self.pending = deque(item for item in self.pending if item.prompt_id not in asked.get("delete", []))
        return web.Response()

    async def _history(self, request: web.Request) -> web.Response:
        name = request.match_info["prompt_id"]
        return web.json_response({name: self.history[name]} if name in self.history else {})

    async def _change_history(self, request: web.Request) -> web.Response:
        for name in (await request.json()).get("delete", []):
            self.history.pop(name, None)
        return web.Response()

    async def _view(self, request: web.Request) -> web.Response:
        content = self._files.get(request.query["filename"])
        if content is None or request.query["type"] != "temp":
            return web.Response(status=404)
        return web.Response(body=content, content_type="image/png")

    async def _interrupt(self, request: web.Request) -> web.Response:
        text = await request.text()
        asked = json.loads(text) if text else {}
        self.interrupts.append(asked)
        wanted = asked.get("prompt_id") if self.names_runs else None
        if self.running is not None and wanted in (None, self.running.prompt_id):
            self._interrupting = True
            self.go_on.set()
        return web.Response()

    async def _system_stats(self, request: web.Request) -> web.Response:
        return web.json_response({"system": {"comfyui_version": "0.3.60"}, "devices": []})

    async def _object_info(self, request: web.Request) -> web.Response:
        node = request.match_info["node"]
        return web.json_response({node: {"input": {}}} if node in NODES else {})

    async def _work(self) -> None:
        while True:
            while not self.pending:
                self._wake.clear()
                await self._wake.wait()
            item = self.running = self.pending.popleft()
            self._interrupting = False
            self.began.set()
            if self.dies_at == "running":
                self.running = None
                await self._stop()
                return
            await self._execute(item)

    async def _execute(self, item: Item) -> None:
        client, run = str(item.extra_data.get("client_id", "")), {"prompt_id": item.prompt_id}
        if self.drops_sockets:
            for socket in list(self.sockets.values()):
                await socket.close()
        messages: list[list[Any]] = []

        async def add(event: str, data: dict[str, Any]) -> None:
            messages.append([event, {**data, **run}])
            await self._send(event, {**data, **run}, client)

        outputs: dict[str, Any] = {}
        succeeded = True
        await add("execution_start", {"timestamp": 0})
        await add("execution_cached", {"nodes": [], "timestamp": 0})
        try:
            await self._sample(item, client)
            outputs = self._draw(item)
            await add("execution_success", {"timestamp": 0})
        except InterruptedByUserError:
            succeeded = False
            self.interrupted.append(item.prompt_id)
            await add("execution_interrupted", {"node_id": "sampler", "node_type": "KSampler", "executed": []})
        except RuntimeError:
            succeeded = False
            kind, words = self.failure or ("", "")
            details = {"exception_type": kind, "exception_message": words, "traceback": ["  File secret.py"]}
            await add("execution_error", {"node_id": "sampler", "node_type": "KSampler", "executed": [], **details})
        status = {
            "status_str": "success" if succeeded else "error",
            "completed": succeeded,
            "messages": messages,
        }
        self.history[item.prompt_id] = {"prompt": item.entry, "outputs": outputs, "status": status, "meta": {}}
        self.running = None
        await self._send("executing", {"node": None, **run}, client)

    async def _sample(self, item: Item, client: str) -> None:
        run = {"prompt_id": item.prompt_id}
        await self._send("executing", {"node": "sampler", "display_node": "sampler", **run}, client)
        if item.number == self.hangs_at:
            self.go_on.clear()
        for step in range(1, self.steps + 1):
            await self.go_on.wait()
            if self._interrupting:
                raise InterruptedByUserError
            if self.failure is not None:
                raise RuntimeError
            progress = {"value": step, "max": self.steps, "node": "sampler", **run}
            await self._send("progress", progress, client)
            await asyncio.sleep(self.step_s)
            socket = self.sockets.get(client)
            if socket is not None and not socket.closed:
                # BinaryEventTypes.PREVIEW_IMAGE, JPEG
                await socket.send_bytes(b"\x00\x00\x00\x01\x00\x00\x00\x01\xff\xd8\xff")

    def _draw(self, item: Item) -> dict[str, Any]:
        if not self.tells_images:
            return {}
        batch = next(
            (node["inputs"]["batch_size"] for node in item.prompt.values() if "batch_size" in node["inputs"]), 1
        )
        names = [f"ComfyUI_temp_{item.number:05}_{index}.png" for index in range(batch)]
        for index, name in enumerate(names):
            self._files[name] = png(item.number * 16 + index)
        images = [{"filename": name, "subfolder": "", "type": "temp"} for name in names]
        return {name: {"images": images} for name in _outputs(item.prompt)}


def _outputs(prompt: dict[str, Any]) -> list[str]:
    return [name for name, node in prompt.items() if node["class_type"] in ("PreviewImage", "SaveImage")]
