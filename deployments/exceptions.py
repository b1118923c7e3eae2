"""The error tree of this app.

BerthError
├── NotAllowedError          the actor lacks the permission
├── NotFoundError            no such config, model or deployment
├── InvalidInputError        a field is wrong; names the field and the reason
│   ├── CatalogueError       a catalogue file is malformed; names file, line and reason
│   └── ComposeError         a Compose file was refused; names line, cause and next step
├── ConflictError            somebody else changed it first
├── RuntimeFaultError        a runtime could not do what it was asked
│   ├── RuntimeUnavailableError   transient: the engine or host does not answer
│   ├── LaunchError               it was not started; its code says whether trying again can help
│   ├── TransferError             a push, save or load failed (deployments.registries.refusals)
│   └── BuildError                an image was not built
├── FetchError               weights or an image could not be fetched
│   └── FetchCancelledError       nobody wants it any more
└── JobCancelledError        a build, push or load test was cancelled

Every message is a sentence for the operator: what happened, why, and what to do next.
"""

from __future__ import annotations


class BerthError(Exception):
    """Root of all errors raised on purpose. ``str(error)`` is fit to show to a person."""


class NotAllowedError(BerthError):
    """The actor lacks a permission; the message names the role that has it."""


class NotFoundError(BerthError):
    """The named object does not exist; the message lists near or possible names."""


class InvalidInputError(BerthError):
    """Input was refused. ``fields`` maps a field name to its reasons."""

    def __init__(self, message: str, *, fields: dict[str, list[str]] | None = None) -> None:
        super().__init__(message)
        self.fields = fields or {}


class CatalogueError(InvalidInputError):
    """A catalogue file is malformed; the message starts with ``file:line``."""


class ComposeError(InvalidInputError):
    """A Compose file was refused, or there is none to write; the message names the line where there is one."""


class ConflictError(BerthError):
    """The object changed since it was read; nothing was written."""


class RuntimeFaultError(BerthError):
    """A runtime failed. ``code`` is a reason code of :mod:`deployments.lifecycle.reasons`."""

    code = "runtime_fault"

    def __init__(self, message: str, *, code: str | None = None, **params: str) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
        self.params = params


class RuntimeUnavailableError(RuntimeFaultError):
    """Transient: the container engine or the host did not answer. Try again later."""

    code = "runtime_unavailable"


class LaunchError(RuntimeFaultError):
    """A run was not started; permanent when its code is among ``deployments.lifecycle.reasons.PERMANENT``."""

    code = "launch_refused"


class BuildError(RuntimeFaultError):
    """An image was not built, or not deleted; the message says why."""

    code = "build_failed"


class FetchError(RuntimeFaultError):
    """Weights or an image could not be fetched. ``permanent`` tells whether trying again can help."""

    code = "fetch_failed"

    def __init__(self, message: str, *, code: str | None = None, permanent: bool = False, **params: str) -> None:
        super().__init__(message, code=code, **params)
        self.permanent = permanent


class FetchCancelledError(FetchError):
    """Nobody wants this fetch any more."""

    code = "fetch_cancelled"


class JobCancelledError(BerthError):
    """Somebody cancelled the job, or another worker has taken it."""
