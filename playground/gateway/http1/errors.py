"""What may become of a request to a server. They are OSError and TimeoutError, as those of other clients are."""

from __future__ import annotations


class CannotConnectError(OSError):
    """No connection came about: nothing was sent."""


class BrokenAnswerError(OSError):
    """The connection ended within a request or its answer, or what came was no HTTP."""


class SilentError(TimeoutError):
    """The server took or sent nothing for too long."""
