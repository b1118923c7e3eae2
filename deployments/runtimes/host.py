"""What the host's own refusals mean: full disk, missing rights, exhausted tables; and locks between processes."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.utils.translation import gettext as _

from deployments.exceptions import LaunchError, RuntimeFaultError, RuntimeUnavailableError

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
EXHAUSTED = frozenset({errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE})


@contextmanager
def host_refusals(path: Path) -> Iterator[None]:
    """Translate OSError while working below ``path`` into an error of this app."""
    try:
        yield
    except OSError as error:
        raise refusal(error, path) from error


def refusal(error: OSError, path: Path) -> RuntimeFaultError:
    """The error that tells an operator what ``error`` means and what to do about it."""
    where = str(error.filename or path)
    if error.errno in DISK_FULL:
        message = no_disk_space(path)
        return RuntimeUnavailableError(message, code="no_disk_space", path=where)
    if error.errno in FORBIDDEN:
        message = _("Berth may not write %(path)s. Give its user the right to.") % {"path": where}
        return LaunchError(message, code="permission_denied", path=where)
    detail = error.strerror or str(error)
    if error.errno in EXHAUSTED:
        message = _("The host has no memory or no process slot left (%(detail)s).") % {"detail": detail}
        return RuntimeUnavailableError(message, code="host_exhausted", detail=detail)
    message = _("The host refused: %(detail)s (%(path)s).") % {"detail": detail, "path": where}
    return RuntimeUnavailableError(message, detail=detail)


def no_disk_space(path: Path) -> str:
    """The sentence for a full disk."""
    return _("There is no space left on the disk that holds %(path)s. Free some, then start again.") % {"path": path}


@contextmanager
def try_lock(path: Path) -> Iterator[bool]:
    """Yield whether this call got the exclusive lock on ``path``; kept until the block ends or the process dies."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait for the exclusive lock on ``path``; for steps of a few milliseconds only."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
