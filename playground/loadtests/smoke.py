"""One request of each thing that a server should be able to do: each is ok, or a sentence in the server's own words."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from PIL import Image

from playground.gateway.http1.client import UpstreamClient
from playground.gateway.http1.errors import CannotConnectError, SilentError
from playground.pictures import Picture

from .asking import KINDS, Kind, Wanted, kinds_for
from .meters import LONGEST_WORDS, read_whole, refusal
from .outcomes import BROKE_OFF, FAILED, SILENT, UNREACHABLE, LoadError, Outcome
from .sending import Sender
from .target import Target
from .wires import OPENAI
from .words import error_words

#: The longest a smoke request may take: an image on a slow GPU.
LONGEST_S: Final = 300.0
_HELLO: Final = "Say hello in five words."
TITLES: Final[dict[str, Promise]] = {
    "models": gettext_lazy("lists its models"),
    "chat": gettext_lazy("chat, whole"),
    "chat_stream": gettext_lazy("chat, as a stream"),
    "vision": gettext_lazy("chat about an image"),
    "ollama": gettext_lazy("Ollama chat, whole"),
    "ollama_stream": gettext_lazy("Ollama chat, as a stream"),
    "tgi": gettext_lazy("TGI generate, whole"),
    "tgi_stream": gettext_lazy("TGI generate, as a stream"),
    "images": gettext_lazy("makes an image"),
    "embeddings": gettext_lazy("embeddings"),
}


@dataclass(frozen=True, kw_only=True)
class Smoke:
    """What became of one request of :data:`TITLES`. ``code`` and ``words`` are empty when it is ok."""

    name: str
    ms: float
    code: str = ""
    status: int = 0
    words: str = ""

    @property
    def is_ok(self) -> bool:
        """Whether the server did it."""
        return not self.code

    @property
    def title(self) -> str:
        """What was asked, in the reader's words."""
        return str(TITLES.get(self.name, self.name))

    @property
    def sentence(self) -> str:
        """Ok, or why not, in the reader's words and the server's own."""
        return _("ok") if self.is_ok else error_words(LoadError(self.code, self.words, self.status))

    def to_json(self) -> dict[str, Any]:
        """For a row; ``Smoke(**…)`` reads it."""
        return {"name": self.name, "ms": self.ms, "code": self.code, "status": self.status, "words": self.words}


def smoke_names(protocol: str, engine: str, *, vision: bool = False, embedding: bool = False) -> list[str]:
    """What a config of this protocol and engine is asked; ``vision`` and ``embedding`` tell what its model can."""
    kinds = kinds_for(protocol, engine)
    if protocol == "openai-image":
        return ["models", "images"]
    if embedding:
        return ["models", "embeddings"]
    names = ["models"] if protocol == "openai-text" else []
    for kind in ("chat", "ollama", "tgi"):
        names += [kind, f"{kind}_stream"] if kind in kinds else []
    return [*names, "vision"] if vision else names


def run_smoke(
    target: Target,
    names: Sequence[str],
    *,
    timeout_s: float = LONGEST_S,
    on_result: Callable[[Smoke], None] = lambda _smoke: None,
) -> list[Smoke]:
    """Ask each of ``names`` after the other. Never raises for what the server does. Call it outside event loops.

    ``on_result`` hears of each at once, and may write to the database.
    """
    found = []
    for name in names:
        found.append(asyncio.run(_Smoker(target, timeout_s=timeout_s).run(name)))
        on_result(found[-1])
    return found


@dataclass(kw_only=True)
class _Request:
    """One request to send by hand, and what its answer has to be."""

    path: str
    body: dict[str, Any] | None
    read: Callable[[bytes], LoadError | None] = field(default=lambda _body: None)


class _Smoker:
    def __init__(self, target: Target, *, timeout_s: float) -> None:
        self._target = target
        self._timeout_s = timeout_s
        self._client = UpstreamClient(silence_s=timeout_s)

    async def run(self, name: str) -> Smoke:
        try:
            return await self._one(name)
        finally:
            await self._client.close()

    async def _one(self, name: str) -> Smoke:
        began = time.perf_counter()
        try:
            async with asyncio.timeout(self._timeout_s):
                error = await self._ask(name)
        except TimeoutError:
            error = LoadError(SILENT, f"{self._timeout_s:g}")
        ms = round(1000 * (time.perf_counter() - began), 1)
        if error is None:
            return Smoke(name=name, ms=ms)
        return Smoke(name=name, ms=ms, code=error.code, status=error.status, words=error.words)

    def _ask(self, name: str) -> Awaitable[LoadError | None]:
        if name == "models":
            return self._send_by_hand(_Request(path="/v1/models", body=None, read=_read_models))
        if name == "vision":
            return self._send_by_hand(_Request(path="/v1/chat/completions", body=self._vision(), read=_read_chat))
        kind, _mark, stream = name.partition("_")
        return self._send(KINDS[kind], stream=bool(stream))

    async def _send(self, kind: Kind, *, stream: bool) -> LoadError | None:
        outcome = Outcome(sent_at=time.perf_counter())
        wanted = Wanted(
            model=self._target.model, engine="", text=_HELLO, output_tokens=32, stream=stream, size="256x256"
        )
        await Sender(client=self._client, target=self._target, kind=kind).send(wanted, outcome)
        return outcome.error

    async def _send_by_hand(self, request: _Request) -> LoadError | None:
        payload = b"" if request.body is None else json.dumps(request.body).encode()
        method = "GET" if request.body is None else "POST"
        head = self._target.head(request.path, size=len(payload), method=method)
        try:
            answer = await self._client.ask(self._target.origin, head, payload)
            try:
                body = await answer.read()
            finally:
                answer.close()
        except CannotConnectError as error:
            return LoadError(UNREACHABLE, str(error)[:LONGEST_WORDS])
        except SilentError:
            return LoadError(SILENT, f"{self._timeout_s:g}")
        except OSError as error:
            return LoadError(BROKE_OFF, str(error)[:LONGEST_WORDS])
        return request.read(body) if answer.status == 200 else refusal(answer.status, body)

    def _vision(self) -> dict[str, Any]:
        picture = _picture()
        said = [
            {"type": "text", "text": "Which colour is this image?"},
            {"type": "image_url", "image_url": {"url": picture.data_uri}},
        ]
        return {"model": self._target.model, "messages": [{"role": "user", "content": said}], "max_tokens": 32}


def _picture() -> Picture:
    """A red square: 64 pixels wide, since some models refuse what is smaller than a patch."""
    drawn = io.BytesIO()
    Image.new("RGB", (64, 64), (200, 30, 30)).save(drawn, format="PNG")
    return Picture(content=drawn.getvalue(), media_type="image/png")


def _read_models(body: bytes) -> LoadError | None:
    try:
        listed = json.loads(body)["data"]
    except (ValueError, KeyError, TypeError):
        listed = None
    if isinstance(listed, list) and listed:
        return None
    return LoadError(FAILED, "no list of models: " + body[:LONGEST_WORDS].decode(errors="replace"))


def _read_chat(body: bytes) -> LoadError | None:
    outcome = Outcome(sent_at=0.0)
    read_whole(OPENAI, body, outcome, now=1.0)
    return outcome.error
