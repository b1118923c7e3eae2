"""The file: gzip over lines of JSON. A header, one line for each row, and an end that tells a whole file from a part.

``{"berth_export": 1, "schema": {app: migration}, "made_at": …}``, then ``{"model", "pk", "fields"}`` as Django's
serializers have them, then ``{"end": rows}``. Times keep their microseconds, which Django's own JSON drops.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import secrets
import zlib
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from django.utils.translation import gettext as _

from deployments.exceptions import InvalidInputError

FORMAT = 1
#: The longest line that is read: a row with a whole kept log is below 10 MB.
LONGEST_LINE = 64 * 1024 * 1024


class Sink(Protocol):
    """What an export is written to."""

    def write(self, data: bytes, /) -> object: ...


class Source(Protocol):
    """What an import is read from."""

    def read(self, size: int, /) -> bytes: ...
    def seek(self, offset: int, /) -> object: ...


class Writer:
    """Writes header and rows; ``finish`` writes the end."""

    def __init__(self, stream: Sink, *, header: dict[str, Any]) -> None:
        self.rows = 0
        self._stream = stream
        self._line({"berth_export": FORMAT, **header})

    def row(self, record: dict[str, Any]) -> None:
        """Add one row."""
        self._line(record)
        self.rows += 1

    def finish(self) -> None:
        """Mark the file as whole."""
        self._line({"end": self.rows})

    def _line(self, value: dict[str, Any]) -> None:
        self._stream.write(json.dumps(value, default=_plain, ensure_ascii=False).encode() + b"\n")


def _plain(value: object) -> str:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in an export")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Sink]:
    """A stream into a file that only its owner may read; it has its name once it is whole, and never before.

    Raises InvalidInputError where it cannot be written, or is there already.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as raw:
                with gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6) as packed:
                    yield packed
                raw.flush()
                os.fsync(raw.fileno())
            os.link(draft, path)  # refuses to replace a file, where a rename would not
        finally:
            draft.unlink(missing_ok=True)
    except FileExistsError:
        message = _("%(path)s is there already. Name another file, or remove that one.")
        raise InvalidInputError(message % {"path": path}) from None
    except OSError as error:
        message = _("%(path)s cannot be written: %(reason)s.")
        raise InvalidInputError(message % {"path": path, "reason": error.strerror or error}) from error


class Reader:
    """Reads the header at once and rows on demand. Raises InvalidInputError for anything but a whole export."""

    def __init__(self, stream: Source) -> None:
        self._lines = _lines(gzip.GzipFile(fileobj=stream, mode="rb"))
        self.header = next(self._lines, {})
        if "berth_export" not in self.header:
            raise _not_an_export()
        if self.header["berth_export"] != FORMAT:
            message = _("The file has format %(found)s; this version of Berth reads format %(known)s.")
            raise InvalidInputError(message % {"found": self.header["berth_export"], "known": FORMAT})

    def rows(self) -> Iterator[dict[str, Any]]:
        """Each row, in the order of writing."""
        for count, value in enumerate(self._lines):
            if "end" in value:
                if value["end"] != count:
                    break
                return
            yield value
        raise InvalidInputError(_("The file is not whole: its end is missing. Export again, and copy all of it."))


def _lines(stream: gzip.GzipFile) -> Iterator[dict[str, Any]]:
    while True:
        try:
            line = stream.readline(LONGEST_LINE)
        except EOFError:
            return  # cut short: the missing end tells
        except (OSError, zlib.error) as error:  # BadGzipFile is an OSError
            raise _not_an_export() from error
        if not line:
            return
        try:
            value = json.loads(line)
        except ValueError as error:
            raise _not_an_export() from error
        if not isinstance(value, dict):
            raise _not_an_export()
        yield value


def _not_an_export() -> InvalidInputError:
    return InvalidInputError(_("This is not a file of “berth export”."))
