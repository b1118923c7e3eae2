"""What every protocol's client shares: the question, the answer, and HTTP to the gateway."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import httpx
from django.utils.translation import gettext as _

from playground.exceptions import RequestError
from playground.pictures import Picture

TIMEOUT = httpx.Timeout(connect=5, read=600, write=60, pool=5)


@dataclass(frozen=True, kw_only=True)
class Question:
    """A prompt for ``model``; ``stream`` asks for the answer as it is made."""

    model: str
    prompt: str
    stream: bool
    picture: Picture | None = None


@dataclass(kw_only=True)
class Answer:
    """What came back: the whole response object where it was not streamed, the text, pictures, tokens."""

    whole: dict[str, Any] = field(default_factory=dict)
    text: str = ""
    pictures: list[bytes] = field(default_factory=list)
    prompt_tokens: int | None = None
    answer_tokens: int | None = None


class GatewayHttp:
    """HTTP to the gateway at ``url`` with a bearer ``token``; use as a context manager.

    Every method raises RequestError with the gateway's own sentence.
    """

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        # Proxies of the environment are for the outside; the gateway is ours.
        self._client = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=TIMEOUT, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def whole(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """POST and return the response object."""
        with self._translated():
            response = self._client.post(path, json=body)
        _raise_for_refusal(response)
        return as_object(response.text)

    def lines(self, path: str, body: dict[str, Any]) -> Iterator[str]:
        """POST and yield the lines of the answer as they arrive."""
        with self._translated(), self._client.stream("POST", path, json=body) as response:
            if response.is_error:
                response.read()
            _raise_for_refusal(response)
            yield from response.iter_lines()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise RequestError(
                _("The gateway at %(url)s does not answer. Start Berth with: berth up") % {"url": self._url}
            ) from error
        except httpx.TimeoutException as error:
            raise RequestError(_("The gateway said nothing for ten minutes.")) from error
        except httpx.HTTPError as error:
            raise RequestError(_("The connection to the gateway broke: %(reason)s") % {"reason": error}) from error


def as_object(text: str) -> dict[str, Any]:
    """A JSON object. Raises RequestError when it is something else."""
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise RequestError(
            _("The model's server answered with something that is not JSON: %(text)s") % {"text": text[:200]}
        )
    return content


def raise_for_error(content: dict[str, Any], *, status: int | None = None) -> None:
    """Raise RequestError if the object is an error, as OpenAI or as Ollama writes it."""
    error = content.get("error")
    if isinstance(error, dict):
        raise RequestError(str(error.get("message") or error), status=status, code=str(error.get("code") or ""))
    if error:
        raise RequestError(str(error), status=status)


def _raise_for_refusal(response: httpx.Response) -> None:
    if not response.is_error:
        return
    with contextlib.suppress(ValueError, AttributeError):
        raise_for_error(response.json(), status=response.status_code)
    raise RequestError(
        _("The gateway answered with status %(status)s.") % {"status": response.status_code},
        status=response.status_code,
    )
