"""Short-lived tokens by which the host's own commands use the gateway without a key."""

from __future__ import annotations

from typing import Final

from django.core import signing

_PREFIX: Final = "berth-cli:"
LIFETIME_S: Final = 60


def make_token(name: str) -> str:
    """A bearer token for the operating-system user ``name``, good for a minute on this installation."""
    return _PREFIX + _signer().sign(name)


def read_token(token: str) -> str | None:
    """The name in a token that this installation signed within the last minute, else None."""
    if not token.startswith(_PREFIX):
        return None
    try:
        return _signer().unsign(token.removeprefix(_PREFIX), max_age=LIFETIME_S)
    except signing.BadSignature:
        return None


def _signer() -> signing.TimestampSigner:
    return signing.TimestampSigner(salt="berth.cli")
