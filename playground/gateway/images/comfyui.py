"""ComfyUI: a workflow is queued, followed on a websocket, and its images are fetched.

The websocket only tells sooner: what counts is the history, which is looked at besides, since a socket may break and
since what was finished before it opened is not told there. A running workflow is interrupted only while it
is the one that runs, for ``/interrupt`` of older versions (before 0.3.57) ends whatever does.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import uuid
from typing import Any, Final

import aiohttp
from django.utils.translation import gettext_lazy as _

from deployments.images import WORKFLOW_VARIABLE
from deployments.images.workflow import Workflow, draws_batches, filled, workflow_fault, workflow_in
from playground.exceptions import BadRequestError, GatewayError, UpstreamError
from playground.gateway.http1.client import CONNECT_S
from playground.gateway.routing import Route

from .asking import ImageRequest
from .drawing import WAITING, Commission, Patience, Progress, address, words_in

LOOK_S: Final = 3.0
#: Between the last message and the entry in the history lie milliseconds.
SOON_S: Final = 0.1
#: How many looks a workflow may be in neither queue nor history: once it is said to be over, and before.
_LOOKS_AFTER: Final = 20
_LOOKS_BEFORE: Final = 1
#: An interrupted sampler stops after its step.
_LOOKS_TO_END: Final = 20
#: Previews of images come there too.
_MOST_MESSAGE_BYTES: Final = 16 * 1024 * 1024
_LONGEST_LIST: Final = 500
_LIMITS: Final = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=60)
#: Of execution.py: what a client asked for rather than how the config is made.
_CLIENTS_FAULTS: Final = frozenset({"value_smaller_than_min", "value_bigger_than_max"})
_BROKEN: Final = (aiohttp.ClientError, OSError, TimeoutError)


class ComfyDrawing:
    """One request; ``draw`` runs its workflow once, or once for each image where it draws no batches."""

    def __init__(self, commission: Commission) -> None:
        self._with = commission
        self._client_id = uuid.uuid4().hex
        self._patience = Patience(silence_s=commission.silence_s)

    async def draw(self) -> list[str]:
        """See the Protocol."""
        commission = self._with
        asked = commission.asked
        workflow = _workflow_of(commission.route)
        runs, batch = (1, asked.count) if draws_batches(workflow) else (asked.count, 1)
        images: list[str] = []
        async with await self._connect() as socket:
            for run in range(runs):
                values = _values(asked, commission.route, seed=asked.seed + run, batch=batch)
                images += await self._run(filled(workflow, values), socket)
        return images[: asked.count]

    async def _connect(self) -> aiohttp.ClientWebSocketResponse:
        return await self._with.session.ws_connect(
            address(self._with.route.endpoint, f"/ws?clientId={self._client_id}"),
            max_msg_size=_MOST_MESSAGE_BYTES,
            timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
        )

    async def _run(self, content: Workflow, socket: aiohttp.ClientWebSocketResponse) -> list[str]:
        posting = asyncio.ensure_future(self._queue(content))
        over = False
        try:
            # Cancelled half-way, nobody knew whether it was queued.
            entry = await self._follow(await asyncio.shield(posting), socket)
            over = True
            return await self._fetch(entry)
        finally:
            self._with.later(self._clean_up(posting, over=over))

    async def _queue(self, content: Workflow) -> str:
        question = {"prompt": content, "client_id": self._client_id}
        status, raw = await self._with.post("/prompt", question)
        if status != 200:
            raise self._refusal(raw)
        try:
            told = json.loads(raw)["prompt_id"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise self._with.failed(_("it did not say under which name it queued the workflow")) from None
        return str(told)

    async def _follow(self, prompt_id: str, socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
        """The entry of the history once it is over."""
        receiving: asyncio.Task[aiohttp.WSMessage] | None = None
        ended = False
        missed = 0
        try:
            while True:
                self._patience.check()
                if ended or socket.closed:
                    await asyncio.sleep(SOON_S if ended else LOOK_S)
                else:
                    receiving = receiving or asyncio.create_task(socket.receive())
                    await asyncio.wait({receiving}, timeout=LOOK_S)
                    if receiving.done():
                        message, receiving = receiving.result(), None
                        ended = await self._hear(message, prompt_id)
                        if not ended and not socket.closed:
                            continue
                entry, known = await self._look(prompt_id)
                if entry is not None:
                    return entry
                # Between queue and history lies an instant in which it is in neither.
                missed = 0 if known else missed + 1
                if missed > (_LOOKS_AFTER if ended else _LOOKS_BEFORE):
                    raise self._with.failed(
                        _("it no longer knows the request. It was restarted, or somebody emptied its queue")
                    )
        finally:
            if receiving is not None:
                receiving.cancel()
                with contextlib.suppress(asyncio.CancelledError, *_BROKEN):
                    await receiving

    async def _look(self, prompt_id: str) -> tuple[dict[str, Any] | None, bool]:
        """The entry of the history, and whether the engine knows the workflow at all.

        An engine that loads a checkpoint may not answer for many seconds: that is for patience to judge.
        """
        try:
            entry = await self._entry(prompt_id)
            return entry, entry is not None or await self._is_queued(prompt_id)
        except TimeoutError:
            return None, True

    async def _hear(self, message: aiohttp.WSMessage, prompt_id: str) -> bool:
        """Tell progress; True when the workflow is over, whether well or not."""
        if message.type is not aiohttp.WSMsgType.TEXT:
            return False
        try:
            told = json.loads(message.data)
            kind, data = told["type"], told["data"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return False
        if not isinstance(data, dict) or data.get("prompt_id", prompt_id) != prompt_id:
            return False
        if kind == "progress":
            step, steps = data.get("value"), data.get("max")
            if isinstance(step, int) and isinstance(steps, int):
                self._patience.note()
                await self._with.tell(Progress(step=step, steps=steps))
        elif kind == "executing":
            self._patience.note()
            return "prompt_id" in data and data.get("node") is None
        return kind in ("execution_success", "execution_error", "execution_interrupted")

    async def _entry(self, prompt_id: str) -> dict[str, Any] | None:
        history = await self._with.get(f"/history/{prompt_id}")
        entry = history.get(prompt_id) if isinstance(history, dict) else None
        return entry if isinstance(entry, dict) else None

    async def _is_queued(self, prompt_id: str) -> bool:
        queue = await self._with.get("/queue")
        if prompt_id in _names(queue, "queue_pending"):
            # It waits for others, which is no silence.
            self._patience.note()
            await self._with.tell(WAITING)
            return True
        return prompt_id in _names(queue, "queue_running")

    async def _fetch(self, entry: dict[str, Any]) -> list[str]:
        status = entry.get("status")
        if isinstance(status, dict) and status.get("status_str") == "error":
            raise self._failure(status)
        images = _images(entry.get("outputs"))
        if not images:
            raise self._with.failed(
                _("its workflow ended without an image. It needs a node such as SaveImage or PreviewImage")
            )
        return [await self._view(image) for image in images[: self._with.asked.count]]

    async def _view(self, image: dict[str, Any]) -> str:
        names = {name: str(image.get(name, "")) for name in ("filename", "subfolder", "type")}
        url = address(self._with.route.endpoint, "/view")
        async with self._with.session.get(url, params=names, timeout=_LIMITS, allow_redirects=False) as response:
            # It is held as it is, as base64 and within the answer.
            raw = await self._with.read_images(response, copies=4)
            if response.status != 200:
                raise self._with.failed(words_in(raw) or str(response.status))
        return (await asyncio.to_thread(base64.b64encode, raw)).decode()

    def _failure(self, status: dict[str, Any]) -> UpstreamError:
        """What the messages of a failed workflow say: pairs of an event and its data."""
        for event in status.get("messages") or []:
            kind, data = event if isinstance(event, list) and len(event) == 2 else ("", None)
            if not isinstance(data, dict):
                continue
            if kind == "execution_error":
                names = ("node_type", "exception_type", "exception_message")
                return self._with.failed(": ".join(str(data[name]).strip() for name in names if data.get(name)))
            if kind == "execution_interrupted":
                return self._with.failed(_("somebody interrupted it"))
        return self._with.failed(_("its workflow failed without saying why"))

    def _refusal(self, raw: bytes) -> GatewayError:
        """Why a workflow was not queued (validate_prompt of execution.py)."""
        problems = _problems(raw)
        details = "; ".join(f"{node}: {problem}" for node, _kind, problem in problems)[:_LONGEST_LIST]
        kinds = {kind for _node, kind, _problem in problems}
        if kinds and kinds <= _CLIENTS_FAULTS:
            return BadRequestError(_("ComfyUI does not take this: %(details)s."), details=details)
        if "value_not_in_list" in kinds:
            return UpstreamError(
                _(
                    "The server of %(config)s lacks something that its workflow names: %(details)s. Put the file where "
                    "ComfyUI looks for it, or correct the config: its served name is %%checkpoint%%, "
                    "its workflow %(variable)s."
                ),
                config=self._with.route.config,
                details=details,
                variable=WORKFLOW_VARIABLE,
            )
        return UpstreamError(
            _(
                "The server of %(config)s refused the workflow: %(details)s. Correct it in the config (%(variable)s), "
                "or install the nodes that it needs."
            ),
            config=self._with.route.config,
            details=details or words_in(raw) or _("it does not say why"),
            variable=WORKFLOW_VARIABLE,
        )

    async def _clean_up(self, posting: asyncio.Future[str], *, over: bool) -> None:
        """End what nobody waits for any more, and have the engine forget the prompt."""
        name = ""
        # Where the answer was lost it may be queued all the same.
        with contextlib.suppress(GatewayError, *_BROKEN):
            name = await posting
        if not over:
            await self._end()
        if name:
            # Its history keeps prompts for as long as it runs.
            await self._with.post("/history", {"delete": [name]})

    async def _end(self) -> None:
        """Take this client's workflows out of the queue, without touching what others asked for."""
        pending, running = await self._own()
        if pending:
            await self._with.post("/queue", {"delete": pending})
            # One of them may have begun meanwhile.
            _pending, running = await self._own()
        for name in running:
            await self._with.post("/interrupt", {"prompt_id": name})
        for _look in range(_LOOKS_TO_END if running else 0):
            await asyncio.sleep(SOON_S)
            if not (await self._own())[1]:
                return

    async def _own(self) -> tuple[list[str], list[str]]:
        queue = await self._with.get("/queue")
        return (
            _names(queue, "queue_pending", client_id=self._client_id),
            _names(queue, "queue_running", client_id=self._client_id),
        )


