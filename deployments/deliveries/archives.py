"""Unpacks an uploaded build context: tar, tar.gz or zip from anybody, so nothing in it is believed.

tarfile's own filter "data" is what refuses most of it by name; the bounds, the links and zip files are held here.
"""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from django.utils.translation import gettext as _

from deployments.exceptions import InvalidInputError
from deployments.tar_stream import GZIP, members, unzipped

from .sizes import in_words

MOST_UPLOAD_BYTES = 32 * 1024**2
MOST_UNPACKED_BYTES = 1024**3
MOST_FILES = 10_000
#: What text compresses to at best is a fiftieth; bombs reach a thousandth.
MOST_RATIO = 200
#: Below it the ratio tells nothing: a file of blanks may be a thousandth too.
RATIO_FROM_BYTES = 16 * 1024**2
CHUNK = 1 << 20
#: What the libraries raise for damaged bytes; a ValueError is an offset before the file's beginning.
_DAMAGED = (
    *(tarfile.TarError, gzip.BadGzipFile, zipfile.BadZipFile, zlib.error),
    *(EOFError, NotImplementedError, RuntimeError, ValueError),
)


def unpack(data: bytes, into: Path) -> tuple[int, list[str]]:
    """Unpack into the empty folder ``into``; returns the bytes written and the files' relative paths.

    Raises InvalidInputError, with a sentence, for what is no archive or is hostile; ``into`` may then hold a part.
    """
    if len(data) > MOST_UPLOAD_BYTES:
        message = _("The archive is larger than %(size)s. Put the files into a folder of the node instead.")
        raise InvalidInputError(message % {"size": in_words(MOST_UPLOAD_BYTES)})
    bounds = _Bounds(len(data))
    try:
        if zipfile.is_zipfile(io.BytesIO(data)) and not data.startswith(GZIP):
            _unpack_zip(data, into, bounds)
        else:
            _unpack_tar(data, into, bounds)
    except UnicodeError as error:
        raise InvalidInputError(_("The archive holds a name that is no text.")) from error
    except _DAMAGED as error:
        message = _("The file is no whole tar, tar.gz or zip archive: %(detail)s.")
        raise InvalidInputError(message % {"detail": str(error).rstrip(".") or type(error).__name__}) from error
    return bounds.written, bounds.paths


class _Bounds:
    """How much was written, and of what size of archive."""

    def __init__(self, packed: int) -> None:
        self.packed = packed
        self.written = 0
        self.seen = 0
        self.paths: list[str] = []

    def enter(self, name: str) -> PurePosixPath:
        """One more entry, of any kind; returns its path, which stays inside."""
        self.seen += 1
        if self.seen > MOST_FILES:
            message = _("The archive holds more than %(count)s files.")
            raise InvalidInputError(message % {"count": f"{MOST_FILES:,}"})
        return _inside(name)

    def write(self, source: IO[bytes], target: Path, *, executable: bool) -> None:
        """Copy one file, counting what is really there and not what the archive says."""
        target.parent.mkdir(parents=True, exist_ok=True)
        # "x": a second entry of a name must not write through what the first one made.
        with target.open("xb") as file:
            while chunk := source.read(CHUNK):
                self.written += len(chunk)
                if self.written > MOST_UNPACKED_BYTES:
                    message = _("The archive unpacks to more than %(size)s.")
                    raise InvalidInputError(message % {"size": in_words(MOST_UNPACKED_BYTES)})
                if self.written > max(RATIO_FROM_BYTES, self.packed * MOST_RATIO):
                    message = _("The archive is a bomb: %(packed)s unpack to more than %(size)s.")
                    told = {"packed": in_words(self.packed), "size": in_words(self.written)}
                    raise InvalidInputError(message % told)
                file.write(chunk)
        target.chmod(0o755 if executable else 0o644)


