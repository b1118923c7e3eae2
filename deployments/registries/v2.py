"""Asks a registry by HTTP: whether it accepts us, and whether a manifest is there.

Source: the OCI distribution specification (``/v2/``, ``HEAD /v2/<name>/manifests/<reference>``) and the token
authentication of registries (``WWW-Authenticate: Bearer realm=…,service=…,scope=…``).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from .addresses import is_near, server_of
from .credentials import Credentials
from .refusals import LONGEST_SAID, TransferError, explained

#: Of one request. A page waits for it.
ANSWER_S = 3.0
#: Of an answer; an error of a registry is far shorter.
MOST_BYTES = 64 * 1024
MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    )
)
#: RFC 6750, "b64token", and what else servers hand out that a header can hold.
_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, kw_only=True)
class RegistryClient:
    """One registry, and who we are there. Each question takes a few seconds at most.

    ``transport`` stands for the network in tests.
    """

    address: str
    credentials: Credentials
    insecure: bool = False
    transport: httpx.BaseTransport | None = None

    def check(self) -> None:
        """Return when the registry accepts name and password. Raises TransferError."""
        with self._client() as client:
            answer = self._ask(client, "GET", "/v2/", scope="")
            if answer.status == httpx.codes.OK:
                return
            if answer.status == httpx.codes.NOT_FOUND:
                raise TransferError.of("no_registry", said=f"HTTP {answer.status}")
            raise self._refused(answer)

    def has(self, path: str, digest: str) -> bool:
        """Whether the repository ``path`` still has the manifest ``digest``. Raises TransferError."""
        with self._client() as client:
            answer = self._ask(client, "HEAD", f"/v2/{path}/manifests/{digest}", scope=f"repository:{path}:pull")
            if answer.status == httpx.codes.NOT_FOUND:
                return False
            if answer.status == httpx.codes.OK:
                return True
            raise self._refused(answer)

    @contextmanager
    def _client(self) -> Iterator[httpx.Client]:
        """Whoever cannot be reached within it is a TransferError.

        So is a name that no host can have, as ``a..b`` or ``xn--a.com``: the address is a person's and a token server
        is the registry's to name, and both look well until they are encoded for the look-up, with a UnicodeError.
        """
        scheme = "http" if self.insecure else "https"
        try:
            with httpx.Client(
                base_url=f"{scheme}://{server_of(self.address)}",
                timeout=ANSWER_S,
                follow_redirects=False,
                transport=self.transport,
            ) as client:
                yield client
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise _unreachable(error) from error

    def _ask(self, client: httpx.Client, method: str, path: str, *, scope: str) -> _Answer:
        """Ask, and once more in the way that the registry wants."""
        headers = {"Accept": MANIFESTS}
        answer = _send(client, method, path, headers=headers)
        if answer.status != httpx.codes.UNAUTHORIZED:
            return answer
        if answer.challenge.lower().startswith("bearer "):
            token = self._token(client, answer.challenge, scope)
            return _send(client, method, path, headers={**headers, "Authorization": f"Bearer {token}"})
        if not self.credentials:
            return answer
        return _send(client, method, path, headers=headers, auth=self._basic())

    def _token(self, client: httpx.Client, challenge: str, scope: str) -> str:
        """Ask the registry's token server, which may be another host: the registry names it."""
        parameters = dict(_PARAMETER.findall(challenge))
        realm = parameters.get("realm", "")
        if fault := self._fault_of(realm):
            raise TransferError.of(fault, said=realm[:LONGEST_SAID])
        wanted = {"service": parameters.get("service", ""), "scope": scope}
        answer = _send(
            client,
            "GET",
            realm,
            params={key: value for key, value in wanted.items() if value},
            auth=self._basic() if self.credentials else None,
        )
        if answer.status != httpx.codes.OK:
            raise self._refused(answer)
        try:
            told = json.loads(answer.text)
            token = str(told.get("token") or told["access_token"])
        except (ValueError, KeyError, AttributeError) as error:
            raise TransferError.of("no_registry") from error
        if not _TOKEN.fullmatch(token):
            raise TransferError.of("no_registry")
        return token

    def _fault_of(self, realm: str) -> str:
        """Why a token server does not get name and password, as a code; empty where it does.

        By TLS, if the registry named it by TLS. Without TLS anybody on the way could have named it, so that it has to
        be as near as such a registry has to be.
        """
        try:
            told = urlsplit(realm)
            if told.scheme not in ("https", "http") or not told.hostname or "@" in told.netloc:
                return "no_registry"
            if is_near(told.netloc) if self.insecure else told.scheme == "https":
                return ""
        except ValueError:
            return "no_registry"
        return "no_tls" if told.scheme == "http" else "far_token_server"

    def _basic(self) -> httpx.BasicAuth:
        return httpx.BasicAuth(self.credentials.username, self.credentials.password)

    def _refused(self, answer: _Answer) -> TransferError:
        return explained(f"HTTP {answer.status} {answer.text}", credentials=self.credentials)


@dataclass(frozen=True, kw_only=True)
class _Answer:
    status: int
    challenge: str
    text: str


def _send(client: httpx.Client, method: str, url: str, **options: Any) -> _Answer:
    """One request, of whose answer only so much is read as an honest registry says."""
    ends_at = time.monotonic() + ANSWER_S
    body = b""
    with client.stream(method, url, **options) as response:
        for part in response.iter_bytes():
            body += part
            if len(body) > MOST_BYTES or time.monotonic() > ends_at:
                break
        text = body[:MOST_BYTES].decode(errors="replace")
        status = response.status_code
        if not text and status >= httpx.codes.BAD_REQUEST:
            text = response.reason_phrase
        return _Answer(status=status, challenge=response.headers.get("WWW-Authenticate", ""), text=text)


def _unreachable(error: Exception) -> TransferError:
    said = str(error)
    lowered = said.lower()
    if "certificate" in lowered:
        return TransferError.of("bad_certificate", said=said[:LONGEST_SAID])
    if "ssl" in lowered or "wrong version number" in lowered:
        return TransferError.of("no_tls", said=said[:LONGEST_SAID])
    return TransferError.of("unreachable", said=said[:LONGEST_SAID])
