"""The connection to the container engine, and its errors in our words."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import docker
from django.utils.translation import gettext as _
from docker.errors import APIError, DockerException
from docker.utils import kwargs_from_env
from requests.exceptions import ReadTimeout, RequestException

from deployments.engine_certificates import certificates
from deployments.exceptions import LaunchError, RuntimeUnavailableError

DEFAULT_HOST = "unix:///var/run/docker.sock"
#: An engine that is busy pulling answers slowly; one that is silent this long is silent.
ANSWER_S = 15
#: A ping touches no container, so an engine that answers at all answers it at once.
PING_S = 2

#: Addresses at which the last question was not answered in time: they are pinged before the next one, or each caller
#: (the heartbeat, the list, every reconcile) would wait ANSWER_S in turn and the whole node would look silent.
_late: set[str] = set()

#: What the engine says -> reason code. The first match counts.
REFUSALS = (
    ("could not select device driver", "no_nvidia_runtime"),
    ("unknown or invalid runtime name", "no_nvidia_runtime"),
    ("nvidia-container-cli", "no_nvidia_runtime"),
    ("no space left on device", "no_image_space"),
    ("port is already allocated", "port_in_use"),
    ("address already in use", "port_in_use"),
    ("executable file not found", "command_not_found"),
    ("no such file or directory: unknown", "command_not_found"),
    ("permission denied", "permission_denied"),
)


class _Client(docker.APIClient):
    """Keeps to its own certificates: requests would take REQUESTS_CA_BUNDLE in their place (psf/requests#3829)."""

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        own = self.verify if verify is None else verify
        return super().merge_environment_settings(url, proxies, stream, own, cert)


def host() -> str:
    """The engine's address: DOCKER_HOST, else its usual socket."""
    return os.environ.get("DOCKER_HOST") or DEFAULT_HOST


@cache
def _client(address: str) -> docker.APIClient:
    return _new_client(address)


def _new_client(address: str) -> docker.APIClient:
    tls = kwargs_from_env()["tls"] if certificates(os.environ) else False
    return _Client(base_url=address, version="auto", timeout=ANSWER_S, tls=tls)


def connect() -> docker.APIClient:
    """This process's client; thread-safe. Raises RuntimeUnavailableError at its first use without an engine."""
    address = host()
    _require_socket(address)
    _require_certificates()
    try:
        return _client(address)
    except (DockerException, RequestException) as error:
        raise silent(error) from error


def new_connection() -> docker.APIClient:
    """A client of the caller's own, to close when it is done: for streams. Raises RuntimeUnavailableError."""
    address = host()
    _require_socket(address)
    _require_certificates()
    try:
        return _new_client(address)
    except (DockerException, RequestException) as error:
        raise silent(error) from error


@contextmanager
def answers() -> Iterator[docker.APIClient]:
    """The client, for questions: a silent engine raises RuntimeUnavailableError.

    What the engine refuses (APIError below 500) is the caller's to explain.
    """
    client = connect()
    if host() in _late:
        ping(client)
    try:
        yield client
    except ReadTimeout as error:
        _late.add(host())
        raise silent(error) from error
    except APIError as error:
        if error.response is not None and error.response.status_code < 500:
            raise
        raise silent(error) from error
    except (DockerException, RequestException) as error:
        raise silent(error) from error


def ping(client: docker.APIClient) -> None:
    """Return if the engine answers within PING_S. Raises RuntimeUnavailableError."""
    address = host()
    try:
        client.get(f"{client.base_url}/_ping", timeout=PING_S).raise_for_status()
    except (DockerException, RequestException) as error:
        _late.add(address)
        raise silent(error) from error
    _late.discard(address)


def server_version(client: docker.APIClient) -> str:
    """Such as ``27.1.1``. Within PING_S, for heartbeats wait for it; to be asked within :func:`answers`."""
    answer = client.get(f"{client.base_url}/version", timeout=PING_S)
    answer.raise_for_status()
    return str(answer.json()["Version"])


def silent(error: Exception) -> RuntimeUnavailableError:
    """The engine does not answer, in a sentence."""
    said = _system_words(error) or str(error)[:300]
    return RuntimeUnavailableError(
        _("The container engine does not answer: %(detail)s") % {"detail": said}, code="engine_silent", detail=said
    )


def _system_words(error: BaseException) -> str:
    """What the system said at the bottom of an error, such as ``Connection refused``; empty when it said nothing."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    within = (each for each in (*error.args, error.__cause__) if isinstance(each, BaseException))
    return next((said for each in within if (said := _system_words(each))), "")


def refuse(error: APIError) -> NoReturn:
    """Raise what a refused launch means: LaunchError with its reason code.

    What is not known is the config's fault when the engine says so (4xx), and else the engine's, which may get over it.
    """
    said = (error.explanation or str(error)).strip()[:500]
    lowered = said.lower()
    unknown = "launch_failed" if error.is_server_error() else "launch_refused"
    code = next((code for sign, code in REFUSALS if sign in lowered), unknown)
    raise LaunchError(said, code=code, detail=said, last_line=said) from error


def _require_socket(address: str) -> None:
    """Say at once that there is no engine: the SDK leaks a socket for each connection that it cannot make."""
    if not address.startswith("unix://"):
        return
    path = Path(address.removeprefix("unix://"))
    if not path.is_socket():
        raise RuntimeUnavailableError(
            _("There is no container engine at %(path)s.") % {"path": path}, code="engine_silent", detail=str(path)
        )


def _require_certificates() -> None:
    """Say which are not there any more: requests raises OSError for those, which may mean anything."""
    found = certificates(os.environ)
    if found is not None and found.missing:
        message = _("DOCKER_TLS_VERIFY is set, and %(folder)s lacks %(files)s.")
        told = message % {"folder": found.folder, "files": ", ".join(found.missing)}
        raise RuntimeUnavailableError(told, code="engine_silent", detail=told)
