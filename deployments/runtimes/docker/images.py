"""Pulls an image: progress over its layers, cancelled at once, refused with a cause."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

from django.utils.translation import gettext as _
from docker import auth
from docker.types import CancellableStream
from docker.utils import parse_repository_tag

from deployments.exceptions import FetchCancelledError, FetchError
from deployments.runtimes.base import Cancelled, Report

from .engine import new_connection, silent
from .pull_progress import PullProgress

#: How long silence lasts before somebody is asked whether the image is still wanted.
LOOK_EVERY_S = 0.5
CONNECT_S = 10

#: What registry and engine say -> reason code, and whether trying again cannot help. The first match counts.
FAILURES = (
    ("toomanyrequests", "registry_rate_limited", False),
    ("http 429", "registry_rate_limited", False),
    ("invalid reference format", "image_not_found", True),
    ("no space left on device", "no_image_space", False),
    # Said of private images and of missing ones alike; the reason's next step names both.
    ("pull access denied", "registry_denied", True),
    ("manifest unknown", "image_not_found", True),
    ("not found", "image_not_found", True),
    ("repository does not exist", "image_not_found", True),
    ("no matching manifest", "no_image_for_platform", True),
    ("unauthorized", "registry_denied", True),
    ("denied", "registry_denied", True),
    ("no basic auth credentials", "registry_denied", True),
)


def pull(image: str, *, report: Report, cancelled: Cancelled) -> None:
    """Bring ``image`` here; see :meth:`deployments.runtimes.base.Runtime.ensure_image`.

    When nobody wants it any more the connection is closed, and with it the engine ends the pull; layers that
    are complete stay and are not fetched again.
    """
    progress = PullProgress()
    for line in _lines(image, cancelled):
        if "error" in line:
            raise _failure(image, str(line["error"]))
        progress.take(line, now=time.monotonic())
        report(progress.progress())


def _lines(image: str, cancelled: Cancelled) -> Iterator[dict[str, Any]]:
    """The engine's lines as they come. Raises FetchCancelledError, FetchError, RuntimeUnavailableError."""
    pull_ = _Pull(new_connection(), image)
    reader = threading.Thread(target=pull_.read, name="pull", daemon=True)
    reader.start()
    try:
        yield from _parsed(image, pull_.lines, cancelled)
    finally:
        pull_.close()


class _Pull:
    """Asks and reads in a thread of its own, which also closes the connection.

    The engine answers nothing at all until the registry has: with one that is silent that took 25 s, measured.
    """

    def __init__(self, client: Any, image: str) -> None:
        self.lines: queue.SimpleQueue[bytes | Exception | None] = queue.SimpleQueue()
        self._client = client
        self._image = image
        self._lock = threading.Lock()
        self._response: Any = None
        self._unwanted = False

    def read(self) -> None:
        """Put each line into ``lines``; then None, or the error that ended it."""
        try:
            response = _ask(self._client, self._image)
            with self._lock:
                self._response = response
                unwanted = self._unwanted
            if unwanted:
                _hang_up(response)
            elif not response.ok:
                self.lines.put(_failure(self._image, _message(response)))
            else:
                for line in response.iter_lines():
                    self.lines.put(line)
            self.lines.put(None)
        except Exception as error:  # noqa: BLE001 - given to the reader of the queue, who knows what it means
            self.lines.put(error)
        finally:
            self._client.close()

    def close(self) -> None:
        """Hang up, so that the engine ends the pull; at once, or as soon as it has begun to answer."""
        with self._lock:
            self._unwanted = True
            response = self._response
        if response is not None:
            _hang_up(response)


def _hang_up(response: Any) -> None:
    CancellableStream(iter(()), response).close()


def _ask(client: Any, image: str) -> Any:
    repository, tag = parse_repository_tag(image)
    registry, _name = auth.resolve_repository_name(repository)
    credentials = auth.get_config_header(client, registry)
    return client.post(
        f"{client.base_url}/v{client.api_version}/images/create",
        params={"fromImage": repository, "tag": tag or "latest"},
        headers={"X-Registry-Auth": credentials} if credentials else {},
        stream=True,
        timeout=(CONNECT_S, None),
    )


def _parsed(
    image: str, lines: queue.SimpleQueue[bytes | Exception | None], cancelled: Cancelled
) -> Iterator[dict[str, Any]]:
    while True:
        if cancelled():
            raise FetchCancelledError(_("Nobody wants %(image)s any more.") % {"image": image})
        try:
            line = lines.get(timeout=LOOK_EVERY_S)
        except queue.Empty:
            continue
        if line is None:
            return
        if isinstance(line, FetchError):
            raise line
        if isinstance(line, Exception):
            raise silent(line) from line
        if line.strip():
            yield json.loads(line)


def _failure(image: str, said: str) -> FetchError:
    lowered = said.lower()
    for sign, code, permanent in FAILURES:
        if sign in lowered:
            return FetchError(f"{image}: {said[:300]}", code=code, permanent=permanent, image=image)
    return FetchError(f"{image}: {said[:300]}", code="registry_unreachable", image=image)


def _message(response: Any) -> str:
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError):
        return f"{response.status_code} {response.reason}"
