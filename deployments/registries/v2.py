"""Asks a registry by HTTP: whether it accepts us, and whether a manifest is there.

Source: the OCI distribution specification (``/v2/``, ``HEAD /v2/<name>/manifests/<reference>``) and the token
authentication of registries (``WWW-Authenticate: Bearer realm=…,service=…,scope=…``).
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from .addresses import is_near
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
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, kw_only=True)
class RegistryClient:
    """One registry, and who we are there. Each question takes a few seconds at most."""

    address: str
    credentials: Credentials
    insecure: bool = False

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

    def _client(self) -> httpx.Client:
        scheme = "http" if self.insecure else "https"
        return httpx.Client(base_url=f"{scheme}://{self.address}", timeout=ANSWER_S, follow_redirects=False)

    def _ask(self, client: httpx.Client, method: str, path: str, *, scope: str) -> _Answer:
        """Ask, and once more in the way that the registry wants."""
        headers = {"Accept": MANIFESTS}
        try:
            answer = _send(client, method, path, headers=headers)
            if answer.status != httpx.codes.UNAUTHORIZED:
                return answer
            if answer.challenge.lower().startswith("bearer "):
                token = self._token(client, answer.challenge, scope)
                return _send(client, method, path, headers={**headers, "Authorization": f"Bearer {token}"})
            if not self.credentials:
                return answer
            return _send(client, method, path, headers=headers, auth=self._basic())
        except httpx.HTTPError as error:
            raise _unreachable(error) from error

    def _token(self, client: httpx.Client, challenge: str, scope: str) -> str:
        """Ask the registry's token server, whose address it names: by TLS, or near where the registry is near too."""
        parameters = dict(_PARAMETER.findall(challenge))
        realm = urlsplit(parameters.get("realm", ""))
        near = self.insecure and realm.scheme == "http" and is_near(realm.netloc)
        if realm.scheme != "https" and not near:
            raise TransferError.of("no_tls", said=parameters.get("realm", "")[:LONGEST_SAID])
        wanted = {"service": parameters.get("service", ""), "scope": scope}
        answer = _send(
            client,
            "GET",
            realm.geturl(),
            params={key: value for key, value in wanted.items() if value},
            auth=self._basic() if self.credentials else None,
        )
        if answer.status != httpx.codes.OK:
            raise self._refused(answer)
        try:
            told = json.loads(answer.text)
            return str(told.get("token") or told["access_token"])
        except (ValueError, KeyError, AttributeError) as error:
            raise TransferError.of("no_registry") from error

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


def _unreachable(error: httpx.HTTPError) -> TransferError:
    said = str(error)
    lowered = said.lower()
    if "certificate" in lowered:
        return TransferError.of("bad_certificate", said=said[:LONGEST_SAID])
    if "ssl" in lowered or "wrong version number" in lowered:
        return TransferError.of("no_tls", said=said[:LONGEST_SAID])
    return TransferError.of("unreachable", said=said[:LONGEST_SAID])
