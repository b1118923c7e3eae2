"""What is sent at all: a JSON object to an address of the gateway that takes JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from django.utils.translation import gettext as _

from deployments.actors import Actor
from deployments.exceptions import InvalidInputError
from playground.gateway.endpoints import endpoint_at
from playground.services.ownership import person_of

#: Of a body, in characters; longer ones are for programs.
LONGEST_BODY: Final = 1_000_000


@dataclass(frozen=True, kw_only=True)
class RawRequest:
    """``text`` goes out as it was written; ``body`` is what it says."""

    path: str
    text: str
    body: dict[str, Any]
    user_id: int


def check_request(path: str, text: str, *, actor: Actor) -> RawRequest:
    """A request that may be sent. Nothing is changed by it: the gateway meters it like anybody's.

    Raises NotAllowedError, or InvalidInputError naming line and column of what is no JSON.
    """
    user = person_of(actor)
    found = endpoint_at(path)
    if found is None or found[0].body != "json":
        raise _wrong("path", _("The gateway takes no JSON at %(path)s.") % {"path": path[:200]})
    return RawRequest(path=path, text=text, body=parsed_body(text), user_id=user.pk)


def parsed_body(text: str) -> dict[str, Any]:
    """The object in ``text``. Raises InvalidInputError."""
    if len(text) > LONGEST_BODY:
        raise _wrong("body", _("The body has more than 1,000,000 characters."))
    try:
        body = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        place = {"line": error.lineno, "column": error.colno, "reason": error.msg}
        sentence = _("This is not JSON at line %(line)d, column %(column)d: %(reason)s. Nothing was sent.") % place
        raise InvalidInputError(sentence, fields={"body": [sentence], "offset": [str(error.pos)]}) from error
    except (RecursionError, ValueError) as error:
        raise _wrong(
            "body", _("This JSON cannot be read: %(reason)s. Nothing was sent.") % {"reason": error}
        ) from error
    if not isinstance(body, dict):
        raise _wrong("body", _("A request is a JSON object, in braces. Nothing was sent."))
    return body


def _refuse_constant(name: str) -> None:
    """Python reads NaN and Infinity, which are no JSON."""
    raise ValueError(name)


def _wrong(field: str, sentence: str) -> InvalidInputError:
    return InvalidInputError(sentence, fields={field: [sentence]})
