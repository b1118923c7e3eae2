"""Pushes an image: progress for each layer, cancelled at once, refused with a cause, the digest at its end."""

from __future__ import annotations

import time
from typing import Any

from django.utils.translation import gettext as _
from docker.errors import APIError, ImageNotFound

from deployments.exceptions import JobCancelledError
from deployments.registries.credentials import Credentials
from deployments.registries.refusals import TransferError, explained
from deployments.runtimes.base import Cancelled
from deployments.transfers.layers import Pushed, ReportPush

from .engine import answers
from .push_progress import PushProgress
from .registry_header import registry_header
from .streams import CONNECT_S, lines


def push(
    image: str, *, repository: str, tag: str, credentials: Credentials, report: ReportPush, cancelled: Cancelled
) -> Pushed:
    """Name ``image`` (an id or a name) ``repository:tag`` and push that; safe to repeat.

    Layers that the registry has are not sent again, so a push that broke off goes on where it was. When nobody wants
    it any more the connection is closed, and with it the engine ends the push. Raises TransferError with the code
    of :mod:`deployments.registries.refusals`, JobCancelledError, RuntimeUnavailableError.
    """
    image_id, size_bytes = _name(image, repository=repository, tag=tag)
    progress = PushProgress()
    pushing = lines(
        lambda client: _ask(client, repository, tag, credentials),
        explain=lambda said: explained(said, credentials=credentials),
        cancelled=cancelled,
        nobody=JobCancelledError(_("It was cancelled.")),
    )
    for line in pushing:
        if "error" in line:
            raise explained(str(line["error"]), credentials=credentials)
        progress.take(line, now=time.monotonic())
        report(progress.progress(), progress.shown())
    if not progress.digest:
        raise explained("", credentials=credentials)
    return Pushed(digest=progress.digest, image_id=image_id, size_bytes=size_bytes)


def _name(image: str, *, repository: str, tag: str) -> tuple[str, int]:
    """Give the image its name in the registry; returns its id and its size in bytes."""
    with answers() as client:
        try:
            found = client.inspect_image(image)  # type: ignore[no-untyped-call]  # missing in the stubs
            client.tag(found["Id"], repository, tag)
        except ImageNotFound as error:
            raise TransferError.of("image_gone", image=image) from error
        except APIError as error:
            raise TransferError.of("name_invalid", said=(error.explanation or str(error))[:300]) from error
    return str(found["Id"]), int(found["Size"])


def _ask(client: Any, repository: str, tag: str, credentials: Credentials) -> Any:
    return client.post(
        f"{client.base_url}/v{client.api_version}/images/{repository}/push",
        params={"tag": tag},
        headers={"X-Registry-Auth": registry_header(repository, credentials)},
        stream=True,
        timeout=(CONNECT_S, None),
    )
