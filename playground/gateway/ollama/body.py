"""A request of Ollama's API: natively for Ollama, as a translation for the other engines."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from django.utils.translation import gettext_lazy as _

from playground.exceptions import BadRequestError, ForbiddenError
from playground.gateway.body import LARGE_BYTES, Payload
from playground.gateway.model_spelling import refuse_other_spellings

from .answers import Objects, encoded
from .asking import ASKED, Asked, loads_only, question_for, streams, unloads
from .engines import dialect_of
from .long_strings import LongStrings, parse
from .names import known_name
from .options import most_tokens
from .passing import Translation

if TYPE_CHECKING:
    from playground.gateway.routing import Route, RoutingTable

_NATIVE: Final = "ollama"
#: How long a model stays in memory is its deployment's business: neither a client's wish nor Ollama's default, which a
#: reload would bring back, may unload it.
_KEEP: Final = -1


class OllamaBody:
    """A RequestBody. ``model`` is the name that the table knows, ``asked_name`` what the client wrote."""

    content_type = "application/json"
    asks_usage = True

    def __init__(
        self, asked: Asked, content: dict[str, Any], strings: LongStrings, *, model: str, prompt_bytes: int
    ) -> None:
        self._asked = asked
        self._content = content
        self._strings = strings
        self.model = model
        self.asked_name: str = content["model"]
        self.prompt_bytes = prompt_bytes
        self.streams = streams(asked, content)
        self.max_tokens = most_tokens(content)
        #: Whether it asks for no answer but that the model be loaded.
        self.loads_only = loads_only(asked, content)
        self._objects = Objects(asked, self.asked_name, thinks=content.get("think") is not False)

    def payload(self, name: str, *, with_usage: bool) -> Payload:
        """For Ollama itself: the request with ``name`` as its model, which stays loaded."""
        # Ollama reads names without regard to case.
        content = {member: value for member, value in self._content.items() if member.casefold() != "keep_alive"}
        return self._strings.encode({**content, "model": name, "keep_alive": _KEEP})

    def translation(self, route: Route) -> Translation | None:
        """How ``route`` is asked when it is no Ollama. Raises BadRequestError for what cannot be translated."""
        if route.engine == _NATIVE:
            return None
        question = question_for(
            self._asked,
            self._content,
            self._strings,
            served_name=route.served_name,
            dialect=dialect_of(route.engine),
        )
        return Translation(
            path=question.path,
            payload=self._strings.encode(question.content),
            asked=self._asked,
            objects=self._objects,
        )

    def nothing_yet(self) -> bytes:
        """A line that keeps a stream alive while the model starts: clients parse each line, so it is a whole object."""
        return encoded(self._objects.nothing_yet()) + b"\n"

    def note_loaded(self) -> None:
        """The model is there only now; see :class:`Objects`."""
        self._objects.note_loaded()

    def loaded(self) -> bytes:
        """The answer to a request that :attr:`loads_only`."""
        return encoded(self._objects.loaded())

    def forget(self) -> None:
        """See the Protocol."""
        self._content = {}
        self._strings.forget()


async def parse_ollama(raw: bytes | bytearray, path: str, table: RoutingTable) -> OllamaBody:
    """Parse a request to ``path``, one of ASKED.

    Raises BadRequestError, or ForbiddenError for one that only wants the model to be unloaded.
    """
    if len(raw) > LARGE_BYTES:
        content, strings, opaque = await asyncio.to_thread(parse, raw)
    else:
        content, strings, opaque = parse(raw)
    model = content.get("model")
    if not isinstance(model, str) or not model:
        raise BadRequestError(
            _("The body lacks 'model', the name of a model or config; GET /api/tags lists them."), param="model"
        )
    refuse_other_spellings(content)
    asked = ASKED[path]
    body = OllamaBody(asked, content, strings, model=known_name(table, model), prompt_bytes=len(raw) - opaque)
    if body.loads_only and unloads(content):
        raise ForbiddenError(
            _("How long a model stays loaded is decided in Berth's catalogue. Stop %(model)s there."), model=model[:200]
        )
    return body
