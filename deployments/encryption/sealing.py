"""Encrypts and decrypts one text by the installation's keys."""

from __future__ import annotations

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.utils.translation import gettext as _

from deployments.exceptions import BerthError

from .columns import any_sealed
from .keys import key_file, make_first_key, read_keys


class SecretUnreadableError(BerthError):
    """A stored secret cannot be decrypted; the message names the key file."""


def seal(text: str) -> str:
    """Encrypt ``text`` with the newest key; an empty text stays empty.

    The first key is made at the first use, but never beside secrets that another one encrypted: then the file is
    lost, and SecretUnreadableError says so.
    """
    if not text:
        return ""
    keys = read_keys()
    if not keys and any_sealed():
        raise _lost()
    return _fernet(keys or make_first_key()).encrypt(text.encode()).decode()


def unseal(token: str) -> str:
    """Decrypt what :func:`seal` made. Raises SecretUnreadableError without the right key."""
    if not token:
        return ""
    keys = read_keys()
    if not keys:
        raise _lost()
    return opened(token, keys)


def opened(token: str, keys: tuple[str, ...]) -> str:
    """Decrypt by these keys. Raises SecretUnreadableError."""
    try:
        return _fernet(keys).decrypt(token).decode()
    except InvalidToken as error:
        message = _(
            "A stored password was encrypted with another key than those in %(path)s. Copy that file from the host "
            "that runs the web, or enter the password again."
        )
        raise SecretUnreadableError(message % {"path": key_file()}) from error


def resealed(token: str, keys: tuple[str, ...]) -> str:
    """The same secret, encrypted with the first of ``keys``. Raises SecretUnreadableError."""
    return _fernet(keys[:1]).encrypt(opened(token, keys).encode()).decode() if token else ""


def _fernet(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def _lost() -> SecretUnreadableError:
    message = _(
        "There are stored passwords, and no key file at %(path)s. Copy it from the host that runs the web, or name it "
        "with BERTH_SECRETS_KEY_FILE."
    )
    return SecretUnreadableError(message % {"path": key_file()})
