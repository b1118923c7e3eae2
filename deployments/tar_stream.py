"""Reads a tar of anybody's as a stream, so that what its headers say of their own length costs no memory.

tarfile reads the headers of GNU's long names and of pax whole, however long they say they are: 10 GB of zeros in one
are 10 MB in a gzip, and would be 10 GB in this process.
"""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Iterator
from typing import IO, cast

from django.utils.translation import gettext as _

GZIP = b"\x1f\x8b"
#: Of everything between the contents of two files. A path has 4 KB at most.
MOST_HEADER_BYTES = 1024 * 1024


def unzipped(stream: IO[bytes]) -> IO[bytes]:
    """``stream`` from where it is, unpacked if it is a gzip. Other ways of packing are not taken."""
    start = stream.tell()
    is_gzip = stream.read(len(GZIP)) == GZIP
    stream.seek(start)
    return cast("IO[bytes]", gzip.GzipFile(fileobj=stream, mode="rb")) if is_gzip else stream


def members(stream: IO[bytes]) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Each entry of a plain tar with the file to extract it from, before the next one is asked for.

    Raises TarError, also for headers of more than :data:`MOST_HEADER_BYTES`, and what reading ``stream`` raises.
    """
    source = _Source(stream)
    with tarfile.open(fileobj=cast("IO[bytes]", source), mode="r|", errorlevel=2) as tar:
        while True:
            source.count(headers=True)
            member = tar.next()
            if member is None:
                return
            source.count(headers=False)
            yield tar, member


class _Source:
    """What tarfile reads from; counts while it looks for the next entry."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._counted = 0
        self._counts = True

    def count(self, *, headers: bool) -> None:
        """Begin anew: with headers, or with a content, which whoever reads it counts."""
        self._counted = 0
        self._counts = headers

    def read(self, size: int) -> bytes:
        """The next bytes. Raises TarError when those of a header are too many."""
        part = self._stream.read(size)
        if self._counts:
            self._counted += len(part)
            if self._counted > MOST_HEADER_BYTES:
                raise tarfile.ReadError(_("a header in it is larger than 1 MB"))
        return part
