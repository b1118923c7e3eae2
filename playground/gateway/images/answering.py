"""Answers ``/v1/images/generations`` for engines that do not have it, whole or as a stream."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.utils.translation import gettext_lazy as _

from deployments.images.settings import ADAPTED_ENGINES
from playground.exceptions import BadRequestError, GatewayError
from playground.gateway.body import LargeBody, SmallBody
from playground.gateway.errors import error_frames
from playground.gateway.routing import Route
from playground.gateway.upstream import BROKEN, explain_failure, log_failure
from playground.gateway.wire import Headers, RawHeaders

from .asking import ImageRequest, image_request
from .kept import KeptImages, format_of

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from playground.gateway.exchange import Exchange
    from playground.gateway.relay import Job

    from .drawing import Progress
    from .engines import Engines

#: The engines that are asked in their own way.
ADAPTED: Final = ADAPTED_ENGINES
_HOST: Final = re.compile(rb"[A-Za-z0-9.\-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?")
_LEAVE_S: Final = 2.0


class Images:
    """Draws for all requests of a process."""

    def __init__(self, connect: Callable[[], Redis], *, silence_s: float) -> None:
        self.kept = KeptImages(connect)
        self._silence_s = silence_s
        self._engines: Engines | None = None
        self._later: set[asyncio.Task[None]] = set()

    def adapts(self, job: Job, route: Route) -> bool:
        """Whether this is not simply passed on: another protocol, or addresses that clients cannot reach."""
        if route.engine != "localai":
            return route.engine in ADAPTED
        if isinstance(job.body, SmallBody):
            return _content(job).get("response_format") != "b64_json"
        return isinstance(job.body, LargeBody) and job.body.response_format != "b64_json"

    async def answer(self, job: Job, route: Route) -> None:
        """Answer the client from the deployment of ``route``.

        Raises GatewayError, or one of BROKEN when the engine is away; nothing was sent then, and another may be asked.
        A client that leaves ends it, and the engine is told to stop.
        """
        content = _content(job)
        asked = image_request(content, route)
        telling = _Telling(job, route, asked)
        engines = self._engines or await self._loaded()
        try:
            images = await engines.draw(
                content,
                route=route,
                asked=asked,
                hold=job.hold,
                tell=telling.tell,
                silence_s=self._silence_s,
                later=self._run_later,
            )
            data = await self._data(job, asked, images)
            if asked.streams:
                await telling.finish(data, images)
            else:
                await _answer_whole(job, route, asked, data, images)
        except GatewayError as error:
            if not job.exchange.started:
                raise
            await telling.fail(error)
        except BROKEN as error:
            if not job.exchange.started:
                raise
            log_failure(route, error, job.exchange.request_id)
            await telling.fail(explain_failure(route, error))

    async def stop(self) -> None:
        """End what outlived its requests, after a moment."""
        if self._later:
            await asyncio.wait(self._later, timeout=_LEAVE_S)
        for task in [*self._later]:
            task.cancel()
        await asyncio.gather(*self._later, return_exceptions=True)
        engines, self._engines = self._engines, None
        if engines is not None:
            await engines.close()
        await self.kept.stop()

    async def _loaded(self) -> Engines:
        """Loads in a thread: the event loop serves others meanwhile."""
        module = await asyncio.to_thread(import_module, "playground.gateway.images.engines")
        if self._engines is None:
            self._engines = module.Engines()
        return self._engines

    def _run_later(self, work: Awaitable[None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._later.add(task)
        task.add_done_callback(self._later.discard)
        return task

    async def _data(self, job: Job, asked: ImageRequest, images: list[str]) -> list[dict[str, Any]]:
        if asked.response_format == "b64_json":
            return [{"b64_json": image} for image in images]
        origin = _origin(job.exchange)
        return [{"url": origin + await self.kept.keep(image)} for image in images]


class _Telling:
    """A stream of OpenAI's image events; progress goes in comments, which its clients skip."""

    def __init__(self, job: Job, route: Route, asked: ImageRequest) -> None:
        self._job = job
        self._route = route
        self._asked = asked

    async def tell(self, progress: Progress) -> None:
        """Say how far it is, if the client takes a stream."""
        if not self._asked.streams:
            return
        await self._begin()
        told = {"step": progress.step, "steps": progress.steps}
        await self._job.exchange.send_part(b": progress " + json.dumps(told).encode() + b"\n\n")

    async def finish(self, data: list[dict[str, Any]], images: list[str]) -> None:
        """Send the images and the end."""
        await self._begin()
        common = {"created_at": int(time.time()), "size": self._asked.size, "seed": self._asked.seed}
        for entry, image in zip(data, images, strict=True):
            kind = "image_generation.completed"
            content = {"type": kind, **entry, **common, "output_format": format_of(image)}
            frame = await asyncio.to_thread(_encoded, content)
            await self._job.exchange.send_part(b"event: " + kind.encode() + b"\ndata: " + frame + b"\n\n")
        self._job.departure.finishing()
        await self._job.exchange.finish()

    async def fail(self, error: GatewayError) -> None:
        """End a stream that had begun."""
        exchange = self._job.exchange
        self._job.tally.status = error.status
        self._job.departure.finishing()
        await exchange.finish(error_frames(error, exchange.language, exchange.shape))

    async def _begin(self) -> None:
        job = self._job
        if job.exchange.started:
            return
        job.tally.status = 200
        job.tally.streamed = True
        job.tally.note_first_token()
        job.departure.streaming()
        await job.exchange.start(200, [(b"content-type", b"text/event-stream; charset=utf-8"), *_headers(self._route)])


async def _answer_whole(
    job: Job, route: Route, asked: ImageRequest, data: list[dict[str, Any]], images: list[str]
) -> None:
    content = {
        "created": int(time.time()),
        "data": data,
        "size": asked.size,
        "output_format": format_of(images[0]),
        "seed": asked.seed,
    }
    body = await asyncio.to_thread(_encoded, content)
    job.tally.status = 200
    job.departure.finishing()
    length = (b"content-length", str(len(body)).encode())
    await job.exchange.answer(200, [(b"content-type", b"application/json"), length, *_headers(route)], body)


def _content(job: Job) -> dict[str, Any]:
    payload = job.body.payload("", with_usage=False)
    if isinstance(payload, list):
        raise BadRequestError(
            _(
                "The body is too large for a request for images. "
                "LocalAI takes one that asks for response_format b64_json."
            )
        )
    content: dict[str, Any] = json.loads(payload)
    return content


def _encoded(content: dict[str, Any]) -> bytes:
    return json.dumps(content).encode()


def _headers(route: Route) -> RawHeaders:
    return [
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),
        (b"x-content-type-options", b"nosniff"),
        (b"x-berth-deployment", str(route.deployment_id).encode()),
    ]


def _origin(exchange: Exchange) -> str:
    """Where clients reach the gateway: the address that was given, else where this one reached it."""
    if not settings.BERTH_GATEWAY_POINTER:
        # Behind a proxy neither Host nor scheme need be what clients see.
        return str(settings.BERTH_GATEWAY_URL)
    headers: Headers = exchange.headers
    host = headers.get(b"host", b"")
    if not _HOST.fullmatch(host):
        raise BadRequestError(_("The request needs a valid Host header for 'url'. Ask for b64_json."))
    return f"{exchange.scheme}://{host.decode()}"
