"""Pulls an image: progress over its layers, cancelled at once, refused with a cause."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from django.utils.translation import gettext as _
from docker import auth
from docker.utils import parse_repository_tag

from deployments.exceptions import FetchCancelledError, FetchError
from deployments.registries.credentials import Credentials
from deployments.runtimes.base import Cancelled, Report

from .pull_progress import PullProgress
from .registry_header import registry_header
from .streams import CONNECT_S, lines

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


def pull(image: str, *, credentials: Credentials, report: Report, cancelled: Cancelled) -> None:
    """Bring ``image`` here; see :meth:`deployments.runtimes.base.Runtime.ensure_image`.

    ``credentials`` count where the host's own configuration of Docker has none for the registry.

    When nobody wants it any more the connection is closed, and with it the engine ends the pull; layers that
    are complete stay and are not fetched again.
    """
    progress = PullProgress()
    for line in _lines(image, credentials, cancelled):
        if "error" in line:
            raise _failure(image, credentials.hide_in(str(line["error"])))
        progress.take(line, now=time.monotonic())
        report(progress.progress())


def _lines(image: str, credentials: Credentials, cancelled: Cancelled) -> Iterator[dict[str, Any]]:
    """The engine's lines as they come. Raises FetchCancelledError, FetchError, RuntimeUnavailableError."""
    return lines(
        lambda client: _ask(client, image, credentials),
        explain=lambda said: _failure(image, credentials.hide_in(said)),
        cancelled=cancelled,
        nobody=FetchCancelledError(_("Nobody wants %(image)s any more.") % {"image": image}),
    )


def _ask(client: Any, image: str, credentials: Credentials) -> Any:
    repository, tag = parse_repository_tag(image)
    registry, _name = auth.resolve_repository_name(repository)
    header = auth.get_config_header(client, registry) or registry_header(repository, credentials)
    return client.post(
        f"{client.base_url}/v{client.api_version}/images/create",
        params={"fromImage": repository, "tag": tag or "latest"},
        headers={"X-Registry-Auth": header},
        stream=True,
        timeout=(CONNECT_S, None),
    )


def _failure(image: str, said: str) -> FetchError:
    lowered = said.lower()
    for sign, code, permanent in FAILURES:
        if sign in lowered:
            return FetchError(f"{image}: {said[:300]}", code=code, permanent=permanent, image=image)
    return FetchError(f"{image}: {said[:300]}", code="registry_unreachable", image=image)
