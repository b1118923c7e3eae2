"""Images as archives: out of the engine and into it, as streams."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from docker.errors import APIError, ImageNotFound

from deployments.exceptions import JobCancelledError
from deployments.registries.refusals import LONGEST_SAID, TransferError
from deployments.runtimes.base import Cancelled

from .engine import answers
from .streams import CHUNK_BYTES, CONNECT_S, chunks, lines

LOADED = ("Loaded image: ", "Loaded image ID: ")
Read = Callable[[int], bytes]


@dataclass(frozen=True, kw_only=True)
class ImageHere:
    """An image of this engine; ``size_bytes`` as the engine counts it."""

    id: str
    size_bytes: int


def find_image(name: str) -> ImageHere | None:
    """The image of this name or id, if it is here. Raises RuntimeUnavailableError."""
    with answers() as client:
        try:
            found = client.inspect_image(name)  # type: ignore[no-untyped-call]  # missing in the stubs
        except ImageNotFound:
            return None
        except APIError:
            return None  # no name that an image could have
    return ImageHere(id=str(found["Id"]), size_bytes=int(found["Size"]))


def exported(name: str, *, cancelled: Cancelled) -> Iterator[bytes]:
    """The archive of an image, as it comes; the engine gathers it first, so that nothing may come for minutes.

    Raises TransferError, JobCancelledError, RuntimeUnavailableError.
    """
    return chunks(
        lambda client: client.get(
            f"{client.base_url}/v{client.api_version}/images/get",
            params={"names": name},
            stream=True,
            timeout=(CONNECT_S, None),
        ),
        explain=_explain,
        cancelled=cancelled,
        nobody=JobCancelledError(_("It was cancelled.")),
    )


def imported(read: Read, *, cancelled: Cancelled) -> list[str]:
    """Give the engine an archive; returns names and ids of what it loaded.

    ``read`` is called by another thread. Raises TransferError, JobCancelledError, RuntimeUnavailableError.
    """
    unwanted = threading.Event()
    found: list[str] = []
    try:
        answer = lines(
            lambda client: _send(client, read, unwanted),
            explain=_explain,
            cancelled=cancelled,
            nobody=JobCancelledError(_("It was cancelled.")),
        )
        for line in answer:
            if "error" in line:
                raise _explain(str(line["error"]))
            said = str(line.get("stream", "")).strip()
            found.extend(said.removeprefix(sign) for sign in LOADED if said.startswith(sign))
    finally:
        unwanted.set()
    return found


def _send(client: Any, read: Read, unwanted: threading.Event) -> Any:
    def parts() -> Iterator[bytes]:
        while part := read(CHUNK_BYTES):
            if unwanted.is_set():
                raise JobCancelledError(_("It was cancelled."))
            yield part

    return client.post(
        f"{client.base_url}/v{client.api_version}/images/load",
        data=parts(),
        params={"quiet": "1"},
        headers={"Content-Type": "application/x-tar"},
        stream=True,
        timeout=(CONNECT_S, None),
    )


def _explain(said: str) -> TransferError:
    lowered = said.lower()
    said = said.strip()[:LONGEST_SAID]
    if "no such image" in lowered or "reference does not exist" in lowered:
        return TransferError.of("image_gone", said=said)
    if "no space left" in lowered:
        return TransferError.of("no_space", said=said)
    signs = ("unexpected eof", "invalid tar", "manifest.json", "diffid", "archive", "invalid character")
    if any(sign in lowered for sign in signs):
        return TransferError.of("bad_archive", said=said)
    return TransferError.of("transfer_failed", said=said)