def _workflow_of(route: Route) -> Workflow:
    fault = workflow_fault(route.workflow)
    if fault is not None:
        raise UpstreamError(
            _("%(variable)s of %(config)s is no workflow. %(reason)s Correct it in the config."),
            variable=WORKFLOW_VARIABLE,
            config=route.config,
            reason=fault,
        )
    return workflow_in(route.workflow)


def _values(asked: ImageRequest, route: Route, *, seed: int, batch: int) -> dict[str, Any]:
    """What stands for each of the template's places."""
    return {
        "%prompt%": asked.prompt,
        "%negative%": asked.negative,
        "%width%": asked.width,
        "%height%": asked.height,
        "%seed%": seed,
        "%steps%": asked.steps,
        "%guidance%": asked.guidance,
        "%batch%": batch,
        "%checkpoint%": route.served_name,
    }


def _names(queue: Any, key: str, *, client_id: str = "") -> list[str]:
    """The names of the workflows in a part of the queue: ``[number, prompt_id, prompt, extra_data, outputs]``."""
    entries = queue.get(key) if isinstance(queue, dict) else None
    known = [entry for entry in entries or [] if isinstance(entry, list) and len(entry) > 3]
    return [
        str(entry[1])
        for entry in known
        if not client_id or (isinstance(entry[3], dict) and entry[3].get("client_id") == client_id)
    ]


def _images(outputs: Any) -> list[dict[str, Any]]:
    """The images of all nodes; what was only a preview counts where nothing was saved."""
    found = [
        image
        for node in (outputs.values() if isinstance(outputs, dict) else ())
        if isinstance(node, dict)
        for image in node.get("images") or []
        if isinstance(image, dict) and image.get("filename")
    ]
    saved = [image for image in found if image.get("type") == "output"]
    return saved or found


def _problems(raw: bytes) -> list[tuple[str, str, str]]:
    """Of each node that is at fault: its class, the kind of fault, and ComfyUI's words."""
    try:
        told = json.loads(raw)["node_errors"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
    return [
        (
            str(node.get("class_type", name)),
            str(error.get("type", "")),
            f"{error.get('message', '')}: {error.get('details', '')}".strip(": "),
        )
        for name, node in (told.items() if isinstance(told, dict) else ())
        if isinstance(node, dict)
        for error in node.get("errors") or []
        if isinstance(error, dict)
    ]
