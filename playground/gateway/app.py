"""The gateway: one address for every ready deployment, as a plain ASGI application.

It is dispatched before Django, since a Django view costs several times what this costs for each request.
No database work happens on the way of a request but for looking up a caller not seen lately.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _

from deployments.redis import async_client
from playground.exceptions import GatewayError, NotStartedError, UnknownRouteError, WrongMethodError

from .admission import Admission
from .auth import Authenticator, Caller
from .body import ClientLeftError, RequestBody, parse_body, read_body
from .byte_budget import ByteBudget, Hold
from .departure import Departures, StopWhenClientLeaves
from .endpoints import ENDPOINTS, Endpoint, endpoint_at
from .exchange import Exchange
from .http1.client import SILENCE_S, UpstreamClient
from .images.answering import Images
from .images.kept import PATH as IMAGE_FILES
from .images.kept import KeptImages
from .metering import Meter
from .ollama.addresses import OllamaAddresses
from .ollama.body import OllamaBody, parse_ollama
from .places import Places
from .reaching import Reaching
from .relay import Job, Relay
from .reporting import Report
from .routing import RoutingTable
from .startable import ListedModel
from .subscription import Subscription
from .tally import CLIENT_LEFT, Tally
from .waiting_line import WaitingLine
from .wire import Receive, Scope, Send

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

logger = logging.getLogger(__name__)

MODELS = "/v1/models"
#: Whatever lies below is the gateway's.
PREFIXES = ("/v1/", "/api/", "/tgi/")


class GatewayApplication:
    """Serves :data:`ENDPOINTS`, ``/v1/models`` and ``/v1/models/{id}``; one for each process.

    Call :meth:`startup` in the event loop that serves it and :meth:`shutdown` at the end.
    """

    def __init__(self, *, connect: Callable[[], Redis] = async_client, silence_s: float = SILENCE_S) -> None:
        self.table = RoutingTable()
        self.authenticator = Authenticator()
        self._subscription = Subscription(
            connect, self.table, on_keys_changed=self.authenticator.forget, on_reach_asked=self._reach
        )
        self._report = Report(connect, self.table)
        self.budget = ByteBudget()
        self.places = Places(self.table.in_flight)
        self.line = WaitingLine(connect, self.table)
        self.table.on_change = self._look_again
        self._admission = Admission(connect)
        self._departures = Departures()
        self._meter = Meter(connect)
        self._silence_s = silence_s
        self._connect = connect
        self.client = UpstreamClient(silence_s=silence_s)
        self._reaching: Reaching | None = None
        self._relay: Relay | None = None
        self._images: Images | None = None
        self._ollama: OllamaAddresses | None = None

    async def startup(self) -> None:
        """Open the clients, read the routing table and follow it. Redis may be away."""
        self._reaching = Reaching(self.client)
        self._images = Images(self._connect, silence_s=self._silence_s)
        self._relay = Relay(self.client, self.table, self.places, self._images)
        self._ollama = OllamaAddresses(self.client, self.table, self.authenticator, self.budget)
        await self._admission.start()
        await self._meter.start()
        await self._subscription.start()
        await self._report.start()

    def _look_again(self) -> None:
        self.places.look_again()
        self.line.look_again()

    async def shutdown(self) -> None:
        """Close both. Safe to repeat, and without :meth:`startup`."""
        await self._subscription.stop()
        await self._report.stop()
        await self.line.stop()
        await self._admission.stop()
        await self._meter.stop()
        if self._reaching is not None:
            await self._reaching.stop()
        if self._images is not None:
            await self._images.stop()
        await self.client.close()

    def _reach(self, asked: str, redis: Redis) -> None:
        if self._reaching is not None:
            self._reaching.ask(asked, redis)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; refusals have the error object of the protocol asked."""
        exchange = Exchange(scope, send)
        try:
            await self._dispatch(exchange, receive)
        except GatewayError as error:
            await exchange.refuse(error)
        except ClientLeftError:
            return
        except Exception:
            logger.exception("Request %s failed.", exchange.request_id.decode())
            if exchange.started:
                raise
            await exchange.refuse(GatewayError(_("The gateway failed. Its log names the cause.")))

    async def _dispatch(self, exchange: Exchange, receive: Receive) -> None:
        path = exchange.path
        _accept_api_key(exchange)
        found = endpoint_at(path)
        if found is not None:
            _require_method(exchange, "POST")
            await self._serve(exchange, receive, *found)
        elif path == MODELS or path.startswith(f"{MODELS}/"):
            _require_method(exchange, "GET", "HEAD")
            caller = await self.authenticator.check(exchange.headers)
            await exchange.answer_json(self._models(path.removeprefix(MODELS).strip("/"), caller))
        elif path.startswith(IMAGE_FILES) and self._images is not None:
            _require_method(exchange, "GET", "HEAD")
            await _give_image(exchange, self._images.kept)
        elif exchange.shape == "ollama" and self._ollama is not None:
            await self._ollama.answer(exchange, receive)
        elif not path.startswith(PREFIXES):
            raise UnknownRouteError(
                _(
                    "There is nothing at %(path)s. Models are asked under /v1/, /api/ and /tgi/; the pages are at "
                    "Berth's web address."
                ),
                path=path[:200],
            )
        else:
            raise UnknownRouteError(
                _("There is nothing at %(path)s. This gateway serves GET %(models)s and POST %(endpoints)s."),
                path=path[:200],
                models=MODELS,
                endpoints=", ".join(endpoint.path for endpoint in ENDPOINTS),
            )

    async def _serve(self, exchange: Exchange, receive: Receive, endpoint: Endpoint, config: str) -> None:
        caller = await self.authenticator.check(exchange.headers)
        tally = Tally(caller=caller, endpoint=endpoint, request_id=exchange.request_id, model=config)
        hold = Hold(self.budget)
        try:
            raw = await read_body(receive, exchange.headers, hold)
            async with StopWhenClientLeaves(receive, exchange, self._departures) as departure:
                body: RequestBody
                if exchange.shape == "ollama":
                    body = await parse_ollama(raw, endpoint.path, self.table)
                else:
                    body = await parse_body(raw, endpoint, config, exchange.headers)
                # The body frees its memory when it may; nothing else may hold it.
                raw = b""
                await self._admit(exchange, body, tally)
                job = Job(exchange=exchange, endpoint=endpoint, body=body, hold=hold, departure=departure, tally=tally)
                try:
                    await self._run(job)
                except NotStartedError as missing:
                    await self.line.wait(job, missing)
                    await self._run(job)
            if departure.left:
                tally.status = CLIENT_LEFT
        except GatewayError as error:
            tally.status = error.status
            raise
        except ClientLeftError:
            tally.status = CLIENT_LEFT
            raise
        finally:
            hold.shrink_to(0)
            tally.settle()
            self._meter.record(tally.record(self.table))

    async def _run(self, job: Job) -> None:
        if self._relay is None:
            raise RuntimeError("startup() has not run")
        if isinstance(job.body, OllamaBody) and job.body.loads_only:
            await self._say_loaded(job, job.body)
        else:
            await self._relay.run(job)

    async def _say_loaded(self, job: Job, body: OllamaBody) -> None:
        """Whoever is in the table has its model loaded; raises what the table raises."""
        self.table.candidates(body.model, job.endpoint)
        job.tally.status = 200
        job.departure.finishing()
        await job.exchange.answer_json(body.loaded())

    async def _admit(self, exchange: Exchange, body: RequestBody, tally: Tally) -> None:
        tally.model = body.model
        tally.reservation = await self._admission.admit(
            tally.caller,
            endpoint=tally.endpoint.scope,
            model=body.model,
            prompt_bytes=body.prompt_bytes if tally.endpoint.counts_tokens else 0,
            max_tokens=body.max_tokens if tally.endpoint.counts_tokens else 0,
        )
        exchange.extra_headers = tally.reservation.headers

    def _models(self, name: str, caller: Caller) -> bytes:
        """One model, or those that ``caller`` may ask. Raises ForbiddenError, or what the table raises."""
        if name:
            caller.require_model(name)
            return _encoded(_listing(self.table.find(name)))
        models = [*self.table.listed(), *self.table.listed_startable()]
        listed = [_listing(model) for model in models if caller.may_ask(model.name)]
        return _encoded({"object": "list", "data": listed})


async def _give_image(exchange: Exchange, kept: KeptImages) -> None:
    """Its address is its credential: whoever shows the image has no key."""
    kind, image = await kept.find(exchange.path)
    headers = [
        (b"content-type", kind.encode()),
        (b"content-length", str(len(image)).encode()),
        (b"cache-control", b"private, max-age=3600"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await exchange.answer(200, headers, image)


def _listing(model: ListedModel) -> dict[str, object]:
    return {
        "id": model.name,
        "object": "model",
        "created": model.since,
        "owned_by": "berth",
        "configs": model.configs,
        # Not of the protocol: a request starts what is not ready, and waits for it.
        "ready": model.ready,
    }


def _encoded(content: object) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode()


def _accept_api_key(exchange: Exchange) -> None:
    """Anthropic's clients send their key in a header of its own; Authorization counts where there are both."""
    headers = exchange.headers
    if b"x-api-key" in headers and b"authorization" not in headers:
        headers[b"authorization"] = b"Bearer " + headers[b"x-api-key"]


def _require_method(exchange: Exchange, *allowed: str) -> None:
    if exchange.method not in allowed:
        raise WrongMethodError(
            _("%(path)s answers to %(allowed)s only."), path=exchange.path, allowed=", ".join(allowed)
        )
