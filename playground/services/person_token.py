"""Short-lived tokens by which the playground's own tasks use the gateway for a signed-in person.

The gateway looks the person up as it does for a session: whoever lost the right since is refused, limits and metering
name them. A token is made for one request, right before it.
"""

from __future__ import annotations

from typing import Final

from django.core import signing

_PREFIX: Final = "berth-person:"
LIFETIME_S: Final = 60


def make_person_token(user_id: int) -> str:
    """A bearer token for the person with this id, good for a minute on this installation."""
    return _PREFIX + _signer().sign(str(user_id))


def read_person_token(token: str) -> int | None:
    """The person's id in a token that this installation signed within the last minute, else None."""
    if not token.startswith(_PREFIX):
        return None
    try:
        return int(_signer().unsign(token.removeprefix(_PREFIX), max_age=LIFETIME_S))
    except (signing.BadSignature, ValueError):
        return None


def _signer() -> signing.TimestampSigner:
    return signing.TimestampSigner(salt="berth.playground")