def _unpack_tar(data: bytes, into: Path, bounds: _Bounds) -> None:
    links: list[tuple[PurePosixPath, str]] = []
    for tar, member in members(unzipped(io.BytesIO(data))):
        path = bounds.enter(member.name)
        if member.isdir():
            _make_folder(into / path, path)
        elif member.issym():
            links.append((path, member.linkname))
        elif member.isfile() and (source := tar.extractfile(member)) is not None:
            _write(bounds, source, into, path, executable=bool(member.mode & 0o100))
        elif member.islnk():
            message = _("The archive holds the hard link %(path)s. Pack the file itself.")
            raise InvalidInputError(message % {"path": path})
        else:
            message = _("The archive holds %(path)s, which is a device or a pipe.")
            raise InvalidInputError(message % {"path": path})
    _make_links(into, links, bounds)


def _unpack_zip(data: bytes, into: Path, bounds: _Bounds) -> None:
    links: list[tuple[PurePosixPath, str]] = []
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in archive.infolist():
            path = bounds.enter(entry.filename)
            mode = entry.external_attr >> 16
            if entry.flag_bits & 1:
                raise InvalidInputError(_("%(path)s in the archive is encrypted.") % {"path": path})
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                message = _("%(path)s in the archive is packed in a rare way. Pack it as an ordinary zip or tar.gz.")
                raise InvalidInputError(message % {"path": path})
            if entry.is_dir():
                _make_folder(into / path, path)
            elif stat.S_ISLNK(mode):
                with archive.open(entry) as source:
                    links.append((path, source.read(4096).decode()))
            elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                message = _("The archive holds %(path)s, which is a device or a pipe.")
                raise InvalidInputError(message % {"path": path})
            else:
                with archive.open(entry) as source:
                    _write(bounds, source, into, path, executable=bool(mode & 0o100))
    _make_links(into, links, bounds)


def _write(bounds: _Bounds, source: IO[bytes], into: Path, path: PurePosixPath, *, executable: bool) -> None:
    try:
        bounds.write(source, into / path, executable=executable)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise InvalidInputError(_("The archive holds %(path)s twice.") % {"path": path}) from error
    bounds.paths.append(path.as_posix())


def _make_folder(folder: Path, path: PurePosixPath) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InvalidInputError(_("The archive holds %(path)s twice.") % {"path": path}) from error


def _make_links(into: Path, links: Iterable[tuple[PurePosixPath, str]], bounds: _Bounds) -> None:
    """Only when every file is written, and none below another: nothing is ever written through a link."""
    for path, target in links:
        # A link may lead out by way of others, which its own text does not show; what lies below it would be outside.
        if any((into / parent).is_symlink() for parent in path.parents):
            raise InvalidInputError(_("The archive holds %(path)s, which lies below a link.") % {"path": path})
        if PurePosixPath(target).is_absolute() or _leaves(path.parent, target):
            message = _("The build context holds the link %(path)s, which leads out of it (to %(target)s).")
            raise InvalidInputError(message % {"path": path, "target": target})
        try:
            (into / path).parent.mkdir(parents=True, exist_ok=True)
            (into / path).symlink_to(target)
        except (FileExistsError, NotADirectoryError) as error:
            raise InvalidInputError(_("The archive holds %(path)s twice.") % {"path": path}) from error
        bounds.paths.append(path.as_posix())
    root = into.resolve()
    for path, target in links:  # a link by way of another one
        if not (into / path).resolve().is_relative_to(root):
            message = _("The build context holds the link %(path)s, which leads out of it (to %(target)s).")
            raise InvalidInputError(message % {"path": path, "target": target})


def _leaves(folder: PurePosixPath, target: str) -> bool:
    depth = len(folder.parts)
    for depth_change in _steps(target):
        depth += depth_change
        if depth < 0:
            return True
    return False


def _steps(target: str) -> Iterator[int]:
    for part in PurePosixPath(target).parts:
        yield -1 if part == ".." else 1


def _inside(name: str) -> PurePosixPath:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or (len(name) > 1 and name[1] == ":"):
        raise InvalidInputError(_("The archive holds the absolute path %(path)s.") % {"path": name})
    if ".." in path.parts:
        raise InvalidInputError(_("The archive holds %(path)s, which leads out of it.") % {"path": name})
    # A name of bytes that are no text fails to encode, and is refused for that.
    too_long = len(name) > 1000 or len(path.parts) > 50 or any(len(part.encode()) > 255 for part in path.parts)
    if not name or "\0" in name or too_long:
        raise InvalidInputError(_("The archive holds a path that is no file's."))
    return path
