"""The key file: one Fernet key a line, the newest first. Every node of an installation has the same file.

It is read at each use: a rotation on another host is seen without a restart, and secrets are needed seldom.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

from cryptography.fernet import Fernet
from django.conf import settings
from django.utils.translation import gettext as _

from deployments.exceptions import InvalidInputError


def key_file() -> Path:
    """BERTH_SECRETS_KEY_FILE, else a file in the data folder."""
    return Path(settings.BERTH_SECRETS_KEY_FILE)


def read_keys() -> tuple[str, ...]:
    """The keys, newest first; empty where there is no file. Raises InvalidInputError for a file that is none."""
    path = key_file()
    try:
        found = tuple(path.read_text().split())
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        message = _("The key file %(path)s cannot be read: %(reason)s.")
        reason = getattr(error, "strerror", None) or _("it is no text")
        raise InvalidInputError(message % {"path": path, "reason": reason}) from error
    try:
        for key in found:
            Fernet(key)
    except ValueError as error:
        message = _("The key file %(path)s holds something else than keys. Copy it again from the host that made it.")
        raise InvalidInputError(message % {"path": path}) from error
    return found


def make_first_key() -> tuple[str, ...]:
    """Make the file with one key, unless it is there: of two processes, the second reads the first's."""
    with _draft([Fernet.generate_key().decode()]) as draft, contextlib.suppress(FileExistsError):
        os.link(draft, key_file())
    return read_keys()


def write_keys(keys: Sequence[str]) -> None:
    """Put these keys in the file's place, whole or not at all. Raises InvalidInputError where it cannot be written."""
    with _draft(keys) as draft:
        draft.replace(key_file())


@contextlib.contextmanager
def _draft(keys: Sequence[str]) -> Iterator[Path]:
    path = key_file()
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft.touch(mode=0o600)
        draft.write_text("".join(f"{key}\n" for key in keys))
        try:
            yield draft
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        message = _("The key file %(path)s cannot be written: %(reason)s.")
        raise InvalidInputError(message % {"path": path, "reason": error.strerror or error}) from error
