"""What is sent at all: to an address of the gateway, and as that address takes it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.core.files.uploadedfile import UploadedFile
from django.utils.translation import gettext as _

from deployments.actors import Actor
from deployments.exceptions import InvalidInputError
from playground.protocols.streaming import Files
from playground.services.ownership import person_of

from .addresses import FILE_FIELDS, SAMPLE_FILES, kind_at
from .request import Asked

#: Of a body, in characters; longer ones are for programs.
LONGEST_BODY: Final = 1_000_000
#: Of all files of a request, in bytes: what OpenAI takes, too.
LARGEST_FILES: Final = 25 * 1024 * 1024
_MEDIA_TYPE: Final = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class RawRequest:
    """``text`` is the body as it was written: JSON goes out like that."""

    asked: Asked
    text: str
    files: Files
    user_id: int


def check_request(path: str, text: str, *, files: Mapping[str, UploadedFile], actor: Actor) -> RawRequest:
    """A request that may be sent. Nothing is changed by it: the gateway meters it like anybody's.

    Files are read last, when nothing else is wrong: a form may carry a hundred of them.

    Raises NotAllowedError, or InvalidInputError naming line and column of what is no JSON, or the missing file.
    """
    user = person_of(actor)
    asked = read_request(path, text, {name: file.name or name for name, file in files.items()})
    missing = [name for name in FILE_FIELDS.get(path, ())[:1] if name not in files]
    if missing:
        raise _wrong("files", _("Choose a file for %(name)s. Nothing was sent.") % {"name": missing[0]})
    return RawRequest(asked=asked, text=text, files=_read_files(files), user_id=user.pk)


def _read_files(files: Mapping[str, UploadedFile]) -> Files:
    """One byte more than all of them together may have, at most. Raises InvalidInputError."""
    read: dict[str, tuple[str, bytes, str]] = {}
    left = LARGEST_FILES
    for field, file in files.items():
        content = file.read(left + 1)
        left -= len(content)
        if left < 0:
            raise _wrong("files", _("The files have more than 25 MiB. Nothing was sent."))
        read[field] = (file.name or field, content, _media_type(file))
    return read


def _media_type(file: UploadedFile) -> str:
    """As the browser told it, if it is one: it goes out in a header of its part."""
    told = file.content_type or ""
    return told if _MEDIA_TYPE.fullmatch(told) else "application/octet-stream"


def check_code(path: str, text: str, names: Mapping[str, str], *, actor: Actor) -> Asked:
    """A request that is only written as code: files stand in it by name. Raises as :func:`check_request`."""
    person_of(actor)
    required = FILE_FIELDS.get(path, ())[:1]
    return read_request(path, text, {name: SAMPLE_FILES[name] for name in required} | dict(names))


def read_request(path: str, text: str, files: Mapping[str, str]) -> Asked:
    """What is asked. Raises InvalidInputError."""
    kind = kind_at(path)
    if kind is None:
        raise _wrong("path", _("The gateway has nothing at %(path)s.") % {"path": path[:200]})
    known = FILE_FIELDS.get(path, ())
    if set(files) - set(known):
        raise _wrong("files", _("%(path)s takes no such file.") % {"path": path})
    body = {} if kind == "get" else parsed_body(text)
    return Asked(kind=kind, path=path, body=body, files=files)


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
