"""The error tree of this app, below :class:`deployments.exceptions.BerthError`.

BerthError
├── GatewayError                 the gateway refuses or fails a request; carries status, type and code
│   ├── BadRequestError          400: the body is not what the protocol asks for
│   ├── UnauthenticatedError     401: no credential, or one that is not valid
│   ├── ForbiddenError           403: who asks is known and may not
│   ├── UnknownRouteError        404: no such address
│   ├── ModelNotFoundError       404: no ready deployment answers to that name
│   ├── EndpointMismatchError    404: the config exists and is asked at another address
│   ├── WrongMethodError         405: the address exists, the method does not
│   ├── BodyTimeoutError         408: the body did not come
│   ├── BodyTooLargeError        413: more bytes than the gateway takes
│   ├── UnsupportedEncodingError 415: a compressed body
│   ├── RateLimitedError         429: the key has used what it may
│   ├── NothingReadyError        503: nothing runs at all
│   ├── NotStartedError          503: a config of the catalogue that does not run, or not yet; says what to do
│   ├── StartingError            503: it is on its way, and requests do not wait for it
│   ├── StartFailedError         503: it was to start for this request and did not
│   ├── LimitsAwayError          503: whether the key may still ask cannot be told
│   ├── BusyError                503: everything that may wait waits already; Retry-After says when to come back
│   ├── UpstreamError            502: the model's server broke off or could not be reached
│   └── UpstreamTimeoutError     504: the model's server said nothing in time
├── ProtocolMismatchError        the config is asked in another way
├── TargetNotRunningError        nothing that serves the model is ready; names what to start
└── RequestError                 a client of the gateway could not get its answer
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from deployments.exceptions import BerthError

if TYPE_CHECKING:
    from playground.gateway.startable import Startable


class GatewayError(BerthError):
    """A refusal or failure in the shape that OpenAI's clients understand.

    ``sentence`` may be a lazy translation with ``%(name)s`` places for ``params``: it is put into
    words when it is sent, in the language that the client prefers.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: ClassVar[str] = "internal_error"
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def __init__(self, sentence: Any, *, param: str | None = None, **params: str | Promise) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.param = param
        self.params = params

    def __str__(self) -> str:
        return str(self.sentence) % self.params if self.params else str(self.sentence)


class BadRequestError(GatewayError):
    status = 400
    type = "invalid_request_error"
    code = "invalid_body"


class UnauthenticatedError(GatewayError):
    status = 401
    type = "authentication_error"
    code = "invalid_api_key"
    headers = ((b"www-authenticate", b'Bearer realm="berth"'),)


class ForbiddenError(GatewayError):
    status = 403
    type = "permission_error"
    code = "forbidden"


class UnknownRouteError(GatewayError):
    status = 404
    type = "invalid_request_error"
    code = "unknown_url"


class ModelNotFoundError(GatewayError):
    status = 404
    type = "invalid_request_error"
    code = "model_not_found"


class EndpointMismatchError(GatewayError):
    status = 404
    type = "invalid_request_error"
    code = "endpoint_not_served"


class WrongMethodError(GatewayError):
    status = 405
    type = "invalid_request_error"
    code = "method_not_allowed"

    def __init__(self, sentence: Any, *, allowed: str, **params: str) -> None:
        super().__init__(sentence, allowed=allowed, **params)
        self.headers = ((b"allow", allowed.encode()),)


class BodyTimeoutError(GatewayError):
    status = 408
    type = "invalid_request_error"
    code = "body_timeout"
    headers = ((b"connection", b"close"),)


class UnsupportedEncodingError(GatewayError):
    status = 415
    type = "invalid_request_error"
    code = "unsupported_encoding"
    headers = ((b"accept-encoding", b"identity"), (b"connection", b"close"))


class BodyTooLargeError(GatewayError):
    status = 413
    type = "invalid_request_error"
    code = "body_too_large"
    # What the client still sends is not read.
    headers = ((b"connection", b"close"),)


class RateLimitedError(GatewayError):
    """``rate_headers`` are Retry-After and OpenAI's x-ratelimit ones."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"

    def __init__(self, sentence: Any, *, rate_headers: tuple[tuple[bytes, bytes], ...], **params: str) -> None:
        super().__init__(sentence, **params)
        self.headers = rate_headers


class NothingReadyError(GatewayError):
    status = 503
    type = "server_error"
    code = "no_model_ready"


class BusyError(GatewayError):
    status = 503
    type = "server_error"
    code = "busy"
    headers = ((b"retry-after", b"5"),)


class NotStartedError(GatewayError):
    """``startable`` are the configs that the name means; nothing of them is ready."""

    status = 503
    code = "model_not_started"

    def __init__(
        self, sentence: Any, *, startable: Sequence[Startable] = (), retry_after_s: int = 30, **params: str | Promise
    ) -> None:
        super().__init__(sentence, param="model", **params)
        self.startable = startable
        self.headers = ((b"retry-after", str(retry_after_s).encode()),)


class StartingError(NotStartedError):
    code = "model_starting"


class StartFailedError(NotStartedError):
    code = "model_start_failed"


class LimitsAwayError(GatewayError):
    status = 503
    code = "limits_away"
    headers = ((b"retry-after", b"5"),)


class UpstreamError(GatewayError):
    status = 502
    type = "server_error"
    code = "upstream_failed"


class UpstreamTimeoutError(GatewayError):
    status = 504
    type = "server_error"
    code = "upstream_timeout"


class ProtocolMismatchError(BerthError):
    """The config is asked in another way; the message names its protocol."""


class TargetNotRunningError(BerthError):
    """Nothing that serves the model is ready. ``commands`` start what could serve it."""

    def __init__(self, message: str, *, commands: list[str]) -> None:
        super().__init__(message)
        self.commands = commands


class RequestError(BerthError):
    """A client of the gateway could not get its answer; ``status`` and ``code`` are the gateway's, if any."""

    def __init__(self, message: str, *, status: int | None = None, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


#: Shared by every refusal of a request without a usable credential.
SIGN_IN_OR_KEY = _(
    "Send a gateway key as 'Authorization: Bearer berth-…'. An admin makes keys on the page Keys, "
    "or with: berth key create NAME"
)
